"""What mix.build prints: what is asked for before, what it got after."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from rich.console import Console
from rich.table import Table

from mix.plan import Plan
from mix.schedule import Knot, Shares, expand, within
from mix.source import Documents, Packed
from mix.token_files import TokenFiles
from pipelines.config import Pipeline
from tokenization.encode import Encoder


def show_asked(
    pipeline: Pipeline,
    shares: Sequence[Mapping[str, Fraction]],
    sources: Sequence[Documents | TokenFiles],
    encoder: Encoder,
) -> None:
    """Print what will be built, before anything is written; `shares` are the pools' at each knot."""
    mix, train = pipeline.mix, pipeline.train
    rows = train.steps * train.global_batch
    steps = [knot.step for knot in mix.schedule] or [0]
    knots = [Knot(step, Shares(tuple(parts.values()), ())) for step, parts in zip(steps, shares, strict=True)]
    pieces = within(expand(knots, train.global_batch), rows)
    table = _table(f"{pipeline.folder}: the mixture asked for", "pool")
    for column in ("share", "rows asked", "sources", "documents"):
        table.add_column(column, justify="right")
    for index, pool in enumerate(shares[0]):
        mine = [source for source in sources if source.pool == pool]
        documents = sum(source.documents for source in mine)
        asked = sum(count * parts.pools[index] for count, parts in pieces)
        changing = " -> ".join(dict.fromkeys(f"{float(parts[pool]):.2%}" for parts in shares))
        table.add_row(pool, changing, f"{float(asked):,.0f}", str(len(mine)), f"{documents:,}")
    console = Console(soft_wrap=True)
    console.print(table)
    marks = [name if mark is not None else f"no {name}" for name, mark in (("BOS", encoder.bos), ("EOS", encoder.eos))]
    console.print(
        f"budget: {train.steps:,} steps x {train.global_batch} rows x {mix.seq_len} tokens; seed {mix.seed}; "
        f"tokenizer {encoder.folder} ({encoder.identity}, {encoder.vocabulary_size:,} ids, "
        f"{', '.join(marks)})\n",
        highlight=False,
    )


def show_got(
    pipeline: Pipeline,
    plan: Plan,
    got: dict[str, Any],
    phases: list[dict[str, Any]],
    packed: list[Packed],
    rescaled: list[str],
    advice: list[str],
) -> None:
    """Print what was packed, what the budget takes of it by pool, source and phase, what was rescaled, and advice."""
    table = _table(f"{pipeline.folder}: the mixture got", "pool / source")
    for column in ("docs", "cut", "tokens", "padding", "rows", "taken", "share", "epochs"):
        table.add_column(column, justify="right", no_wrap=True)
    budget = pipeline.train.steps * pipeline.train.global_batch
    for pool in plan.pools:
        mine = got[pool.name]
        counts = [(one.documents, one.cut, one.tokens, one.rows) for one in pool.sources]
        table.add_row(
            pool.name, *_cells([sum(column) for column in zip(*counts, strict=True)], mine, plan, budget), style="bold"
        )
        for source, line in zip(pool.sources, counts, strict=True):
            table.add_row(f"  {source.name}", *_cells(line, mine["sources"][source.name], plan, budget))
    console = Console(soft_wrap=True)
    console.print(table)
    if phases:
        console.print(_phases(pipeline, phases))
    for by in dict.fromkeys(one.encoded_by for one in packed):
        console.print(f"encoded by {by}", highlight=False)
    for sentence in rescaled:
        console.print(f"mix.max_epochs: {sentence}", highlight=False)
    again = sum(one.was_there for one in packed)
    console.print(
        f"packed {len(packed) - again} sources, {again} were packed before; every batch is within one row of the shares"
        f"; plan {plan.identity}: {pipeline.folder / 'mixture.json'}",
        highlight=False,
    )
    for sentence in advice:
        console.print(f"advice: {sentence}", highlight=False)


def _phases(pipeline: Pipeline, phases: list[dict[str, Any]]) -> Table:
    table = _table(f"{pipeline.folder}: phases", "phase")
    for column in ("steps", "rows", "replay asked", "got", "sources of the domain pool"):
        table.add_column(column, justify="left" if column.startswith("sources") else "right")
    for phase in phases:
        last = phase["first_step"] + phase["steps"] - 1
        rows, replay = phase["steps"] * pipeline.train.global_batch, phase["got"]["replay"]["rows"]
        domain = phase["got"]["domain"]["sources"]
        sources = ", ".join(f"{name} {one['weight']:.1%}" for name, one in domain.items() if one["weight"])
        asked = f"{phase['asked']['replay']:.2%}"
        table.add_row(
            phase["name"], f"{phase['first_step']:,} to {last:,}", f"{rows:,}", asked, f"{replay / rows:.2%}", sources
        )
    return table


def _table(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    return table


def _cells(counts: Sequence[int], got: dict[str, Any], plan: Plan, budget: int) -> list[str]:
    """One line of the table: `counts` are documents, documents cut, tokens, rows; none where a pool has no source."""
    documents, cut, tokens, rows = counts or (0, 0, 0, 0)
    padding = 1 - tokens / (rows * plan.seq_len) if rows else 0.0
    cells = [f"{documents:,}", f"{cut:,}", f"{tokens / 1e6:,.2f}M", f"{padding:.2%}", f"{rows:,}"]
    return [*cells, f"{got['rows']:,}", f"{got['rows'] / budget:.2%}", f"{got['epochs']:.2f}"]
