"""What a search for weights came to: a table and the evidence on disk."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipelines.config import Pipeline

if TYPE_CHECKING:
    from mix.search import Found, Run, Space


def show(space: "Space", found: "Found") -> None:
    """Print natural weights, uniform ones and those found, source by source, and what each came to."""
    from rich.console import Console
    from rich.table import Table

    compared = columns(found)
    table = Table(title=f"weights of domain sources, {found.method}", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for heading in compared:
        table.add_column(heading, justify="right")
    for source in space.sources:
        table.add_row(source, *(f"{run.weights[source]:.3f}" for run in compared.values()))
    table.add_row("domain bits per byte", *(f"{run.domain:.4f}" for run in compared.values()))
    table.add_row("general bits per byte", *(f"{run.general:.4f}" for run in compared.values()))
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(told(found), highlight=False)


def columns(found: "Found") -> "dict[str, Run]":
    """Heading -> run."""
    from mix.search import NATURAL, UNIFORM

    named = {run.name: run for run in found.runs}
    return {NATURAL: named[NATURAL], UNIFORM: named[UNIFORM], "found": found.run}


def told(found: "Found") -> str:
    """What was found, in a sentence or two."""
    natural, uniform, best = columns(found).values()
    text = f"{len(found.runs)} runs; domain bits per byte of the weights found: {best.domain:.4f}, "
    text += f"{100 * (best.domain / natural.domain - 1):+.2f} % against natural weights, "
    text += f"{100 * (best.domain / uniform.domain - 1):+.2f} % against uniform ones"
    if "rank_correlation" in found.evidence:
        text += f"; rank correlation of runs left out {found.evidence['rank_correlation']:.2f}"
    return text + ("." if found.better else ". That is no better than natural weights: nothing was changed.")


def write(pipeline: Pipeline, space: "Space", found: "Found") -> None:
    """search/<method>.json: the keys, every run's weights and figures, how the method got there, what was found."""
    from curate.files import write_json

    keys = {"steps": pipeline.search.steps, "global_batch": pipeline.train.global_batch}
    keys |= {"seq_len": pipeline.mix.seq_len, "seed": pipeline.mix.seed}
    limits = dict(zip(space.sources, space.limits.tolist(), strict=True))
    values: dict[str, Any] = {"method": found.method, "keys": keys, "limits": limits}
    values |= {"runs": [asdict(run) for run in found.runs], "evidence": found.evidence}
    values |= {"found": asdict(found.run), "written": found.better}
    write_json(pipeline.folder / "search" / f"{found.method}.json", values)
