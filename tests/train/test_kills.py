"""Kill -9 at random moments and while a checkpoint is written: the run ends as if it had been left alone.

tests/benchmarks/kills.py does the same with twenty kills and shows the figures.
"""

from pathlib import Path

import pytest

from tests.train import kills
from train import checksums, records

KEYS = ["--train.checkpoint_every", "2", "--train.keep_every", "8"]


@pytest.fixture(scope="module")
def alone(run: Path) -> Path:
    """The folder of a training run that was left alone."""
    kills.finish(kills.start(run, "alone", *KEYS, f"--train.archive={run / 'archive'}"))
    return run / "train" / "alone"


def test_a_killed_run_ends_as_one_left_alone(run: Path, alone: Path) -> None:
    keys = [*KEYS, f"--train.archive={run / 'archive'}"]
    waits = [(1, wait) for wait in (kills.a_save(0.03), kills.a_save(0), kills.some_time(1), kills.some_time(1))]
    killed = kills.train_killed(run, "often_killed", keys, waits, 1, seed=1)
    folder = run / "train" / "often_killed"
    assert len(killed) >= 2 and any(killed)
    assert kills.lines(folder) == kills.lines(alone)
    weights = [(one / "export" / "model.safetensors").read_bytes() for one in (folder, alone)]
    assert weights[0] == weights[1]
    for place in ("checkpoints", "archive"):
        kept = {}
        for one in (folder, alone):
            at = one / "checkpoints" if place == "checkpoints" else run / "archive" / "small" / one.name
            kept[one.name] = sorted(path.name for path in at.iterdir() if not path.name.startswith("."))
            assert not any(checksums.damage(path) for path in at.glob("step-*"))
        assert kept["often_killed"] == kept["alone"]
    events = [event["event"] for event in records.read(folder / "journal.jsonl")]
    assert events.count("checkpoint_unfinished") >= 1 and events[-1] == "finish"
    text = (run / "train" / "often_killed.log").read_text()
    assert "was not finished when the run was ended, so" in text


def test_on_two_processes_after_one_the_rows_are_the_same(run: Path, alone: Path) -> None:
    killed = kills.train_killed(run, "moved", KEYS, [(1, kills.a_save(0.03))], 2, seed=2)
    assert len(killed) == 1
    for one, other in zip(kills.lines(alone), kills.lines(run / "train" / "moved"), strict=True):
        exact = ("step", "rows", "tokens", "domain_share", "lr")
        assert [one.get(key) for key in exact] == [other.get(key) for key in exact]
        for key in ("loss", "loss_domain", "loss_replay", "grad_norm"):  # other rows would move them by some 0.1
            assert one.get(key, 0) == pytest.approx(other.get(key, 0), abs=1e-4)
