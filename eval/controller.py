"""The forgetting monitor that acts: judges every evaluation of a training run and decides what eval.control says.

Each intervention is an event of journal.jsonl with `by: controller` and its evidence: the measure, its value at step 0
and now, the change, the threshold, the step. It is made by `trainer.decide`, so it is on disk before it counts, a
resumed run makes it again at the same step, and no row before it is dealt otherwise.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from eval.control import Action, Evaluation, Event, Limits, Now, act, follow_up
from eval.keys_controller import ControllerKeys
from eval.tracks import BITS_PER_BYTE, due
from train.extension import Extension

if TYPE_CHECKING:
    from eval.config import Thresholds
    from pipelines.config import Pipeline
    from train.trainer import ContinuedTrainer


class Controller(Extension):
    """Acts on a breach of the general thresholds. Keeps the evaluations since step 0 in checkpoints."""

    name = "controller"

    def __init__(self, keys: ControllerKeys, limits: Limits, ewc: float):
        """`ewc`: strength of elastic weight consolidation that the run begins with."""
        self._keys, self._limits, self._ewc = keys, limits, ewc
        self._history: list[Evaluation] = []

    def finish_step(self, trainer: "ContinuedTrainer", figures: dict[str, Any]) -> None:
        """The first step after a roll-back of its own takes the action that was to follow."""
        done = past(trainer.decisions.events, trainer.step)
        self._decide(trainer, follow_up(done))

    def finish_evaluation(self, trainer: "ContinuedTrainer", figures: dict[str, Any]) -> None:
        """Judge the evaluations so far; after the last step there is nothing left to change."""
        unsure = frozenset(name for name, one in trainer.changes.items() if one["verdict"] != "worse")
        self._history.append(Evaluation(trainer.step, dict(figures), unsure))
        if trainer.step == trainer.config.training.steps:
            return
        done = past(trainer.decisions.events, trainer.step)
        action = act(self._history, self._keys, self._limits, self._now(trainer), done)
        if action and action.event == "roll_back" and trainer.checkpointer.newest(action.details["to"]) < 1:
            details = {**action.details["then"], "by": action.details["by"], "evidence": action.details["evidence"]}
            action = Action(details.pop("event"), details)  # no checkpoint is as old
        self._decide(trainer, action)

    def apply(self, trainer: "ContinuedTrainer", event: dict[str, Any]) -> None:
        """End the run where that was decided."""
        if event["event"] == "stop" and event.get("by") == self.name:
            evidence = event["evidence"]
            raise ValueError(
                f"eval.controller: stop: at step {event['step']} {evidence['measure']} is {evidence['value']:.4f}, "
                f"{evidence['change']:.2f} {evidence['unit']} worse than the base ({evidence['at_step_0']:.4f}); the "
                f"threshold is {evidence['threshold']:g}. The checkpoints before are kept: python -m eval.select names "
                "the best. To train on, start another --train.run with more replay or a lower train.peak_lr."
            )

    def state_dict(self) -> dict[str, Any]:
        """The evaluations so far."""
        return {"history": [[one.step, dict(one.figures), sorted(one.unsure)] for one in self._history]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Those of the checkpoint."""
        self._history = [Evaluation(step, figures, frozenset(unsure)) for step, figures, unsure in state["history"]]

    def _decide(self, trainer: "ContinuedTrainer", action: Action | None) -> None:
        if action is not None:
            trainer.decide(action.event, **action.details)

    def _now(self, trainer: "ContinuedTrainer") -> Now:
        set_to = [event["strength"] for event in trainer.decisions.until(trainer.step) if event["event"] == "ewc"]
        multiplier = trainer.lr_schedulers.multiplier(trainer.step + 1)
        return Now(trainer.step, replay_share(trainer), multiplier, [self._ewc, *set_to][-1])


def extensions(pipeline: "Pipeline") -> list[Extension]:
    """The controller of a pipeline, none where it is off."""
    keys = pipeline.eval
    if keys.controller == "none":
        return []
    return [Controller(keys, limits(keys.thresholds), pipeline.train.ewc)]


def check(pipeline: "Pipeline") -> None:
    """Raises ValueError where nothing general is measured before the last step, so that nothing would ever be done."""
    keys, last = pipeline.eval, pipeline.train.steps
    measured = {BITS_PER_BYTE, "general"}
    if keys.controller != "none" and not any(measured.intersection(due(keys, step, last)) for step in range(1, last)):
        raise ValueError(
            f"eval.controller: {keys.controller} judges general text and tasks during training, but none are measured "
            f"between step 0 and the last step (train.steps {last}, eval.held_out {keys.held_out:g}, eval.every "
            f"{keys.every}, eval.general {keys.general}, eval.general_every {keys.general_every}). Lower eval.every, "
            "or set eval.controller: none."
        )


def limits(thresholds: "Thresholds") -> Limits:
    """The thresholds of a pipeline as the controller takes them."""
    return Limits(thresholds.bits_per_byte_percent, thresholds.task_points)


def past(events: Sequence[Event], step: int) -> list[Event]:
    """The decisions made until the end of a step, in the journal's order.

    All up to the last roll-back, whose steps are made again, and of those after it the ones up to the step.
    """
    rolled_back = [index for index, event in enumerate(events) if event["event"] == "roll_back"]
    first = rolled_back[-1] + 1 if rolled_back else 0
    return [*events[:first], *(event for event in events[first:] if event["step"] <= step)]


def replay_share(trainer: "ContinuedTrainer") -> Fraction:
    """The replay pool's share in the next batch."""
    plan, rows = trainer.dataloader.source.plan, trainer.dataloader.rows
    piece = [piece for piece in plan.pieces if piece.first_row <= rows][-1]
    return piece.shares.pools[[pool.name for pool in plan.pools].index("replay")]
