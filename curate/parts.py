"""Parts on disk: texts are written once, stages add verdicts beside them.

    runs/<name>/work/<identity>-read/parts/<key>.parquet      row, id, text, origin, bytes
    runs/<name>/work/<identity>-<stage>/verdicts/<key>.parquet    the rows removed, ready for the ledger
                                        scores/<key>.parquet      row and a column a score
                                        text/<key>.parquet        row and text of the rows rewritten
                                        edits/<key>.parquet       spans edited inside rows kept, see curate/edits.py
                                        measured/<key>.parquet    row, id and what a global stage measured

`<key>` is "<pool>-<source>-<number>". The rows left after some stages are the part's rows without those stages'
verdicts, with the texts rewritten and the spans edited, stage by stage. The stages at the head that edit run before the
texts are written; their spans are kept as edited/<key>.parquet, for the ledger only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from curate import edits
from curate.files import aside

EXCERPT = 200
"""Characters of a removed document that the ledger shows."""
LEDGER = {
    "row": pl.UInt32,
    "id": pl.String,
    "origin": pl.String,
    "reason": pl.String,
    "detail": pl.String,
    "excerpt": pl.String,
    "bytes": pl.Int64,
}
EDITED = {
    "row": pl.UInt32,
    "id": pl.String,
    "origin": pl.String,
    "reason": pl.String,
    "detail": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
    "before": pl.String,
    "after": pl.String,
}


@dataclass
class Verdicts:
    """One verdict a row of a part."""

    reason: pl.Series
    """String: snake_case name of the defect; null keeps the document."""
    detail: pl.Series
    """String: a JSON object with the evidence; null where kept."""
    scores: dict[str, pl.Series] = field(default_factory=dict)
    """Float32 per row, kept with the document under this name."""
    text: pl.Series | None = None
    """The text written anew, null where unchanged; not recorded. None where the stage rewrites nothing."""
    edits: pl.DataFrame | None = None
    """Spans edited in documents kept, each recorded (see curate.edits.EDITS); None where the stage edits nothing."""


@dataclass(frozen=True)
class Part:
    """Some thousand documents of one source."""

    pool: str
    source: str
    number: int
    folder: Path
    """Where `read` wrote the texts."""
    after: tuple[Path, ...] = ()
    """Folders of the stages whose verdicts apply, in order."""

    @property
    def key(self) -> str:
        """Name of this part's files."""
        return f"{self.pool}-{self.source}-{self.number:05d}"

    @property
    def path(self) -> Path:
        """The file with the texts."""
        return self.folder / "parts" / f"{self.key}.parquet"

    def behind(self, folders: Sequence[Path]) -> "Part":
        """The same part as a stage sees it that comes after the stages with these folders."""
        return replace(self, after=tuple(folders))

    def documents(self, columns: list[str] | None = None) -> pl.DataFrame:
        """The rows left: row, id, text, pool, source, origin, bytes, or only `columns`."""
        wanted = columns or ["row", "id", "text", "pool", "source", "origin", "bytes"]
        stored = dict.fromkeys(name for name in ("row", *wanted) if name not in ("pool", "source"))
        frame = self.left(pl.read_parquet(self.path, columns=list(stored)))
        if "text" in frame.columns:
            frame = self._edited(frame)
        return frame.with_columns(pool=pl.lit(self.pool), source=pl.lit(self.source)).select(wanted)

    def left(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Drop the rows of `frame` (it has a column row) that the stages before removed."""
        for folder in self.after:
            path = folder / "verdicts" / f"{self.key}.parquet"
            if path.exists():
                frame = frame.join(pl.read_parquet(path, columns=["row"]), on="row", how="anti", maintain_order="left")
        return frame

    def scores(self) -> pl.DataFrame | None:
        """row and a column for each score the stages gave, or None where they gave none."""
        paths = [folder / "scores" / f"{self.key}.parquet" for folder in self.after]
        frames = [pl.read_parquet(path) for path in paths if path.exists()]
        if not frames:
            return None
        joined = frames[0]
        for frame in frames[1:]:  # of two scores of a name the later one counts
            joined = joined.drop(set(frame.columns) & set(joined.columns) - {"row"})
            joined = joined.join(frame, on="row", how="full", coalesce=True)
        return joined

    def _edited(self, frame: pl.DataFrame) -> pl.DataFrame:
        for folder in self.after:
            path = folder / "text" / f"{self.key}.parquet"
            if path.exists():
                frame = frame.update(pl.read_parquet(path), on="row", how="left", maintain_order="left")
            path = folder / "edits" / f"{self.key}.parquet"
            if path.exists():
                at = frame.select("row").with_row_index("at")
                spans = at.join(pl.read_parquet(path), on="row", how="inner", maintain_order="left_right")
                frame = _apply(frame, spans)
        return frame


@dataclass
class Batch:
    """What travels from step to step: a part and its rows left, in memory."""

    part: Part
    documents: pl.DataFrame
    """row, id, text, pool, source, origin, bytes."""


def record(folder: Path, batch: Batch, verdicts: Verdicts, while_reading: bool = False) -> Batch:
    """Write a stage's verdicts on a batch into the stage's `folder`; returns the batch with the rows left.

    While reading, edited texts are not written: the part itself is about to be.
    """
    documents = batch.documents
    assert documents.height == len(verdicts.reason) == len(verdicts.detail)
    judged = documents.with_columns(verdicts.reason.alias("reason"), verdicts.detail.alias("detail"))
    removed = judged.filter(pl.col("reason").is_not_null())
    save_ledger(folder, batch.part, removed)
    key = batch.part.key
    if verdicts.scores:
        write_frame(folder / "scores" / f"{key}.parquet", documents.select("row").with_columns(**verdicts.scores))
    if verdicts.text is not None:
        if not while_reading:
            edited = documents.select("row").with_columns(text=verdicts.text).filter(pl.col("text").is_not_null())
            write_frame(folder / "text" / f"{key}.parquet", edited)
        documents = documents.with_columns(text=pl.coalesce(verdicts.text, pl.col("text")))
    if verdicts.edits is not None:
        save_edits(folder / ("edited" if while_reading else "edits") / f"{key}.parquet", documents, verdicts.edits)
        documents = _apply(documents, verdicts.edits)
    left = documents.filter(verdicts.reason.is_null())
    assert left.height + removed.height == batch.documents.height
    return Batch(batch.part.behind((*batch.part.after, folder)), left)


def record_decided(folder: Path, part: Part, measured: pl.DataFrame, verdicts: Verdicts) -> None:
    """Write what a global stage decided on one part, from the frame it measured (see `save_measured`)."""
    assert measured.height == len(verdicts.reason) == len(verdicts.detail)
    judged = measured.with_columns(verdicts.reason.alias("reason"), verdicts.detail.alias("detail"))
    save_ledger(folder, part, judged.filter(pl.col("reason").is_not_null()))
    if verdicts.scores:
        write_frame(folder / "scores" / f"{part.key}.parquet", measured.select("row").with_columns(**verdicts.scores))
    if verdicts.edits is not None:
        known = measured.select("row", "id", "origin")
        if verdicts.edits.height and "before" not in verdicts.edits.columns:
            known = known.join(part.documents(["row", "text"]), on="row", how="left", maintain_order="left")
        save_edits(folder / "edits" / f"{part.key}.parquet", known, verdicts.edits)


def save_ledger(folder: Path, part: Part, removed: pl.DataFrame) -> None:
    """Write the rows that a stage removed from a part; nothing is written where there is none."""
    path = folder / "verdicts" / f"{part.key}.parquet"
    if removed.height:
        if "excerpt" not in removed.columns:
            removed = removed.with_columns(excerpt=pl.col("text").str.head(EXCERPT))
        write_frame(path, removed.select(list(LEDGER)).cast(LEDGER))  # type: ignore[arg-type]
    else:
        path.unlink(missing_ok=True)


def save_edits(path: Path, documents: pl.DataFrame, spans: pl.DataFrame) -> None:
    """Write the spans that a stage edited in `documents` (row, id, origin, and text where `spans` has no `before`)."""
    if not spans.height:
        path.unlink(missing_ok=True)
        return
    if "before" not in spans.columns:
        spans = spans.with_columns(edits.spans_of(documents["text"], spans))
    known = documents.select("row", "id", "origin")[spans["at"]]
    write_frame(path, known.hstack(spans.drop("at")).select(list(EDITED)).cast(EDITED))  # type: ignore[arg-type]


def save_measured(folder: Path, batch: Batch, measured: pl.DataFrame) -> None:
    """Write what a global stage measured of one part, beside what the ledger will need."""
    assert measured.height == batch.documents.height
    known = batch.documents.select(
        "row", "id", "pool", "source", "origin", "bytes", pl.col("text").str.head(EXCERPT).alias("excerpt")
    )
    write_frame(folder / "measured" / f"{batch.part.key}.parquet", known.hstack(measured))


def _apply(frame: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    if not spans.height:
        return frame
    return frame.with_columns(text=pl.coalesce(edits.apply(frame["text"], spans), pl.col("text")))


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a Parquet file, whole or not at all."""
    with aside(path) as temporary:
        frame.write_parquet(temporary, compression="zstd", compression_level=1)
