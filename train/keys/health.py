"""Keys of health (train/health.py)."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from mix.spikes import FEWEST, THRESHOLD, WINDOW
from pipelines.section import Section

if TYPE_CHECKING:
    from train.config import TrainConfig

Action = Literal["warn", "skip", "halve_lr", "roll_back", "stop"]


class HealthKeys(Section):
    """What is a spike, and what is done about it.

    Actions: warn: only the journal is told; skip: no update is made with this batch; halve_lr: the learning rate is
    halved from the next step on; roll_back: back to a checkpoint at least roll_back_steps before, past the rows since
    then; stop: the run ends with an error. The journal has the documents of the step in every case.
    """

    on_non_finite: Literal["skip", "halve_lr", "roll_back", "stop"] = "stop"
    """Action where loss or gradient norm is not a finite number; no update is made with such a batch in any case."""
    on_spike: Action = "warn"
    """Action where loss or gradient norm spikes, once a spike; skip: at every step of it."""
    on_unrecovered: Literal["warn", "halve_lr", "roll_back", "stop"] = "warn"
    """Action where a spike has not recovered after recover_within steps; roll_back: from the spike's step."""
    spike_threshold: float = Field(THRESHOLD, gt=0)
    """Robust standard deviations above the median before that make a spike (mix/spikes.py); 0 is refused, 1e9 turns
    spikes off."""
    spike_window: int = Field(WINDOW, ge=FEWEST)
    """Steps that a step is compared with."""
    recover_within: int = Field(200, ge=1)
    """Steps after which a spike has not recovered, where the figure was never back below the spike's threshold."""
    roll_back_steps: int = Field(100, ge=1)
    """roll_back: steps to go back at least, to the newest checkpoint before them."""
    most_roll_backs: int = Field(10, ge=1)
    """Roll-backs in a run after which the next one stops it instead."""


def check(train: "TrainConfig") -> None:
    """Raises ValueError where a roll-back that the keys name could find no checkpoint that is old enough."""
    back = {"on_non_finite": train.roll_back_steps, "on_spike": train.roll_back_steps}
    back["on_unrecovered"] = train.roll_back_steps + train.recover_within
    kept = (train.keep_checkpoints - 1) * train.checkpoint_every + 1
    for key, steps in back.items():
        if getattr(train, key) == "roll_back" and steps > kept and not train.keep_every:
            enough = -(-(steps - 1) // train.checkpoint_every) + 1
            raise ValueError(
                f"train.{key}: roll_back needs a checkpoint that is {steps} steps old, but of {train.keep_checkpoints} "
                f"kept checkpoints (train.keep_checkpoints), one every {train.checkpoint_every} steps, the oldest may "
                f"be {kept} steps old. Set train.keep_checkpoints to {enough}, or a larger train.checkpoint_every."
            )
