"""A run that is asked to end saves its state, and goes on from it bit for bit."""

import signal
import time
from pathlib import Path

import pytest
import torch

from tests.train import small
from tests.train.test_launch import metrics
from tests.train.test_rollback import events, starts, weights
from train import records
from train.signals import Signals

KEYS = ("--train.steps", "24", "--train.checkpoint_every", "20")


def test_a_signal_is_noted_once_and_handled_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    before = signal.getsignal(signal.SIGUSR1)
    with Signals() as signals:
        assert signals.agreed(torch.device("cpu")) is None
        signal.raise_signal(signal.SIGUSR1)
        assert signals.agreed(torch.device("cpu")) == "SIGUSR1"
    assert signal.getsignal(signal.SIGUSR1) is before


def test_slurms_signal_to_one_of_two_processes_ends_both_at_the_same_step(run: Path) -> None:
    start = {"keys": ["--train.run", "signalled", *KEYS], "processes": 2}
    warned, whole, other = starts(
        run,
        start | {"signal_at": 7, "signal": int(signal.SIGUSR1)},
        start,
        start | {"keys": ["--train.run", "unsignalled", *KEYS]},
    )
    assert warned["status"] == [0, 0], warned["output"]
    assert "saved after SIGUSR1" in warned["output"]
    assert "exported" not in warned["output"] and "exported" in whole["output"], whole["output"]
    folder = run / "train" / "signalled"
    assert [(event["event"], event["step"]) for event in events(folder)] == [
        ("start", 0),
        ("signal", 7),
        ("resume", 7),
        ("finish", 24),
    ]
    assert other["status"] == [0, 0]
    assert metrics(folder) == metrics(run / "train" / "unsignalled")
    assert weights(folder) == weights(run / "train" / "unsignalled")


def test_sigterm_to_torchrun_is_passed_on_and_the_state_saved(run: Path) -> None:
    """As kill and Slurm's pre-emption do to the process that they know."""
    process = small.start(run, "--train.run", "terminated", "--train.steps", "400", *KEYS[2:], processes=2)
    path = run / "train" / "terminated" / "metrics.jsonl"
    deadline = time.monotonic() + 200
    while not (path.exists() and any(line["step"] >= 3 for line in records.read(path))):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=100)
    assert "saved after SIGTERM" in output, output
    (told,) = events(path.parent, "signal")
    assert told["signal"] == "SIGTERM" and told["step"] >= 3
    assert (path.parent / "checkpoints" / f"step-{told['step']}" / ".metadata").exists()
    assert [line["step"] for line in metrics(path.parent) if "loss" in line] == list(range(1, told["step"] + 1))
