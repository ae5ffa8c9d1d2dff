"""The executors of passes: their keys, what they forget, what a failed task says. Ray runs where it is installed."""

import importlib.util
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from curate import dead_workers
from curate.config import Executor
from curate.executors import execute
from tests.curate.corpus import bytes_of, corpus, curate, write_lines
from tests.engines import clinical
from tests.engines.steps import WriteItems

RAY = {"kind": "ray", "workers": 2, "tasks": 2, "memory": 1}


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    """A Ray of two cores on this machine, which RAY_ADDRESS names meanwhile."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed (pip install 'palimpsest[ray]')")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}.items():
            patch.setenv(name, value)
        import ray

        ray.init(num_cpus=2, include_dashboard=False, object_store_memory=80_000_000, log_to_driver=False)
        patch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
        yield
        ray.shutdown()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"partition": "cpu"}, "partition means nothing with kind: local"),
        ({"kind": "ray", "hours": 2}, "hours means nothing with kind: ray"),
        ({"kind": "slurm"}, "needs a partition"),
        ({"kind": "slurm", "partition": "cpu", "sbatch": {"comment": "a\ncurl evil"}}, "pattern"),
        ({"kind": "slurm", "partition": "cpu", "sbatch": {"a=b": ""}}, "pattern"),
        ({"kind": "slurm", "partition": "cpu", "sbatch": {"array": "0-3"}}, "array is set by the executor"),
        ({"kind": "spark"}, "'local', 'ray' or 'slurm'"),
        ({"tasks": 0}, "greater than or equal to 1"),
    ],
)
def test_keys_that_would_do_nothing_or_harm_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Executor(**keys)


def test_keys_of_slurm_survive_the_runs_own_pipeline_file() -> None:
    engine = Executor(kind="slurm", partition="cpu", hours=0.5, sbatch={"account": "bio", "nice": 100, "exclusive": ""})
    assert Executor(**engine.model_dump(mode="json")) == engine and engine.sbatch["nice"] == "100"


def test_slurm_is_missed_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = Executor(kind="slurm", partition="cpu")
    with pytest.raises(ValueError, match="executor: kind: slurm needs Slurm's `sbatch`"):
        execute(engine, [WriteItems(tmp_path / "items", 1)], 1, tmp_path / "logs", [])


def test_a_run_folder_with_a_meaning_in_a_script_is_refused_by_slurm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sbatch").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = Executor(kind="slurm", partition="cpu")
    with pytest.raises(ValueError, match="output: .*characters that mean something else"):
        execute(engine, [WriteItems(tmp_path / "items", 1)], 1, tmp_path / "a; touch b", [])


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_failed_run_left_counts_only_for_as_many_tasks(tmp_path: Path, workers: int) -> None:
    items, logs, engine = tmp_path / "items", tmp_path / "logs", Executor(workers=workers)
    with pytest.raises(ValueError, match="item 5 is bad"):
        execute(engine, [WriteItems(items, 8, bad=5)], 3, logs, [])
    done = {path.name for path in (logs / "completions").iterdir()}
    assert done and "00002" not in done
    (items / "0").unlink()  # done by task 0: not done again by as many tasks, but by another number
    execute(engine, [WriteItems(items, 8)], 3, logs, [])
    assert {path.name for path in items.iterdir()} == set("1234567")
    execute(engine, [WriteItems(items, 8)], 2, logs, [])
    assert {path.name: path.read_text() for path in items.iterdir()} == {str(k): f"{k % 2} of 2" for k in range(8)}


@pytest.mark.timeout(90)
def test_a_killed_local_worker_is_told_and_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_workers, "GRACE", 2.0)
    step, logs = WriteItems(tmp_path / "items", 8, deadly=4), tmp_path / "logs"
    with pytest.raises(ValueError, match="logs: a worker process was killed before its task was done"):
        execute(Executor(workers=2), [step], 4, logs, [])
    execute(Executor(workers=2), [step], 4, logs, [])
    assert {path.name for path in (tmp_path / "items").iterdir()} == {"killed", *"01234567"}


def test_a_failed_task_on_ray_names_its_log_and_what_it_said(ray_cluster: None, tmp_path: Path) -> None:
    root, run = corpus(tmp_path / "data", documents=5), tmp_path / "run"
    bad = write_lines(root / "domain" / "bad.jsonl", [b"{", {"text": "One text."}])
    keys = {"curate.on_bad_record": "stop", "curate.executor": RAY}
    with pytest.raises(ValueError, match="1 of 2 tasks are not done on ray.*curate.on_bad_record is stop") as failed:
        curate(root, run, [], **keys)
    log = Path(str(failed.value).split(": ", 1)[0])
    assert log.is_relative_to(run / "work" / "logs") and "Traceback" in log.read_text()
    bad.unlink()
    curate(root, run, [], **keys)
    curate(root, tmp_path / "local", [], **{"curate.on_bad_record": "stop"})
    assert bytes_of(run) == bytes_of(tmp_path / "local")


def test_what_no_node_of_ray_has_is_refused(ray_cluster: None, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 cores and 6 GiB, which no node has .2 cores"):
        execute(Executor(kind="ray", cpus=3), [WriteItems(tmp_path / "items", 1)], 1, tmp_path / "logs", [])


def test_the_clinical_pipeline_on_ray_with_a_worker_killed_gives_the_same_bytes(
    ray_cluster: None, tmp_path: Path
) -> None:
    """Killed is the process that does a task's work: half-way in reading. Then, in the next pass, the one above it."""
    engine = "{kind: ray, workers: 2, tasks: 2, memory: 1}"
    local = clinical.finish(clinical.start(tmp_path / "local", clinical.LOCAL), tmp_path / "local", clinical.LOCAL)
    curation = clinical.start(tmp_path / "ray", engine)
    try:
        for mark, inner in (("work/*-read/parts/*", True), ("work/*-perplexity/prepared/complete.json", False)):
            while not list((tmp_path / "ray").glob(mark)):
                assert curation.poll() is None
                time.sleep(0.05)
            os.kill(_worker(inner), signal.SIGKILL)
        assert clinical.finish(curation, tmp_path / "ray", engine) == local
    finally:
        curation.kill()


def _worker(inner: bool) -> int:
    """Process id of a worker of this Ray that runs a task, or of the process inside it that does the work."""
    import psutil

    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        below = psutil.Process().children(recursive=True)
        named = {one.pid: one.ppid() for one in below if re.match("ray::RankWorker.run", " ".join(one.cmdline()))}
        if within := [process for process, parent in named.items() if parent in named]:
            return within[0] if inner else named[within[0]]
        time.sleep(0.05)
    raise AssertionError("no task runs in any worker of Ray")
