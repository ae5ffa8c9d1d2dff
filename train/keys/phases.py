"""Keys of `phases:`: mixtures that a run goes through one after the other, each with a learning rate of its own.

Phases are compiled when the pipeline file is read (pipelines/phases.py): into the steps of the run, the knots of
mix.schedule, of which mix.build makes one plan, and one learning rate over all steps. Nothing else knows of them, so a
run is stopped and gone on with at their borders as anywhere else. The mixture counts rows and the learning rate steps:
after a roll-back that skipped rows, a phase's mixture begins by so many steps before its learning rate.
"""

from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError

from mix.config import Share, WeightsKey
from pipelines.section import Section
from train.keys.schedule import ScheduleKeys, as_rate
from train.schedule import InTurn, Kind, Schedule


class Phase(Section):
    """One mixture and its learning rate."""

    name: str = Field(pattern=r"^\w[\w.-]*$")
    """Name of the phase in tables, the report and errors."""
    steps: int = Field(ge=1)
    """Optimizer steps of the phase; train.steps is the sum of all phases."""
    domain: Share | None = None
    """Share of rows from the domain pool in every batch of the phase; left out, that of the phase before, in the first
    phase mix.domain."""
    replay: Share | None = None
    """Share of rows from the replay pool; domain + replay must be 1, and both or neither are given."""
    weights: WeightsKey = {}
    """Weights of sources, as in mix.weights; natural turns them off. A pool of which none is named keeps those of the
    phase before, in the first phase those of mix.weights."""
    best: bool = False
    """Take of the domain pool only the documents that mix.best sets apart; false takes all."""
    schedule: Kind | None = None
    """Shape of the phase's learning rate over its steps; left out, train.schedule. decay_steps, cycles, constant and
    cooldown_steps are those of `train:`, their defaults counted in the phase's steps."""
    warmup_steps: int | None = Field(None, ge=0)
    """Steps of warm-up to the phase's peak; left out, train.warmup_steps in the first phase and 0 in the others, whose
    optimizer is not fresh."""
    peak_lr: Annotated[float | str, BeforeValidator(as_rate)] | None = None
    """Highest learning rate of the phase, as train.peak_lr, which it is where left out."""
    floor: float | None = Field(None, ge=0, le=1)
    """Learning rate at the phase's last step as a share of its peak; left out, train.floor."""

    def rate(self, train: ScheduleKeys, first: bool) -> ScheduleKeys:
        """The keys of the phase's learning rate, those left out filled in; `first`: no phase comes before it."""
        given = {key: getattr(self, key) for key in ("schedule", "warmup_steps", "peak_lr", "floor")}
        filled = {key: value for key, value in given.items() if value is not None}
        if not first:
            filled = {"warmup_steps": 0} | filled
        names = ScheduleKeys.model_fields
        return ScheduleKeys(**{name: getattr(train, name) for name in names} | filled)


def in_turn(train: ScheduleKeys, phases: list[Phase]) -> list[ScheduleKeys]:
    """The keys of each phase's learning rate."""
    return [phase.rate(train, first=number == 0) for number, phase in enumerate(phases)]


def learning_rate(train: ScheduleKeys, phases: list[Phase], steps: int) -> Schedule | InTurn:
    """The learning rate over all steps: that of `train:` over `steps`, or those of the phases in turn.

    Raises ValueError naming the keys, and the phase, that do not fit in the steps.
    """
    if not phases:
        return train.shape(steps)
    parts = []
    for number, phase in enumerate(phases):
        try:
            keys = phase.rate(train, first=number == 0)
            parts.append((keys.shape(phase.steps), keys.peak / train.peak))
        except ValueError as error:
            told = str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)
            raise ValueError(f"phases[{number}] ({phase.name}): {told.removeprefix('Value error, ')}") from None
    return InTurn(tuple(parts))
