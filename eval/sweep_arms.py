"""The arms of the replay sweep: what each one trains with, a line each.

An arm is a name and keys on top of the run's own pipeline; or another arm's model averaged with the base (`of` and
`share`, eval/average.py), which needs no training. To try a combination add a line to `arms`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines import config

FULL, REFERENCE = "100/0", "80/20"
"""Arms that gain kept and rise avoided are counted from, and that a point in front must beat."""
CONTROLLED = "95/5-controller"
"""The arm that starts with too little replay and is not told the best ratio."""
GENERATED = "80/20-generated"
"""REFERENCE with replay text that the base model writes (curate/generated.py)."""
PROVOKED, RESCUED = "100/0-quadruple-lr", "100/0-quadruple-lr-controller"
"""Forgetting provoked, and the same with the controller."""


@dataclass(frozen=True)
class Arm:
    """One way to continue the base."""

    name: str
    keys: dict[str, Any] = field(default_factory=dict)
    """Dotted key -> value."""
    of: str = ""
    """Averaged: the arm whose model is averaged with the base."""
    share: float = 1.0
    """Averaged: share of the continued weights."""
    plain: bool = False
    """Whether it is a fixed ratio and nothing else."""
    generated: bool = False
    """Whether its replay text is written by the base itself (eval/sweep_generated.py)."""

    @property
    def folder(self) -> str:
        """Its name as the beginning of a folder's."""
        return self.name.replace("/", "-")


def replay(percent: int) -> dict[str, Any]:
    """Keys of a fixed share of replay and nothing else, whatever the pipeline has."""
    plain = {"train.ewc": 0.0, "train.l2_sp": 0.0, "train.lr_groups": {}, "train.lora_rank": 0}
    return {"mix.schedule": [], "mix.replay": percent / 100, "mix.domain": (100 - percent) / 100} | plain


def ramp(steps: int, first: int, last: int, begin: float = 0.0) -> dict[str, Any]:
    """Keys of replay going from `first` to `last` percent, linearly from the share `begin` of the steps on."""
    ends = ((round(begin * steps), first), (steps - 1, last))
    schedule = [{"step": step, "domain": 1 - part / 100, "replay": part / 100} for step, part in ends]
    return replay(first) | {"mix.schedule": schedule}


def arms(pipeline: config.Pipeline) -> list[Arm]:
    """All arms there are; the first ones are what the sweep runs by default (`DEFAULT`)."""
    steps, peak = pipeline.train.steps, pipeline.train.peak
    double, quadruple = {"train.peak_lr": 2 * peak}, {"train.peak_lr": 4 * peak}
    lora = {"train.lora_rank": 16, "train.peak_lr": 3 * peak}
    watched = {"eval.controller_cooldown": 0, "eval.every": max(1, steps // 12)}
    # EWC leaves the rows of new tokens alone: fast embeddings learn them while the rows the base knows are held.
    held = {"train.ewc": 15.0, "train.lr_groups": {"embeddings": 5.0}}
    return [
        *(Arm(f"{100 - percent}/{percent}", replay(percent), plain=True) for percent in (0, 10, 20, 30, 50)),
        Arm("100/0-ewc", replay(0) | {"train.ewc": 1e3}),
        Arm("100/0-lora", replay(0) | lora),
        Arm(CONTROLLED, replay(5) | watched | {"eval.controller": "raise_replay"}),
        Arm(GENERATED, replay(20), generated=True),
        Arm("80/20-held", replay(20) | held),
        Arm(PROVOKED, replay(0) | quadruple),
        Arm(RESCUED, replay(0) | quadruple | watched | {"eval.controller": "ewc"}),
        Arm("70/30-held", replay(30) | held),
        Arm("100/0-held", replay(0) | held),
        Arm("80/20-fast-embeddings", replay(20) | {"train.lr_groups": {"embeddings": 5.0}}),
        Arm("80/20-slow-embeddings", replay(20) | {"train.lr_groups": {"embeddings": 0.1}}),
        *(Arm(f"80/20-ewc-{strength}", replay(20) | {"train.ewc": strength}) for strength in (10, 30, 1000)),
        Arm("80/20-lora", replay(20) | lora),
        Arm("80/20-l2-sp", replay(20) | {"train.l2_sp": 1e-3}),
        Arm("80/20-half-lr", replay(20) | {"train.peak_lr": peak / 2}),
        Arm("70/30-double-lr", replay(30) | double),
        Arm("70/30-ewc-3-double-lr", replay(30) | double | {"train.ewc": 3.0}),
        Arm("50/50-double-lr", replay(50) | double),
        Arm("50/50-quadruple-lr", replay(50) | quadruple),
        Arm("90/10-to-70/30", ramp(steps, 10, 30)),
        Arm("100/0-then-50/50", ramp(steps, 0, 50, begin=0.5)),
        *(Arm(f"{of}-averaged-{share}", of=of, share=share) for of in (FULL, REFERENCE) for share in (0.8, 0.9)),
    ]


DEFAULT = ("100/0", "90/10", "80/20", "70/30", "50/50", "100/0-ewc", "100/0-lora", CONTROLLED, "80/20-held")
"""Arms that run where none are named."""


def chosen(pipeline: config.Pipeline, names: Sequence[str]) -> list[Arm]:
    """The arms of these names in the list's order, and before them those they average; no names take DEFAULT.

    Raises ValueError for a name that no arm has.
    """
    known = {arm.name: arm for arm in arms(pipeline)}
    for name in names:
        if name not in known:
            raise ValueError(f"--arms: there is no arm {name!r}. Known: {', '.join(known)}. New ones: {__file__}.")
    wanted = set(names or DEFAULT)
    wanted |= {known[name].of for name in wanted}
    return [arm for arm in known.values() if arm.name in wanted]


def with_keys(pipeline: config.Pipeline, keys: dict[str, Any]) -> config.Pipeline:
    """A pipeline with dotted keys changed. Raises ValueError naming a key that is not there."""
    values = pipeline.model_dump(mode="json")
    for dotted, value in keys.items():
        section, _, key = dotted.rpartition(".")
        (values[section] if section else values)[key] = value
    return config.parse(values, pipeline.folder / "pipeline.yaml")
