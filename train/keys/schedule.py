"""Keys of the learning rate's schedule (train/schedule.py)."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from pipelines.section import Section
from train.schedule import Kind, Schedule


def as_rate(value: Any) -> Any:
    """A number, or a share of the base's rate as "0.1 x base"."""
    if not isinstance(value, str):
        return value
    number, times_base, rest = value.replace(" ", "").partition("xbase")
    try:
        float(number)
    except ValueError:
        number = ""
    if not number or rest:
        raise ValueError(
            f'{value!r} is neither a number nor a share of the base\'s rate. Write e.g. 3.0e-5 or "0.1 x base"'
        )
    return value if times_base else float(number)


class ScheduleKeys(Section):
    """Peak, warm-up, decay."""

    schedule: Kind = "cosine"
    """Shape after the warm-up: cosine or linear to the floor; wsd: constant at the peak, then down; cosine_restarts:
    `cycles` cosines; infinite: cosine to `constant`, held, then down. The papers stand in train/schedule.py."""
    warmup_steps: int = Field(200, ge=0)
    """Steps of linear warm-up to peak_lr; 0 turns it off."""
    peak_lr: Annotated[float | str, BeforeValidator(as_rate)] = 3e-4
    """Highest learning rate (AdamW): a number, or a share of the rate the base was pretrained with, e.g. "0.1 x base",
    for which base_lr must be given. A tenth to the whole of it is usual (arXiv 2308.04014, 2403.08763)."""
    base_lr: float = Field(0.0, ge=0)
    """Peak learning rate that the base was pretrained with, from its paper or model card; 0 where it is not known."""
    floor: float = Field(0.1, ge=0, le=1)
    """Learning rate at the last step as a share of the peak."""
    decay_steps: int = Field(0, ge=0)
    """wsd and infinite: steps of the last decay; 0 takes a tenth of the steps."""
    cycles: int = Field(4, ge=1)
    """cosine_restarts: number of cycles."""
    constant: float = Field(0.5, gt=0, le=1)
    """infinite: rate that is held, as a share of the peak."""
    cooldown_steps: int = Field(0, ge=0)
    """infinite: steps from the peak to the constant rate; 0 takes a quarter of the steps."""

    @model_validator(mode="after")
    def _know_base(self) -> "ScheduleKeys":
        if isinstance(self.peak_lr, str) and not self.base_lr:
            raise ValueError(
                f"peak_lr: {self.peak_lr!r} is a share of a rate that is not known. Set train.base_lr to the peak "
                "learning rate of the base's pretraining, or peak_lr to a number"
            )
        if self.peak <= 0:
            raise ValueError("peak_lr: is 0, so nothing would be learned. Set a number above 0")
        return self

    @property
    def peak(self) -> float:
        """The highest learning rate."""
        if isinstance(self.peak_lr, str):
            return float(self.peak_lr.split("x")[0]) * self.base_lr
        return self.peak_lr

    def describe(self) -> str:
        """Peak, warm-up, shape and end in words."""
        return f"{self.peak:g}, warm-up {self.warmup_steps}, {self.schedule} to {self.peak * self.floor:g}"

    def shape(self, steps: int) -> Schedule:
        """The schedule of a run of `steps` steps. Raises ValueError naming the keys that do not fit in them."""
        decay, cooldown = self.decay_steps or max(1, steps // 10), self.cooldown_steps or max(1, steps // 4)
        if self.warmup_steps >= steps:
            raise ValueError(
                f"train.warmup_steps: {self.warmup_steps} is not below train.steps ({steps}), so the learning rate "
                "would never come down. Lower train.warmup_steps."
            )
        left = steps - max(1, self.warmup_steps)
        needed = {"wsd": decay, "infinite": decay + cooldown, "cosine_restarts": 2 * self.cycles}.get(self.schedule, 0)
        if needed > left:
            keys = {"wsd": "decay_steps", "infinite": "cooldown_steps, train.decay_steps", "cosine_restarts": "cycles"}
            raise ValueError(
                f"train.{keys[self.schedule]}: schedule {self.schedule} needs {needed} steps after the warm-up, and "
                f"{left} of train.steps ({steps}) are left. Lower them, or train longer."
            )
        if self.schedule == "infinite" and not self.floor:
            raise ValueError("train.floor: 0 cannot be reached by the exponential decay of infinite. Set e.g. 0.1.")
        return Schedule(
            self.schedule, steps, self.warmup_steps, self.floor, decay, self.cycles, self.constant, cooldown
        )
