"""Runs one stage by hand, as the runner does, over parts that are frames in memory."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from curate.stage import Stage, Verdicts, Workspace


@dataclass
class FramePart:
    """A part in memory."""

    frame: pl.DataFrame
    pool: str = "domain"
    source: str = "notes"

    def documents(self, columns: list[str] | None = None) -> pl.DataFrame:
        return self.frame.select(columns or self.frame.columns)


def parts_of(texts: list[str], rows: int = 1000) -> list[FramePart]:
    """The texts as parts of `rows` documents with the ids notes/0, notes/1, ..."""
    ids = [f"notes/{number}" for number in range(len(texts))]
    frame = pl.DataFrame({"id": ids, "text": texts}, schema={"id": pl.String, "text": pl.String})
    return [FramePart(part) for part in frame.iter_slices(rows)] or [FramePart(frame)]


def verdicts(stage: Stage, parts: list[FramePart], folder: Path, benchmarks: list[str] | None = None) -> pl.DataFrame:
    """Reason and detail of every document, in order."""
    stage._workspace = Workspace(folder, parts, benchmarks or [], False, "p.yaml")  # type: ignore[arg-type]
    stage.prepare()
    if stage.is_global:
        measured = [part.frame.select("id").hstack(stage.measure(part.frame)) for part in parts]
        given = list(stage.decide(measured))
    else:
        given = [stage.judge(part.frame) for part in parts]
    for part, one in zip(parts, given, strict=True):
        assert len(one.reason) == len(one.detail) == part.frame.height
    return pl.concat([_frame(one) for one in given])


def _frame(one: Verdicts) -> pl.DataFrame:
    return pl.DataFrame({"reason": one.reason, "detail": one.detail}, schema={"reason": pl.String, "detail": pl.String})
