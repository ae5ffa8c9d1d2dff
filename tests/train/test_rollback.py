"""Going back to a checkpoint within a run, killed or not, and what the records and mix.trace say of it afterwards."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mix import journal, trace
from pipelines import config
from tests.train import small
from tests.train.test_launch import metrics
from train import records

Made = dict[str, list[dict[str, Any]]]
BATCH = 8
BAD_STEP = 27
KEYS = (
    *("--train.steps", "32", "--train.checkpoint_every", "5", "--train.keep_checkpoints", "4", "--eval.every", "12"),
    *("--train.on_spike", "roll_back", "--train.roll_back_steps", "4"),
)
ILL = {str((BAD_STEP - 1) * BATCH): "gradient"}


def starts(run: Path, *wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Make some starts of training runs (tests.train.ill); returns exit statuses and output of each."""
    command = [sys.executable, "-m", "tests.train.ill", str(run), json.dumps(wanted)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    made = subprocess.run(command, cwd=small.REPO, env=environment, capture_output=True, text=True, timeout=400)
    assert made.returncode == 0, made.stderr
    found: list[dict[str, Any]] = json.loads(made.stdout.splitlines()[-1])
    return found


def start(name: str, *keys: str, **more: Any) -> dict[str, Any]:
    return {"keys": ["--train.run", name, *KEYS, *keys], "ill": ILL, **more}


def events(folder: Path, *names: str) -> list[dict[str, Any]]:
    return [event for event in records.read(folder / "journal.jsonl") if not names or event["event"] in names]


def weights(folder: Path) -> bytes:
    return (folder / "export" / "model.safetensors").read_bytes()


KILLED: dict[str, dict[str, Any]] = {"before": {"kill_in": "clean"}, "after": {"kill_at": 23, "attempt": 1}}
"""Before anything is done about a roll-back, and three steps after one."""
EARLIER = {
    "22": ["learning_rate", {"multiplier": 0.5}],
    "23": ["ratio", {"shares": {"domain": "1/2", "replay": "1/2"}}],
    "26": ["roll_back", {"to": 22}],
}
WARN = ("--train.on_spike", "warn")


@pytest.fixture(scope="module")
def made(run: Path) -> Made:
    """The starts that the tests here look at, made by processes of one parent: name -> status and output of each."""
    wanted: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
        ("rolled_back", (), {}),
        *((name, (), killed) for name, killed in KILLED.items()),
        *((name, (), {}) for name in KILLED),
        ("void", WARN, {"decide": EARLIER, "kill_at": 24, "attempt": 1}),
        ("void", WARN, {}),
        ("two_back", (), {"processes": 2}),
        ("too_early", (), {"decide": {"4": ["roll_back", {"to": 3}]}}),
    ]
    found: Made = {}
    results = starts(run, *(start(name, *keys, **more) for name, keys, more in wanted))
    for (name, _, _), result in zip(wanted, results, strict=True):
        found.setdefault(name, []).append(result)
    return found


@pytest.fixture(scope="module")
def rolled_back(run: Path, made: Made) -> Path:
    """The folder of a run that rolled back from step 27 to 20, and was not killed."""
    (result,) = made["rolled_back"]
    assert result["status"] == [0], result["output"]
    return run / "train" / "rolled_back"


def test_the_run_goes_on_from_the_checkpoint_past_the_rows(rolled_back: Path) -> None:
    (event,) = events(rolled_back, "roll_back")
    assert (event["step"], event["to"], event["first_row"]) == (BAD_STEP, 20, BAD_STEP * BATCH)
    assert [one["event"] for one in events(rolled_back)] == ["start", "roll_back", "rolled_back", "finish"]
    lines = [line for line in metrics(rolled_back) if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, 33)), "each step once"
    assert [line["rows"] for line in lines] == [
        BATCH * (step if step <= 20 else step + BAD_STEP - 20) for step in range(1, 33)
    ]
    assert [line["tokens"] for line in lines] == [BATCH * small.SEQ_LEN * step for step in range(1, 33)]
    assert max(line["grad_norm"] for line in lines) < 100, "no step with the bad rows is left"
    apart = records.read(rolled_back / "metrics.rolled_back.jsonl")
    assert [line["step"] for line in apart] == [21, 22, 23, 24, 24, 25, 26, 27]
    assert {line["roll_back"] for line in apart} == {1} and apart[-1]["grad_norm"] > 1000


@pytest.mark.parametrize("name", KILLED)
def test_killed_after_a_roll_back_it_ends_as_if_it_had_not_been(
    run: Path, rolled_back: Path, made: Made, name: str
) -> None:
    dead, whole = made[name]
    assert dead["status"] == [-9] and whole["status"] == [0], whole["output"]
    folder = run / "train" / name
    assert events(folder, "resume")[0]["step"] == 20
    assert metrics(folder) == metrics(rolled_back) and weights(folder) == weights(rolled_back)
    assert metrics_apart(folder) == metrics_apart(rolled_back)
    assert len(events(folder, "rolled_back")) == 1


def metrics_apart(folder: Path) -> list[dict[str, Any]]:
    lines = records.read(folder / "metrics.rolled_back.jsonl")
    return [{key: value for key, value in line.items() if key not in records.TIMING} for line in lines]


def test_without_its_later_checkpoints_it_skips_the_rows_when_it_comes_to_the_step(
    run: Path, rolled_back: Path
) -> None:
    folder = Path(shutil.copytree(rolled_back, run / "train" / "lost"))
    shutil.rmtree(folder / "export")
    shutil.rmtree(folder / "checkpoints")
    (made,) = starts(run, start("lost"))
    assert made["status"] == [0], made["output"]
    assert [event["event"] for event in events(folder)[-2:]] == ["start", "finish"]
    assert len(events(folder, "roll_back")) == 1, "the steps that were rolled back are not made again"
    assert metrics(folder) == metrics(rolled_back) and weights(folder) == weights(rolled_back)


def test_decisions_made_before_a_roll_back_are_void(run: Path, made: Made) -> None:
    """A rate and a ratio decided at steps 22 and 23, an extension's roll-back at 26 to at most 22, killed at 24."""
    dead, whole = made["void"]
    assert dead["status"] == [-9] and whole["status"] == [0], whole["output"]
    folder = run / "train" / "void"
    lines = {line["step"]: line for line in metrics(folder) if "loss" in line}
    apart = {line["step"]: line for line in metrics_apart(folder) if "loss" in line}
    assert [round(BATCH * apart[step]["domain_share"]) for step in (24, 25, 26)] == [4, 4, 4]
    assert all(abs(BATCH * lines[step]["domain_share"] - 6.4) <= 1 for step in range(21, 33))
    assert apart[24]["lr"] == pytest.approx(lines[24]["lr"] / 2)
    assert lines[21]["rows"] == 27 * BATCH and lines[32]["rows"] == 38 * BATCH


def test_two_processes_roll_back_as_one_does(run: Path, rolled_back: Path, made: Made) -> None:
    assert made["two_back"][0]["status"] == [0, 0], made["two_back"][0]["output"]
    for one, two in zip(metrics(rolled_back), metrics(run / "train" / "two_back"), strict=True):
        assert [one.get(key) for key in ("step", "rows", "lr")] == [two.get(key) for key in ("step", "rows", "lr")]
        assert one.get("loss", 0) == pytest.approx(two.get("loss", 0), abs=1e-4)


def test_without_a_checkpoint_that_is_old_enough_it_stops_and_names_the_key(run: Path, made: Made) -> None:
    (result,) = made["too_early"]
    assert result["status"] == [2]
    assert "train.checkpoint_every: a roll-back at step 4 to step 3" in result["output"]
    assert not events(run / "train" / "too_early", "roll_back")


def test_mix_trace_finds_the_documents_of_the_steps_that_stand(run: Path, rolled_back: Path) -> None:
    traced = trace.open_run(config.load(run / "pipeline.yaml", {}), "rolled_back")
    (event,) = events(rolled_back, "roll_back")
    assert traced.rows.first(20) == 19 * BATCH and traced.rows.first(21) == BAD_STEP * BATCH
    assert [traced.rows.step(row) for row in (159, 160, 215, 216, 223, 224)] == [20, None, None, 21, 21, 22]
    after = trace.trace_step(traced, 21)
    assert after["position"].to_list()[0] == 216 and after["row"].max() == BATCH - 1
    # the documents of the step that was rolled back, by what a run without roll-backs has at it
    whole = trace.Run(run, traced.plan, BATCH, 32, journal.rows([], BATCH))
    assert trace.trace_step(whole, BAD_STEP)["id"].unique(maintain_order=True).to_list() == event["documents"]
    spikes, steps = trace.find_spikes(traced, 7.0, 32, 1)
    assert not spikes and not steps
    for identifier in after["id"].unique().to_list()[:3]:
        steps_seen = trace.trace_document(traced, identifier)["step"].to_list()
        assert 21 in steps_seen
        assert all(identifier in trace.trace_step(traced, step)["id"] for step in set(steps_seen))


def test_rows_of_several_roll_backs() -> None:
    """The second goes back before the first, the third to the same step."""
    told = [{"event": "roll_back", "step": 8, "to": 6, "first_row": 80}, {"event": "ratio", "step": 7}]
    told += [{"event": "roll_back", "step": 9, "to": 3, "first_row": 110}]
    told += [{"event": "other", "step": 3}, {"event": "roll_back", "step": 5, "to": 3, "first_row": 130}]
    found = journal.rows(told, 10)
    assert [found.first(step) for step in (1, 3, 4, 6)] == [0, 20, 130, 150]
    assert [found.step(row) for row in (29, 30, 129, 130, 159)] == [3, None, None, 4, 6]
    assert [event["event"] for event in journal.standing(told)] == ["roll_back", "other", "roll_back"]


def test_metrics_are_set_apart_once_when_a_kill_came_in_between(tmp_path: Path) -> None:
    written = records.Records(tmp_path)
    for step in range(1, 6):
        written.metrics(step=step, loss=float("nan") if step == 5 else 1.0 / step)
    kept = (tmp_path / "metrics.jsonl").read_bytes()
    written.set_apart(3, 1)
    apart = (tmp_path / "metrics.rolled_back.jsonl").read_bytes()
    (tmp_path / "metrics.jsonl").write_bytes(kept)
    written.set_apart(3, 1)
    written.set_apart(3, 1)
    assert (tmp_path / "metrics.rolled_back.jsonl").read_bytes() == apart
    assert [line["step"] for line in records.read(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert records.read(tmp_path / "metrics.rolled_back.jsonl")[-1] == {"step": 5, "loss": None, "roll_back": 1}
