"""What health finds, and what it does then."""

import math
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from mix import spikes
from tests.train import small
from tests.train.test_launch import metrics
from tests.train.test_rollback import BATCH, events, starts
from train.config import TrainConfig
from train.health import MOST_SKIPPED, Health
from train.keys import health as keys
from train.settings import _MAY_CHANGE

KEYS = ("--train.steps", "24", "--train.checkpoint_every", "10", "--eval.every", "24")
ILL = {str(17 * BATCH): "gradient"}


class Run:
    """A run without a model: figures go in, decisions come out, as the trainer has them."""

    def __init__(self, **wanted: Any):
        self.health = Health(TrainConfig(**wanted))
        self.trainer: Any = SimpleNamespace(
            step=0,
            decisions=SimpleNamespace(settled=lambda step, by: False, roll_backs=0, at=lambda step: []),
            decide=self.decide,
            first_rank=False,
            lr_schedulers=SimpleNamespace(multiplier=lambda step: 0.5),
        )
        self.decided: list[dict[str, Any]] = []

    def decide(self, name: str, **details: Any) -> None:
        self.decided.append({"event": name, "step": self.trainer.step, **details})
        self.health.apply(self.trainer, self.decided[-1])

    def step(self, loss: float, norm: float = 1.0) -> bool:
        """One step; whether an update was made."""
        self.trainer.step += 1
        updated = self.health.allows_update(self.trainer, loss, norm)
        self.health.finish_step(self.trainer, {})
        return updated


@pytest.fixture
def no_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.health._documents", lambda trainer: {"documents": ["a/1"]})


def normal(seed: int, steps: int) -> list[float]:
    generator = random.Random(seed)
    return [generator.gauss(3.0, 0.05) for _ in range(steps)]


@pytest.mark.usefixtures("no_documents")
@pytest.mark.parametrize("seed", range(5))
def test_its_spikes_are_those_of_mix_trace(seed: int) -> None:
    """With skip every step of a spike is one, as in mix.spikes; bad steps are in the window of the ones after."""
    run, generator = Run(on_spike="skip"), random.Random(seed)
    losses = normal(seed, 120)
    norms = [generator.lognormvariate(0, 0.1) for _ in losses]
    for at in generator.sample(range(20, 120), 6):
        losses[at] += generator.choice([0.2, 0.5, 3.0])
        norms[at] *= generator.choice([1, 1.2, 50])
    updated = [run.step(*figures) for figures in zip(losses, norms, strict=True)]
    lines = [
        {"step": step, "loss": loss, "grad_norm": norm}
        for step, (loss, norm) in enumerate(zip(losses, norms, strict=True), 1)
    ]
    wanted = spikes.spikes(lines)
    assert wanted and {one.step for one in wanted} == {event["step"] for event in run.decided}
    assert [step for step, made in enumerate(updated, 1) if not made] == sorted({one.step for one in wanted})
    told = [
        spikes.Spike(event["step"], figure, of["value"], of["median"], of["score"])
        for event in run.decided
        for figure, of in event["found"][0]["figures"].items()
    ]
    assert told == wanted


@pytest.mark.usefixtures("no_documents")
def test_a_spike_is_told_once_and_again_where_it_has_not_recovered() -> None:
    run = Run(on_spike="warn", on_unrecovered="halve_lr", recover_within=30)
    for loss in [*normal(0, 40), *(5.0 for _ in range(60))]:
        assert run.step(loss)
    assert [(event["event"], event["step"]) for event in run.decided] == [("warn", 41), ("learning_rate", 71)]
    assert run.decided[1]["multiplier"] == 0.25 and run.decided[1]["documents"] == ["a/1"]
    (found,) = run.decided[1]["found"]
    assert found["kind"] == "unrecovered" and found["figures"]["loss"]["step"] == 41


@pytest.mark.usefixtures("no_documents")
def test_a_spike_that_recovers_is_over_and_the_next_one_is_told() -> None:
    run = Run(recover_within=30)
    for loss in [*normal(0, 40), 5.0, *normal(1, 50), 6.0, *normal(2, 50)]:
        run.step(loss)
    assert [(event["event"], event["step"]) for event in run.decided] == [("warn", 41), ("warn", 92)]


@pytest.mark.usefixtures("no_documents")
def test_a_change_of_the_mixture_is_no_spike() -> None:
    run = Run()
    for loss in normal(0, 40):
        run.step(loss)
    run.health.apply(run.trainer, {"event": "ratio", "step": 40})
    for loss in normal(1, 40):
        run.step(loss + 2)
    assert not run.decided


@pytest.mark.usefixtures("no_documents")
def test_state_goes_through_a_checkpoint() -> None:
    whole, cut = Run(recover_within=20), Run(recover_within=20)
    losses = [*normal(3, 30), float("nan"), 9.0, *(9.0 for _ in range(30))]
    for run in (whole, cut):
        run.health._keys = TrainConfig(recover_within=20, on_non_finite="skip")
    for loss in losses:
        whole.step(loss)
    for loss in losses[:35]:
        cut.step(loss)
    state = cut.health.state_dict()
    cut.health = Health(TrainConfig(recover_within=20, on_non_finite="skip"))
    cut.health.load_state_dict(state)
    for loss in losses[35:]:
        cut.step(loss)
    assert [event["event"] for event in whole.decided] == ["skip", "warn", "warn"]
    assert [str(event) for event in cut.decided] == [str(event) for event in whole.decided]


@pytest.mark.usefixtures("no_documents")
def test_batches_that_are_never_finite_stop_the_run(tmp_path: Path) -> None:
    run = Run(on_non_finite="skip")
    run.trainer.config = SimpleNamespace(run="runs/small", dump_folder="runs/small/train/main")
    for _ in range(MOST_SKIPPED - 1):
        assert not run.step(math.nan)
    with pytest.raises(ValueError, match=f"train.peak_lr: the loss is not a finite number for the {MOST_SKIPPED}th"):
        run.step(math.nan)
    assert [event["event"] for event in run.decided] == ["skip"] * (MOST_SKIPPED - 1)


@pytest.mark.parametrize(
    ("wanted", "needed"),
    [
        ({"on_spike": "roll_back"}, None),
        ({"on_unrecovered": "roll_back"}, 4),
        ({"on_spike": "roll_back", "roll_back_steps": 101}, None),
        ({"on_spike": "roll_back", "roll_back_steps": 102}, 3),
        ({"on_unrecovered": "roll_back", "keep_every": 1000}, None),
    ],
)
def test_a_roll_back_that_no_checkpoint_is_kept_for_is_refused(wanted: dict[str, Any], needed: int | None) -> None:
    if needed is None:
        keys.check(TrainConfig(**wanted))
        return
    with pytest.raises(ValueError, match=f"roll_back needs a checkpoint .* Set train.keep_checkpoints to {needed},"):
        keys.check(TrainConfig(**wanted))
    keys.check(TrainConfig(**wanted | {"keep_checkpoints": needed}))


def test_an_action_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValidationError):
        TrainConfig(on_spike="restart")
    assert "train.on_spike" in _MAY_CHANGE


def test_each_action_in_a_run(run: Path) -> None:
    """A gradient that spikes at step 18, and one that is no number at step 20."""
    ill = ILL | {str(19 * BATCH): "nan"}
    wanted = {
        "warned": ("warn", "skip"),
        "skipped": ("skip", "halve_lr"),
        "stopped": ("halve_lr", "stop"),
    }
    made = starts(
        run,
        *(
            {
                "keys": ["--train.run", name, *KEYS, "--on-spike", spike, "--on-non-finite", bad],
                "ill": ill,
            }
            for name, (spike, bad) in wanted.items()
        ),
        # the stopped one is gone on with under another action, from its checkpoint at step 10
        {"keys": ["--train.run", "stopped", *KEYS, "--on-spike", "halve_lr", "--on-non-finite", "skip"], "ill": ill},
    )
    assert [one["status"] for one in made] == [[0], [0], [2], [0]], [one["output"] for one in made]
    told = {name: events(run / "train" / name) for name in wanted}
    assert [(one["event"], one["step"]) for one in told["warned"]][1:-1] == [("warn", 18), ("skip", 20)]
    assert [(one["event"], one["step"]) for one in told["skipped"]][1:-1] == [("skip", 18), ("learning_rate", 20)]
    assert [(one["event"], one["step"]) for one in told["stopped"]][1:-1] == [
        ("learning_rate", 18),
        ("stopped", 20),
        ("resume", 10),
        ("skip", 20),
    ]
    check_stop(made[2]["output"], told["stopped"][2])
    lines = {name: [line for line in metrics(run / "train" / name) if "loss" in line] for name in wanted}
    assert lines["warned"][19]["grad_norm"] is None and lines["warned"][19]["loss"] is not None
    rates = [one["lr"] for one in lines["stopped"]]
    assert rates[18:] == pytest.approx([one["lr"] / 2 for one in lines["warned"][18:]])
    assert all(math.isfinite(line["loss"]) for line in lines["warned"])
    # up to the spike all are the same, and only where it was skipped the next loss is another
    assert lines["warned"][17]["loss"] == lines["skipped"][17]["loss"] == lines["stopped"][17]["loss"]
    assert lines["warned"][18]["loss"] == lines["stopped"][18]["loss"] != lines["skipped"][18]["loss"]


def check_stop(output: str, event: dict[str, Any]) -> None:
    """The error names the step, its documents, and what can be changed."""
    assert "train.peak_lr: the gradient norm is not a finite number at step 20" in output
    assert "Traceback" not in output and "train.on_non_finite" in output
    for identifier in event["documents"][:5]:
        assert identifier in output
    assert len(event["documents"]) > 5 and f"and {len(event['documents']) - 5} more" in output


def test_weights_that_are_lost_come_back_by_a_roll_back(run: Path) -> None:
    """One weight becomes NaN at step 18 (the update makes all of them so), and the loss of step 19 is no number."""
    keys = ["--on-non-finite", "roll_back", "--roll-back-steps", "3", "--train.keep_checkpoints", "3"]
    (made,) = starts(run, {"keys": ["--train.run", "lost_weights", *KEYS, *keys], "ill": {str(17 * BATCH): "weights"}})
    assert made["status"] == [0], made["output"]
    folder = run / "train" / "lost_weights"
    (event,) = events(folder, "roll_back")
    assert (event["step"], event["to"], event["found"][0]["figures"]["loss"]) == (19, 10, {"value": "nan"})
    lines = [line for line in metrics(folder) if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, 25)) and all(math.isfinite(one["loss"]) for one in lines)
    assert small.SEQ_LEN * 24 * BATCH == lines[-1]["tokens"] and lines[-1]["rows"] == (24 + 9) * BATCH
