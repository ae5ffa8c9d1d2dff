"""What the benchmark scripts share: interleaved rounds, medians, a table and a JSON file."""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path("build/benchmarks")
"""Where the figures are written, one JSON file a script."""


def interleaved(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of each contender: its first call, and the median of `rounds` more, all taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: {"first_s": taken[0], "median_s": statistics.median(taken[1:])} for name, taken in seconds.items()}


def report(name: str, title: str, rows: dict[str, dict[str, Any]]) -> None:
    """Print one line a contender and write the same as build/benchmarks/<name>.json."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None)
    table.add_column("")
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    for column in columns:
        table.add_column(column, justify="right")
    for contender, row in rows.items():
        table.add_row(contender, *(_cell(row.get(column)) for column in columns))
    Console(width=140).print(table)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"title": title, "rows": rows}, indent=1) + "\n")


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
