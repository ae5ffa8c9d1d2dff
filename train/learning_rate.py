"""A schedule as torchtitan's container of learning rates, with a multiplier that may change during a run."""

from dataclasses import dataclass, field
from typing import Any

import train.platform  # noqa: F401  (before torchtitan)
from train.schedule import InTurn, Schedule

# isort: split
from torchtitan.components.optimizer import LRSchedulersContainer, OptimizersContainer


class LearningRate(LRSchedulersContainer):
    """Each optimizer group's own peak, times the schedule's factor, times the multiplier of the step."""

    @dataclass(kw_only=True, slots=True)
    class Config(LRSchedulersContainer.Config):
        """Only `schedule` is used."""

        schedule: Schedule | InTurn = field(default_factory=lambda: Schedule("cosine", 1, 0, 1.0))

        def build(self, *, optimizers: OptimizersContainer, training_steps: int, **_: Any) -> "LearningRate":
            """The rates of `schedule` for these optimizers."""
            assert self.schedule.steps == training_steps
            return LearningRate(optimizers, self.schedule)

    def __init__(self, optimizers: OptimizersContainer, schedule: Schedule | InTurn):
        self._changes: dict[int, float] = {}
        # torch counts finished steps, so step n runs at the factor of n - 1 finished ones
        super().__init__(optimizers, lambda done: schedule.factor(done + 1) * self.multiplier(done + 1))

    def multiplier(self, step: int) -> float:
        """What the schedule's rate is multiplied with at `step`; 1 where nothing was changed."""
        earlier = [changed for changed in self._changes if changed < step]
        return self._changes[max(earlier)] if earlier else 1.0

    def change(self, step: int, multiplier: float) -> None:
        """From step + 1 on the schedule's rate is multiplied with `multiplier`, until the next change."""
        self._changes[step] = multiplier
        self._set()

    def forget_changes(self) -> None:
        """The multiplier is 1 at every step."""
        self._changes.clear()
        self._set()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Also hands the rates to the optimizers, which would otherwise keep those of the checkpoint for a step."""
        super().load_state_dict(state_dict)
        self._set()

    def _set(self) -> None:
        for scheduler in self.schedulers:
            scheduler._last_lr = [
                base * rate(scheduler.last_epoch)
                for base, rate in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
            ]
            for group, rate in zip(scheduler.optimizer.param_groups, scheduler._last_lr, strict=True):
                group["lr"] = rate
