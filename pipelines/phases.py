"""From `phases:` to what the commands work with: the steps of the run and the knots of its mixture."""

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mix.config import KnotConfig, MixConfig
from train.keys.phases import Phase, learning_rate

if TYPE_CHECKING:
    from pipelines.config import Pipeline


def compiled(pipeline: "Pipeline") -> "Pipeline":
    """The pipeline with train.steps and mix.schedule as its phases say.

    Raises ValueError where a phase's keys do not go together, or train.steps or mix.schedule say something else.
    """
    names = [phase.name for phase in pipeline.phases]
    if len(set(names)) < len(names):
        raise ValueError(f"phases: {next(n for n in names if names.count(n) > 1)!r} is the name of two. Rename one.")
    steps, knots = sum(phase.steps for phase in pipeline.phases), _knots(pipeline.mix, pipeline.phases)
    learning_rate(pipeline.train, pipeline.phases, steps)  # refuses schedules that do not fit
    if "steps" in pipeline.train.model_fields_set and pipeline.train.steps != steps:
        raise ValueError(
            f"train.steps: is {pipeline.train.steps:,}, but the phases have {steps:,} steps together. Take train.steps "
            "out, or change the steps of the phases."
        )
    if pipeline.mix.schedule and pipeline.mix.schedule != knots:
        raise ValueError("mix.schedule: says the shares of every step, and so do phases. Take one of them out.")
    changes: dict[str, Any] = {"schedule": knots, "domain": knots[0].domain, "replay": knots[0].replay}
    return pipeline.model_copy(
        update={
            "mix": pipeline.mix.model_copy(update=changes),
            "train": pipeline.train.model_copy(update={"steps": steps}),
        }
    )


def _knots(mix: MixConfig, phases: list[Phase]) -> list[KnotConfig]:
    """Two knots a phase, at its first and its last step, between which nothing changes."""
    knots: list[KnotConfig] = []
    shares, begin = {"domain": mix.domain, "replay": mix.replay}, 0
    for number, phase in enumerate(phases):
        where = f"phases[{number}] ({phase.name})"
        if phase.best and not mix.best:
            raise ValueError(f"{where}: best: is true, but mix.best does not say which documents are the best. Set it.")
        if (phase.domain is None) != (phase.replay is None):
            raise ValueError(f"{where}: gives one of domain and replay. Give both, or neither.")
        if phase.domain is not None and phase.replay is not None:
            shares = {"domain": phase.domain, "replay": phase.replay}
        if sum(Fraction(str(part)) for part in shares.values()) != 1:
            told = " + ".join(str(part) for part in shares.values())
            raise ValueError(f"{where}: domain + replay is {told}, which is not 1. Correct one of them.")
        first = {**shares, "best": phase.best, "phase": phase.name}
        knots.append(KnotConfig(step=begin, weights=phase.weights, **first))
        begin += phase.steps
        if phase.steps > 1:
            knots.append(KnotConfig(step=begin - 1, **first))
    return knots
