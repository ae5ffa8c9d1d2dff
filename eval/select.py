"""Which checkpoint to take: the most domain gain within the general thresholds, both tracks looked at.

    python -m eval.select [RUN] [--train.run NAME]       ranks, names the best, exports it
    python -m eval.select [RUN] --show                   only ranks

Every evaluation of a training run is ranked; those whose checkpoint is still there can be exported. First come those
within the thresholds (eval.thresholds), by domain gain; then the others, the least past them first. The Pareto front
are those that no other beats in domain gain and general rise both. The score weighs the two against each other:

    score = domain gain in % - eval.select_weight * general rise in %, where it rose

`--by score` ranks those within the thresholds by it. The best is written to train/<run>/best, a Hugging Face folder,
all of it to eval/selection-<run>.json.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eval.control import BITS, Evaluation, Limits, measure
from pipelines import cli
from pipelines.config import Pipeline

if TYPE_CHECKING:
    from rich.console import RenderableType

DOMAIN = "domain_bits_per_byte"
BEST = "best"
"""Folder of a training run with the model chosen."""


@dataclass(frozen=True)
class Candidate:
    """A model measured on both tracks, against the model it began as."""

    step: int
    domain_gain: float
    """Fall of domain bits per byte in percent of step 0; above 0 is better."""
    general_rise: float
    """Rise of general bits per byte in percent of step 0; above 0 is forgetting."""
    pressure: float
    """Largest general change as a share of its threshold (eval.control); above 1 is past it."""
    measure: str
    """Of that change."""
    score: float
    kept: bool
    """Whether its checkpoint is there."""
    pareto: bool = False

    @property
    def within(self) -> bool:
        """Whether it is within the thresholds."""
        return self.pressure <= 1


def main(argv: list[str] | None = None) -> None:
    """The command."""
    pipeline, options = cli.parse("eval.select", __doc__ or "", "eval", argv, _arguments)
    from rich.console import Console

    found = candidates(pipeline)
    ranked = rank(found, options.by)
    Console().print(table(ranked))
    best = choose(pipeline, ranked)
    _write(pipeline, ranked, best, options.by)
    print(told(ranked, best))
    if not options.show:
        print(f"exported to {export_best(pipeline, best)}")


def candidates(pipeline: Pipeline) -> list[Candidate]:
    """Every evaluation after step 0 of a training run. Raises ValueError where there is none on both tracks."""
    from eval.controller import limits
    from train.checksums import steps

    folder = pipeline.folder / "train" / pipeline.train.run
    history = evaluations(folder)
    if len(history) < 2:
        raise ValueError(
            f"{folder / 'metrics.jsonl'}: has no evaluation of step 0 and one after it on both tracks, so there is "
            f"nothing to compare. Train with eval.held_out above 0: torchrun -m train.launch {pipeline.folder}"
        )
    thresholds, weight = limits(pipeline.eval.thresholds), pipeline.eval.select_weight
    return judge(history, thresholds, weight, steps(folder / "checkpoints"))


def judge(history: Sequence[Evaluation], limits: Limits, weight: float, kept: Sequence[int]) -> list[Candidate]:
    """The evaluations after the first one, compared with it; `kept` are the steps of checkpoints."""
    base = history[0].figures
    found = []
    for evaluation, pressure in zip(history[1:], measure(history, limits)[1:], strict=True):
        assert pressure is not None
        gain = 100 * (1 - evaluation.figures[DOMAIN] / base[DOMAIN])
        rise = 100 * (evaluation.figures[BITS] / base[BITS] - 1)
        there = evaluation.step in kept
        found.append(
            Candidate(evaluation.step, gain, rise, pressure.share, pressure.measure, score(gain, rise, weight), there)
        )
    front = pareto([(one.domain_gain, one.general_rise) for one in found])
    return [Candidate(**{**asdict(one), "pareto": on}) for one, on in zip(found, front, strict=True)]


def score(gain: float, rise: float, weight: float) -> float:
    """Domain gain less what was forgotten, weighted; a general track that got better earns nothing."""
    return gain - weight * max(rise, 0.0)


def pareto(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which (gain, rise) no other beats in one without losing in the other."""
    return [not any((g >= gain and r <= rise) and (g > gain or r < rise) for g, r in points) for gain, rise in points]


def rank(found: Sequence[Candidate], by: str = "gain") -> list[Candidate]:
    """The best first: those within the thresholds by gain or score, then the others by how far they are past them."""

    def order(one: Candidate) -> tuple[bool, float, int]:
        worth = one.score if by == "score" else one.domain_gain
        return (not one.within, -worth if one.within else one.pressure, one.step)

    return sorted(found, key=order)


def choose(pipeline: Pipeline, ranked: Sequence[Candidate]) -> Candidate:
    """The first whose checkpoint is there. Raises ValueError where none is."""
    kept = [one for one in ranked if one.kept]
    if not kept:
        folder = pipeline.folder / "train" / pipeline.train.run / "checkpoints"
        raise ValueError(
            f"{folder}: no evaluated step has a checkpoint there, so none can be chosen. Let eval.every be a multiple "
            "of train.checkpoint_every, or the other way round, and keep more with train.keep_checkpoints."
        )
    return kept[0]


def told(ranked: Sequence[Candidate], best: Candidate) -> str:
    """What was chosen, in words."""
    text = f"best: step {best.step}, domain {-best.domain_gain:+.2f} %, general {best.general_rise:+.2f} %"
    if not best.within:
        text += f"; no checkpoint is within the thresholds, {best.measure} is at {best.pressure:.2f} of its own"
    if best != ranked[0]:
        text += f"; step {ranked[0].step} ranks first, but its checkpoint is not kept (train.keep_checkpoints)"
    return text


def table(ranked: Sequence[Candidate]) -> "RenderableType":
    """For rich to print, a row a candidate."""
    from rich.table import Table

    result = Table(title="checkpoints, the best first", title_justify="left", box=None, pad_edge=False)
    for heading in ("step", "domain %", "general %", "of threshold", "score", "Pareto", "checkpoint"):
        result.add_column(heading, justify="left" if heading in ("Pareto", "checkpoint") else "right")
    for one in ranked:
        change = (f"{-one.domain_gain:+.2f}", f"{one.general_rise:+.2f}", f"{one.pressure:.2f}", f"{one.score:.2f}")
        marks = ("front" if one.pareto else "", "kept" if one.kept else "")
        result.add_row(str(one.step), *change, *marks, style="" if one.within else "dim")
    return result


def evaluations(folder: Path) -> list[Evaluation]:
    """Those of a training run's metrics.jsonl that measured both tracks; the first is step 0's."""
    from train.records import read

    path = folder / "metrics.jsonl"
    if not path.exists():
        raise ValueError(f"{path}: is not there, so nothing was trained yet. Run torchrun -m train.launch first.")
    found = []
    for line in read(path):
        if all(line.get("eval", {}).get(name) is not None for name in (DOMAIN, BITS)):
            unsure = (name for name, one in line.get("changes", {}).items() if one["verdict"] != "worse")
            found.append(Evaluation(line["step"], line["eval"], frozenset(unsure)))
    return found if found and found[0].step == 0 else []


def export_best(pipeline: Pipeline, best: Candidate) -> Path:
    """Write the chosen checkpoint as a Hugging Face folder; returns it."""
    from train.export import export, trained

    settings = trained(pipeline)
    return export(settings, best.step, settings.folder / BEST)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--by", choices=["gain", "score"], default="gain", help="what ranks those within (default gain)"
    )
    parser.add_argument("--show", action="store_true", help="export nothing")


def _write(pipeline: Pipeline, ranked: Sequence[Candidate], best: Candidate, by: str) -> None:
    from curate.files import write_json

    thresholds = pipeline.eval.thresholds.model_dump()
    values = {"training_run": pipeline.train.run, "by": by, "weight": pipeline.eval.select_weight}
    values |= {"thresholds": thresholds, "best": best.step, "candidates": [asdict(one) for one in ranked]}
    write_json(pipeline.folder / "eval" / f"selection-{pipeline.train.run}.json", values)


if __name__ == "__main__":
    cli.run(main)
