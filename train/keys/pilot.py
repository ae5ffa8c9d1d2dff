"""Keys of the `pilot:` section (train/pilot.py)."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from pipelines.section import Section
from train.keys.schedule import as_rate


class PilotConfig(Section):
    """The pilot: short runs at several learning rates and replay shares before the long one."""

    steps: int = Field(200, ge=2)
    """Optimizer steps of an arm; warm-up and decay are shortened in the same proportion from train.steps."""
    learning_rates: list[Annotated[float | str, BeforeValidator(as_rate)]] = []
    """Peak learning rates to try, written as train.peak_lr; an empty list tries a third of train.peak_lr, that, and
    three times that."""
    replay_shares: list[Annotated[float, Field(ge=0, le=1)]] = Field([0.05, 0.2, 0.4], min_length=1)
    """Shares of rows from the replay pool to try; the rest comes from the domain pool."""
    bound: float = Field(1.0, gt=0)
    """Most that general bits per byte may rise from step 0 to the end of an arm, in percent, for it to be chosen. An
    arm that passes twice the bound at an evaluation is stopped."""
