"""Curation, packing and training on a real Slurm of one node: `make test-slurm`; not among the tests of `make test`.

A Slurm is started in a temporary folder for them and taken down after (tests/engines/slurm_node.py); where its programs
are not installed all tests are skipped, saying which.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPO
from tests.curate.corpus import bytes_of, corpus, curate, write_lines
from tests.engines import clinical, slurm_node
from tests.train import small
from tests.train.conftest import run  # noqa: F401  (a fixture)
from tests.train.test_launch import metrics
from tests.train.test_rollback import events, weights
from train import records

SLURM = {"kind": "slurm", "workers": 2, "partition": "main", "memory": 1, "hours": 0.5}


@pytest.fixture(scope="module", autouse=True)
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The one-node Slurm."""
    if missing := slurm_node.missing():
        pytest.skip(f"{', '.join(missing)} not installed (Debian: apt-get install slurm-wlm munge)")
    with slurm_node.one_node(tmp_path_factory.mktemp("slurm")):
        yield


def ask(*asked: str) -> str:
    return subprocess.run(asked, cwd=REPO, capture_output=True, text=True, check=True).stdout


def running() -> list[str]:
    """Ids of the jobs that run, those of array tasks as JOB_TASK."""
    return ask("squeue", "--noheader", "--states=RUNNING", "--format=%i").split()


def until(happens: Callable[[], object], what: str, seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, f"{what} did not happen\n{ask('scontrol', 'show', 'job')}"
        time.sleep(0.1)


def command(root: Path, folder: Path, engine: dict[str, Any]) -> list[str]:
    """A process of its own that curates `root`."""
    script = "import json, sys; from pathlib import Path; from tests.curate.corpus import curate\n"
    script += "keys = {'curate.executor': json.loads(sys.argv[3])}\n"
    script += "curate(Path(sys.argv[1]), Path(sys.argv[2]), ['near_dedup'], **keys)"
    return [sys.executable, "-c", script, str(root), str(folder), json.dumps(engine)]


def test_the_clinical_pipeline_with_a_job_requeued_gives_the_same_bytes(tmp_path: Path) -> None:
    engine = "{kind: slurm, workers: 2, tasks: 3, partition: main, memory: 1, hours: 0.5}"
    curation = clinical.start(tmp_path / "slurm", engine)
    until(lambda: list((tmp_path / "slurm").glob("work/*-read/parts/*")), "reading")
    ask("scontrol", "requeue", running()[0])
    slurm_run = clinical.finish(curation, tmp_path / "slurm", engine)
    local = clinical.finish(clinical.start(tmp_path / "local", clinical.LOCAL), tmp_path / "local", clinical.LOCAL)
    assert slurm_run == local
    jobs = list((tmp_path / "slurm" / "work" / "logs").glob("*/slurm_logs/*.out"))
    assert len(jobs) >= 3 * 3 + 3, "three passes of curation and the one that packs, of three tasks each"


def test_a_failed_task_names_its_log_and_no_further_pass_starts(tmp_path: Path) -> None:
    root, folder = corpus(tmp_path / "data", documents=5), tmp_path / "run"
    bad = write_lines(root / "domain" / "bad.jsonl", [b"{", {"text": "One text."}])
    keys = {"curate.on_bad_record": "stop", "curate.executor": SLURM | {"tasks": 2}}
    with pytest.raises(ValueError, match="1 of 2 tasks are not done on slurm.*curate.on_bad_record is stop") as failed:
        curate(root, folder, ["near_dedup"], **keys)
    log = Path(str(failed.value).split(": ", 1)[0])
    assert "Traceback" in log.read_text() and len(list(folder.glob("work/logs/*"))) == 1
    bad.unlink()
    ask("srun", "--ntasks=1", "--mem=500M", *command(root, folder, SLURM | {"tasks": 1}))  # as a job of its own
    curate(root, tmp_path / "local", ["near_dedup"])
    assert bytes_of(folder) == bytes_of(tmp_path / "local")


def test_what_sbatch_refuses_is_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = corpus(tmp_path / "data", documents=5)
    with pytest.raises(ValueError, match="3 of 3 tasks are not done on slurm.*What sbatch said stands above"):
        curate(root, tmp_path / "run", [], **{"curate.executor": SLURM | {"partition": "elsewhere"}})
    assert "invalid partition" in capfd.readouterr().err


def test_after_a_killed_command_the_next_one_waits_for_the_jobs_that_it_left(tmp_path: Path) -> None:
    root, folder = corpus(tmp_path / "data", documents=5), tmp_path / "run"
    call = command(root, folder, SLURM | {"tasks": 1})
    killed = subprocess.Popen(call, cwd=REPO, start_new_session=True)
    until(running, "a job")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    (left,) = running()
    again = subprocess.Popen(call, cwd=REPO)
    until(lambda: len(ask("squeue", "--noheader", "--format=%i").split()) > 1 or left not in running(), "a second job")
    assert len(running()) <= 1
    assert again.wait(timeout=200) == 0
    curate(root, tmp_path / "local", ["near_dedup"])
    assert bytes_of(folder) == bytes_of(tmp_path / "local")


def test_training_goes_on_bit_for_bit_after_a_warning_and_after_a_requeue(run: Path, tmp_path: Path) -> None:  # noqa: F811
    """pipelines/cluster/train.slurm as it is, with 2 processes on the CPU: warned as before the time limit (USR1 to the
    script), and requeued as by pre-emption (TERM, and KILL after KillWait)."""
    keys = ("--train.steps", "60", "--train.checkpoint_every", "50")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    asked = ["--nodes=1", "--gpus-per-node=2", "--cpus-per-task=2", f"--chdir={tmp_path}", "--parsable"]
    script = str(REPO / "pipelines" / "cluster" / "train.slurm")
    job = ask("sbatch", *asked, script, str(run), "--train.run", "slurm", *keys).strip()
    folder, log = run / "train" / "slurm", tmp_path / f"slurm-{job}.log"

    def reached(step: int) -> bool:
        path = folder / "metrics.jsonl"
        assert ask("squeue", "--noheader"), log.read_text()[-3000:]
        return path.exists() and any(line["step"] >= step for line in records.read(path))

    until(lambda: reached(5), "step 5")
    ask("scancel", "--signal=USR1", "--batch", job)
    until(lambda: reached(25), "step 25")
    ask("scontrol", "requeue", job)
    until(lambda: (folder / "export").exists(), "the export")
    until(lambda: not ask("squeue", "--noheader"), "the end of the job")
    told = events(folder, "signal", "resume", "finish")
    assert [event["event"] for event in told] == ["signal", "resume", "signal", "resume", "finish"], log.read_text()
    assert [event.get("signal") for event in told[0:3:2]] == ["SIGUSR1", "SIGTERM"]
    assert [told[1]["step"], told[3]["step"]] == [told[0]["step"], told[2]["step"]]
    small.train(run, "--train.run", "undisturbed", *keys, processes=2)
    assert metrics(folder) == metrics(run / "train" / "undisturbed")
    assert weights(folder) == weights(run / "train" / "undisturbed")
