"""What mix.trace prints: tables for people, JSON for machines. Text of the corpus is never taken as markup."""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import polars as pl

    from mix.spikes import Spike
    from mix.trace import Run


def step(run: "Run", number: int, segments: "pl.DataFrame", as_json: bool) -> None:
    """Print the segments of a step."""
    if as_json:
        _print_json(run, {"step": number, "segments": segments.to_dicts()})
        return
    _console(run).print(_segments(number, segments))


def document(run: "Run", identifier: str, until: int, seen: "pl.DataFrame", as_json: bool) -> None:
    """Print where a document is seen."""
    if as_json:
        _print_json(run, {"document": identifier, "until": until, "seen": seen.to_dicts()})
        return
    console = _console(run)
    if seen.is_empty():
        console.print(f"{plain(identifier)}: not seen in the first {until:,} steps")
        return
    title = f"{plain(identifier)}: {seen['document_tokens'][0]:,} tokens, steps 1 to {until:,}"
    table = _table(title, "step", "rank", "row", "epoch")
    table.add_column("tokens", justify="right")
    table.add_column("pool / source")
    for line in seen.iter_rows(named=True):
        cells = (f"{line[name]:,}" for name in ("step", "rank", "row", "epoch"))
        table.add_row(*cells, _span(line), f"{line['pool']} / {plain(line['source'])}")
    console.print(table)


def spikes(run: "Run", found: "list[Spike]", steps: "list[tuple[int, pl.DataFrame]]", as_json: bool) -> None:
    """Print spikes, then the segments of the steps around them."""
    if as_json:
        around = [{"step": number, "segments": segments.to_dicts()} for number, segments in steps]
        _print_json(run, {"spikes": [asdict(spike) for spike in found], "steps": around})
        return
    console = _console(run)
    if not found:
        console.print("no spikes of loss or grad_norm")
        return
    table = _table("spikes", "step")
    table.add_column("figure")
    for name in ("value", "median before", "robust deviations"):
        table.add_column(name, justify="right")
    for spike in found:
        table.add_row(
            f"{spike.step:,}", spike.figure, f"{spike.value:.4g}", f"{spike.median:.4g}", f"{spike.score:.1f}"
        )
    console.print(table)
    for number, segments in steps:
        console.print()
        console.print(_segments(number, segments))


def plain(text: str) -> str:
    """`text` on one line, without control characters, which could move the terminal's cursor or colour it."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def _segments(number: int, segments: "pl.DataFrame") -> Table:
    scored = "bits_per_byte" in segments.columns
    table = _table(f"step {number:,}", "row", "epoch")
    if scored:
        table.add_column("bits/byte", justify="right")
    table.add_column("tokens", justify="right")
    table.add_column("pool / source", overflow="fold")
    table.add_column("document, origin", overflow="fold", ratio=2)
    table.add_column("text", overflow="fold", ratio=3)
    for line in segments.iter_rows(named=True):
        cells = [f"{line['row']:,}", f"{line['epoch']:,}"]
        if scored:
            cells.append("-" if line["bits_per_byte"] is None else f"{line['bits_per_byte']:.2f}")
        origin = "-" if line["origin"] is None else plain(line["origin"])
        cells += [_span(line), f"{line['pool']} / {plain(line['source'])}", f"{plain(line['id'])}\n{origin}"]
        table.add_row(*cells, plain(line["text"]))
    return table


def _span(line: dict[str, Any]) -> str:
    """Tokens of the document, the last one included: 512-1023 of 1400."""
    return f"{line['first_token']}-{line['first_token'] + line['tokens'] - 1} of {line['document_tokens']}"


def _table(title: str, *numbers: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _console(run: "Run") -> Console:
    """A console that takes every character as it is, after a line that says whose steps these are."""
    width = None if sys.stdout.isatty() else 140
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    whose = run.training or run.folder
    console.print(f"{whose}: plan {run.plan.identity}, {run.global_batch} rows a step, {run.steps:,} steps")
    return console


def _print_json(run: "Run", values: dict[str, Any]) -> None:
    about = {"plan": run.plan.identity, "global_batch": run.global_batch, "steps": run.steps}
    training = None if run.training is None else run.training.name
    print(json.dumps({"run": str(run.folder), "training": training, **about, **values}, indent=1, allow_nan=False))
