"""What an extension is asked during a run, and what it can change."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from curate.files import read_json
from tests.train import small
from tests.train.test_launch import metrics
from train import records
from train.schedule import Schedule


def decisions(folder: Path) -> list[dict[str, Any]]:
    return [event for event in records.read(folder / "journal.jsonl") if event["event"] not in records.COURSE]


def extended(run: Path, *arguments: str) -> list[list[Any]]:
    """What the probe of tests.train.extended was asked in one start of a run."""
    command = [sys.executable, "-m", "tests.train.extended", str(run), "--train.run", "extended", *arguments]
    subprocess.run(command, cwd=small.REPO, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, timeout=200)
    return read_json(run / "train" / "extended" / "asked.json")


KEYS = ("--train.steps", "12", "--train.checkpoint_every", "4", "--eval.every", "5")


def test_an_extension_is_asked_at_each_point_and_can_change_the_step(run: Path) -> None:
    asked = extended(run, *KEYS)
    assert asked[0] == ["begin", 0, 0]
    assert [one[1] for one in asked if one[0] == "evaluation"] == [0, 5, 10, 12]
    updates = {step: (loss, norm) for name, step, loss, norm in (one for one in asked if one[0] == "update")}
    steps = {step: rest for name, step, *rest in (one for one in asked if one[0] == "step")}
    assert list(updates) == list(steps) == list(range(1, 13))
    for step, (loss, norm, moved) in steps.items():
        assert abs(loss - updates[step][0]) < 1e-5 and norm == updates[step][1]
        assert moved == (step != 3)
    assert updates[2][1] > 1000 > updates[1][1]  # what it added counts, before clipping
    assert [one[1:] for one in asked if one[0] == "apply"] == [[5, "ratio"], [6, "learning_rate"]]
    folder = run / "train" / "extended"
    written = [line for line in records.read(folder / "metrics.jsonl") if "seen" in line]
    assert [line["seen"] for line in written] == list(range(1, 13))
    rows = [round(8 * line["domain_share"]) for line in written]
    assert all(abs(taken - 6.4) <= 1 for taken in rows[:5]) and rows[5:] == [4] * 7
    plain = Schedule("cosine", 12, 4, 0.1)
    rates = [3e-3 * plain.factor(step) * (1 if step <= 6 else 0.5) for step in range(1, 13)]
    assert [line["lr"] for line in written] == pytest.approx(rates)
    events = [event for event in records.read(folder / "journal.jsonl") if event["event"] == "ratio"]
    assert [(event["step"], event["first_row"], event["evidence"]) for event in events] == [(5, 40, "a test")]


@pytest.mark.parametrize("lost, begun", [((12,), 8), ((8, 12), 0)])
def test_decisions_are_made_again_as_they_were(run: Path, lost: tuple[int, ...], begun: int) -> None:
    folder = run / "train" / "extended"
    journal, written = decisions(folder), metrics(folder)
    for step in lost:  # as if the run had been killed before those checkpoints were there
        shutil.rmtree(folder / "checkpoints" / f"step-{step}", ignore_errors=True)
    asked = extended(run, *KEYS)
    assert asked[0] == ["begin", begun, begun], "its state comes with the checkpoint"
    assert metrics(folder) == written
    assert [
        event for event in records.read(folder / "journal.jsonl") if event["event"] not in records.COURSE
    ] == journal
    assert [one[2] for one in asked if one[0] == "apply"] == ["ratio", "learning_rate"]
