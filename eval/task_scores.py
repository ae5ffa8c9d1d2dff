"""Both tracks' tasks for eval.run: scored on a model in a folder, compared, held against the thresholds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
from rich.table import Table

from eval import benchmarks, hugging_face
from eval.answers import Answers
from eval.contamination import check
from eval.thresholds import breaches
from eval.tracks import changes, points
from pipelines.config import Pipeline
from tokenization.encode import load


def table(scores: dict[str, Any]) -> Any:
    """Percent points of each task, for rich to print in 80 columns."""
    result = Table(box=None, pad_edge=False, collapse_padding=True, title="tasks, % right", title_justify="left")
    for heading in ("task", "items", "base", "trained", "change", "95 % interval", "verdict"):
        result.add_column(heading, justify="left" if heading in ("task", "verdict") else "right", no_wrap=True)
    for name, task in scores["tasks"].items():
        base = "" if task["base"] is None else f"{task['base']:.1f}"
        interval = "" if task["low"] is None else f"{task['low']:+.1f} to {task['high']:+.1f}"
        change = "" if task["change"] is None else f"{task['change']:+.1f}"
        cells = (base, f"{task['trained']:.1f}", change, interval, task["verdict"] or "")
        result.add_row(name, f"{task['items']:,}", *cells)
    return result


def check_contamination(pipeline: Pipeline) -> dict[str, dict[str, int]]:
    """What curation was asked to remove, task by task; prints it. Raises ValueError where it was not asked."""
    names = [*pipeline.eval.domain, *pipeline.eval.general]
    if not names:
        return {}
    found = check(pipeline, names, benchmarks.files(pipeline, str(pipeline.folder / "pipeline.yaml")))
    for name, overlap in found.items():
        asked = overlap["items"] - overlap["not_asked"]
        print(
            f"{name}: curation was asked to remove {asked:,} of {overlap['items']:,} items and removed "
            f"{overlap['removed']:,} documents for them; of the others the documents hold {overlap['held']:,}"
        )
    return found


def score(pipeline: Pipeline, model: Any, folder: Path) -> pl.DataFrame:
    """Items of both tracks' tasks: `track` and what eval.benchmarks.ITEMS names."""
    keys, where = pipeline.eval, str(pipeline.folder / "pipeline.yaml")
    found = pl.DataFrame(schema={"track": pl.String} | benchmarks.ITEMS)
    for track, names in (("domain", keys.domain), ("general", keys.general)):
        if names:
            from eval.live_model import LiveModel

            suite = benchmarks.load(names, benchmarks.files(pipeline, where), keys.items, keys.run_code, where)
            length = min(model.config.max_position_embeddings, keys.context)
            answers = Answers(hugging_face.answers(model), load(folder).decode, length, str(model.device))
            scored = benchmarks.score(LiveModel(answers, folder), suite)
            found = found.vstack(scored.insert_column(0, pl.lit(track).alias("track")))
    return found


def compare(items: dict[str, pl.DataFrame]) -> dict[str, dict[str, Any]]:
    """Each task's percent points before and after, and the change with its interval."""
    trained = points(items["trained"])
    counts = {f"{track}/{task}": count for track, task, count in _counts(items["trained"])}
    base = points(items["base"]) if "base" in items else {}
    changed = changes(items["base"], items["trained"]) if "base" in items else {}
    nothing = {"change": None, "low": None, "high": None, "verdict": None}
    return {
        name: {"items": counts[name], "base": base.get(name), "trained": value, **changed.get(name, nothing)}
        for name, value in trained.items()
    }


def _counts(items: pl.DataFrame) -> Iterator[tuple[Any, ...]]:
    return items.group_by("track", "task", maintain_order=True).agg(pl.len()).iter_rows()


def beyond(pipeline: Pipeline, scores: dict[str, Any]) -> list[dict[str, Any]]:
    """What is beyond eval.thresholds; nothing where there is no base."""
    name = "general_bits_per_byte"
    if scores["base"] is None:
        return []
    base = {name: scores["base"][name]} | {task: one["base"] for task, one in scores["tasks"].items()}
    now = {name: scores["trained"][name]} | {task: one["trained"] for task, one in scores["tasks"].items()}
    return breaches(pipeline.eval.thresholds, base, now, scores["tasks"])
