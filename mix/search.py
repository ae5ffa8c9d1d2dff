"""Weights of sources found by small runs instead of guessed: `python -m mix.search [RUN] --method regmix`.

    python -m mix.search runs/clinical --method grid      one source after the other given more; the best run's weights
    python -m mix.search runs/clinical --method regmix    a regression over many mixtures (arXiv 2407.01492)
    python -m mix.search runs/clinical --method doremi    group DRO against a reference run (arXiv 2305.10429)

For the sources of the domain pool; the shares of the pools, and the weights of the other pool, stay as they are. What
counts is bits per byte of held-out domain text after the same number of tokens. Each proxy run is the run's own
training made shorter (the section `search`), in a folder of <run>/search, over the run's own shards. The same command
goes on where it was killed, another method uses the runs that are there, and the same seeds give the same weights.

Weights that did better in a run of their own than natural weights are written to pipeline.yaml (mix.weights) and
mixture.json; otherwise these stay. search/<method>.json has every run's weights and figures. Proxy runs see a source
fewer times than the long run will: mix.max_epochs limits what any method may ask for.
"""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from mix import search_methods as methods
from pipelines import cli
from pipelines.config import Pipeline

if TYPE_CHECKING:
    from train.settings import Settings

METHODS = ("grid", "regmix", "doremi")
NATURAL, UNIFORM = "natural", "uniform"
"""Proxy runs that every method has."""
POOL = "domain"
ENDED = "ended"
"""File of a proxy run that has ended, beside its records: the identity of the config.json that it was made with."""
TOGETHER = 4
"""Proxy runs a process; what the ones before them have left in memory and on disk does not add up."""


@dataclass(frozen=True)
class Space:
    """What weights there may be."""

    sources: tuple[str, ...]
    """Sources of the domain pool that have text."""
    natural: np.ndarray
    """Weights by numbers of rows."""
    limits: np.ndarray
    """Most that each may have, so that mix.max_epochs holds over the training budget."""
    domain: Fraction
    """The pool's share of all rows over that budget."""


@dataclass(frozen=True)
class Run:
    """A proxy run that has ended."""

    name: str
    """Of its folder, in search/steps-<n>-seed-<n>/."""
    weights: dict[str, float]
    domain: float
    """Bits per byte of held-out domain text at its end."""
    general: float
    """Bits per byte of held-out general text at its end."""


@dataclass(frozen=True)
class Found:
    """What a method came to."""

    method: str
    run: Run
    """The run with the weights found."""
    better: bool
    """Whether it did better than the run with natural weights."""
    runs: list[Run]
    """All runs of the method."""
    evidence: dict[str, Any] = field(default_factory=dict)
    """How the method got there, JSON types."""


def main(argv: list[str] | None = None) -> None:
    """The command."""
    pipeline, options = cli.parse("mix.search", __doc__ or "", "search", argv, _arguments)
    search(pipeline, options.method, options.processes)


def search(pipeline: Pipeline, method: str, processes: int = 1) -> Found:
    """Make the proxy runs that are not made yet, write the evidence, and the weights where they are better."""
    from curate.files import alone
    from mix.search_show import show, write

    space = find_space(pipeline)
    with alone(pipeline.folder / "search"):
        proxies = Proxies(pipeline, space, processes)
        found = {"grid": _grid, "regmix": _regmix, "doremi": _doremi}[method](proxies)
        write(pipeline, space, found)
    show(space, found)
    if found.better:
        _adopt(pipeline, found)
    return found


class Proxies:
    """The proxy runs of a search, each trained once."""

    def __init__(self, pipeline: Pipeline, space: Space, processes: int):
        self.pipeline, self.space, self.processes = pipeline, space, processes
        self.runs: list[Run] = []
        """Those asked for so far, in order; the first two have natural and uniform weights."""

    def first(self, others: Sequence[np.ndarray] = ()) -> Run:
        """Natural weights, uniform ones as far as the limits allow, and others; returns the first of them."""
        uniform = methods.within(np.ones(len(self.space.sources)), self.space.limits)
        named = {NATURAL: self.space.natural, UNIFORM: uniform}
        self._add([self.settings(weights, name) for name, weights in named.items()] + list(map(self.settings, others)))
        return self.runs[0]

    def one(self, weights: np.ndarray) -> Run:
        """One run more."""
        self._add([self.settings(weights)])
        return self.runs[-1]

    def settings(self, weights: np.ndarray, name: str = "") -> "Settings":
        """Of the run with these weights (to 6 decimals), planned. Raises ValueError where it had other keys before."""
        from curate.files import identity
        from train import own_run

        named = _named(self.space, weights)
        name = name or f"weights-{identity(named)}"
        return own_run.prepare(self.pipeline.folder, proxy(self.pipeline, self.space, named, name))

    def train(self, wanted: "Sequence[Settings]", command: tuple[str, ...] = ("train.own_run",)) -> None:
        """Train to the end. Of most runs the records are kept alone, of natural weights the model too."""
        from curate.files import file_identity, write_text
        from train import own_run
        from train.settings import CHECKPOINTS, EXPORT

        missing = [one for one in wanted if not _has_ended(one)]
        for start in range(0, len(missing), TOGETHER):
            some = missing[start : start + TOGETHER]
            print(f"training: {', '.join(one.pipeline.folder.name for one in some)}", flush=True)
            own_run.train(some, self.processes if command[0] == "train.own_run" else 1, command)
            for one in some:
                write_text(one.folder / ENDED, file_identity(one.folder / "config.json"))
        for one in wanted:
            keep = [] if one.pipeline.folder.name == NATURAL else [EXPORT]
            for part in (CHECKPOINTS, one.initial.name, *keep):
                shutil.rmtree(one.folder / part, ignore_errors=True)

    def _add(self, wanted: "Sequence[Settings]") -> None:
        self.train(wanted)
        self.runs += [_result(one) for one in wanted]


def find_space(pipeline: Pipeline) -> Space:
    """From the run's plan. Raises ValueError where there is nothing to search or nothing to measure it by."""
    from mix.plan_file import read_plan
    from mix.weights import find_caps

    where = pipeline.folder / "pipeline.yaml"
    if not pipeline.eval.held_out:
        raise ValueError(f"{where}: eval.held_out: is 0, so weights cannot be compared. Set it, e.g. 0.02.")
    for number, knot in enumerate(pipeline.mix.schedule):
        if knot.weights:
            raise ValueError(
                f"{where}: mix.schedule[{number}].weights: weights that change by step are not searched for, and would "
                "stand over those found. Take them out."
            )
    plan = read_plan(pipeline.folder / "mixture.json")
    rows = pipeline.train.steps * pipeline.train.global_batch
    caps = find_caps(where, pipeline.mix, {pool.name: pool.sources for pool in plan.pools})
    asked = zip(plan.sources, plan.asked(rows), caps, strict=True)
    mine = [(source, wanted, cap) for (pool, source), wanted, cap in asked if pool.name == POOL]
    budget = sum((wanted for _, wanted, _ in mine), Fraction(0))
    mine = [one for one in mine if one[0].rows]
    if len(mine) < 2 or not budget:
        raise ValueError(
            f"{where}: the {POOL} pool has {len(mine)} sources with text and {float(budget):,.0f} rows of the budget, "
            "so there are no weights to find. A source is a file: give the pool several, and a share of the rows."
        )
    limits = np.array([float(cap * source.rows / budget) for source, _, cap in mine])
    if limits.sum() < 1:
        raise ValueError(
            f"{where}: mix.max_epochs: allows {limits.sum():.0%} of the {POOL} pool's rows over train.steps, whatever "
            "the weights. Raise it, or train for fewer steps."
        )
    sizes = np.array([source.rows for source, _, _ in mine], np.float64)
    names = tuple(source.name for source, _, _ in mine)
    return Space(names, sizes / sizes.sum(), np.minimum(limits, 1), budget / rows)


def proxy(pipeline: Pipeline, space: Space, weights: dict[str, float], name: str) -> Pipeline:
    """The pipeline of a proxy run: as the run's own, but shorter, without tasks, and at the pools' mean shares."""
    from eval.sweep_arms import with_keys
    from train.own_run import shortened

    steps, share = pipeline.search.steps, round(float(space.domain), 6)
    sections: dict[str, dict[str, Any]] = {
        "train": shortened(pipeline.train, steps)
        | {"run": "main", "checkpoint_every": max(1, steps // 4)}
        | {"keep_checkpoints": 2, "keep_every": 0, "keep_best": {}, "archive": "", "loggers": []}
        | {"on_spike": "warn", "on_unrecovered": "warn", "on_non_finite": "stop"}
        | {"ewc": 0.0, "l2_sp": 0.0},  # what the text teaches is compared, not what is held
        "eval": {"every": steps, "domain": [], "general": [], "generated_tokens": 0, "controller": "none"},
        "mix": {"schedule": [], "domain": share, "replay": float(1 - Fraction(str(share)))},
    }
    keys = {f"{section}.{key}": value for section, own in sections.items() for key, value in own.items()}
    folder = pipeline.folder / "search" / f"steps-{steps}-seed-{pipeline.mix.seed}" / name
    keys |= {"output": str(folder), "model": pipeline.search.model or pipeline.model}
    return with_keys(pipeline, keys | {"phases": [], "mix.weights": _given(pipeline, weights)})


def _grid(proxies: Proxies) -> Found:
    space, shifts = proxies.space, proxies.pipeline.search.shifts
    natural = proxies.first([methods.within(one, space.limits) for one in methods.grid(space.natural, shifts)])
    best = min(proxies.runs, key=lambda run: run.domain)
    return Found("grid", best, best.domain < natural.domain, proxies.runs)


def _regmix(proxies: Proxies) -> Found:
    space, seed = proxies.space, proxies.pipeline.mix.seed
    drawn = methods.draw(space.natural, proxies.pipeline.search.runs - 2, space.limits, seed)
    natural = proxies.first(list(drawn))
    names, figures = [run.name for run in proxies.runs], np.array([run.domain for run in proxies.runs])
    weights = np.array([[run.weights[source] for source in space.sources] for run in proxies.runs])
    fitted = methods.fit(weights, figures)
    best = methods.search(fitted, space.natural, space.limits, seed + 1)
    run = proxies.one(best)
    evidence = {
        "penalty": fitted.penalty,
        "predicted": float(fitted.predict(best)),
        "rank_correlation": methods.rank_correlation(fitted.left_out, figures),
        "left_out": dict(zip(names, fitted.left_out.tolist(), strict=True)),
    }
    return Found("regmix", run, run.domain < natural.domain, proxies.runs, evidence)


def _doremi(proxies: Proxies) -> Found:
    from train import records
    from train.settings import EXPORT

    space = proxies.space
    natural = proxies.first()
    reference = proxies.settings(space.natural, NATURAL).folder / EXPORT
    robust = proxies.settings(np.ones(len(space.sources)), "doremi")
    proxies.train([robust], ("train.group_dro", str(reference)))
    lines = [line for line in records.read(robust.folder / "metrics.jsonl") if "source_weights" in line]
    path = np.array([[line["source_weights"][source] for source in space.sources] for line in lines])
    run = proxies.one(methods.within(path.mean(0), space.limits))
    evidence = {"mean_weights": _named(space, path.mean(0)), "last_weights": _named(space, path[-1])}
    return Found("doremi", run, run.domain < natural.domain, proxies.runs, evidence)


def _adopt(pipeline: Pipeline, found: Found) -> None:
    """Write the weights into pipeline.yaml and plan the mixture with them; nothing is packed again."""
    from eval.sweep_arms import with_keys
    from mix import build

    build.build(with_keys(pipeline, {"mix.weights": _given(pipeline, found.run.weights)}))


def _given(pipeline: Pipeline, weights: dict[str, float]) -> dict[str, float]:
    """mix.weights with those of the domain pool's sources set to these, and to 0 where a source has no text."""
    from mix.plan_file import read_plan

    before = pipeline.mix.weights if isinstance(pipeline.mix.weights, dict) else {}
    pools = read_plan(pipeline.folder / "mixture.json").pools
    names = [source.name for pool in pools if pool.name == POOL for source in pool.sources]
    mine = {*names, *(f"{POOL}/{name}" for name in names)}
    others = {name: weight for name, weight in before.items() if name not in mine}
    return {f"{POOL}/{name}": weights.get(name, 0.0) for name in names} | others


def _named(space: Space, weights: np.ndarray) -> dict[str, float]:
    """Source -> weight, rounded as it stands in the pipeline file."""
    shares = np.asarray(weights) / np.sum(weights)
    return {source: round(float(weight), 6) for source, weight in zip(space.sources, shares, strict=True)}


def _has_ended(found: "Settings") -> bool:
    """Whether it was trained to its end with the keys it has now; others are trained again from the start."""
    from curate.files import file_identity

    ended = found.folder / ENDED
    return ended.exists() and ended.read_text() == file_identity(found.folder / "config.json")


def _result(found: "Settings") -> Run:
    from eval.control import BITS
    from eval.select import DOMAIN, evaluations

    figures, weights = evaluations(found.folder)[-1].figures, found.pipeline.mix.weights
    assert isinstance(weights, dict)
    mine = {name.partition("/")[2]: weight for name, weight in weights.items() if name.startswith(f"{POOL}/")}
    return Run(found.pipeline.folder.name, mine, figures[DOMAIN], figures[BITS])


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", choices=METHODS, required=True, help="how the weights are found")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="processes of a proxy run (default 1)")


if __name__ == "__main__":
    cli.run(main)
