"""The learning rate over the steps of a run."""

import math
from dataclasses import dataclass
from typing import Any

import train.platform  # noqa: F401  (before torchtitan)

# isort: split
from torchtitan.components.optimizer import LRSchedulersContainer, OptimizersContainer


def factor(step: int, steps: int, warmup: int, floor: float) -> float:
    """Share of the peak at `step` (1..steps): linear warm-up, then a half cosine (arXiv 1608.03983, eq. 5).

    >>> [round(factor(step, steps=6, warmup=2, floor=0.1), 3) for step in range(1, 7)]
    [0.5, 1.0, 0.868, 0.55, 0.232, 0.1]
    """
    peak_at = max(1, warmup)
    if step <= peak_at:
        return step / peak_at
    progress = min(1.0, (step - peak_at) / (steps - peak_at))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


class WarmupCosine(LRSchedulersContainer):
    """torchtitan's container with a schedule that is at its floor on the last step, not one step after it."""

    @dataclass(kw_only=True, slots=True)
    class Config(LRSchedulersContainer.Config):
        """`warmup_steps` and `min_lr_factor` (the floor) are used."""

        def build(self, *, optimizers: OptimizersContainer, training_steps: int, **_: Any) -> "WarmupCosine":
            """torch counts finished steps, so step n runs at the factor of n - 1 finished ones."""
            return WarmupCosine(
                optimizers, lambda done: factor(done + 1, training_steps, self.warmup_steps, self.min_lr_factor)
            )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Also hands the rates to the optimizer, which would otherwise keep those of the checkpoint for a step."""
        LRSchedulersContainer.load_state_dict(self, state_dict)
        for scheduler in self.schedulers:
            for group, rate in zip(scheduler.optimizer.param_groups, scheduler.get_last_lr(), strict=True):
                group["lr"] = rate
