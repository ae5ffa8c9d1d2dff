"""What stands in the packed rows of a run: the documents behind rows, and the rows of a document (for mix.trace)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from mix.best import BEST
from mix.plan import Plan
from mix.shards import Shard, read_shard
from tokenization.encode import load, tokenizer_identity

PREVIEW = 160
"""Characters of a segment's text that are kept, from its beginning."""
PREVIEW_TOKENS = 4 * PREVIEW
"""Tokens that make so many characters even where each is a single byte."""


def trace_rows(folder: Path, plan: Plan, first: int, rows: int) -> pl.DataFrame:
    """The segments in the rows at the global positions [first, first + rows) of a run's plan, in their order.

    Columns: position, index, source_row, epoch and those that `segments` adds; raises as it does.
    """
    found = plan.rows(first, rows)
    positions = {"position": range(first, first + rows)}
    frame = pl.DataFrame({**positions, "index": found.source, "source_row": found.row, "epoch": found.epoch})
    return segments(folder, plan, frame).sort("position", "segment")


def segments(folder: Path, plan: Plan, rows: pl.DataFrame) -> pl.DataFrame:
    """The documents in the rows of a plan: `rows` has position, index (into plan.sources), source_row and more.

    Returns a line a segment, padding left out, that adds pool, source, segment, begin, first_token, tokens, id,
    document_tokens, origin and text (see mix.trace.trace_step). Raises ValueError where shards, documents or tokenizer
    are not those of the plan.
    """
    tokenizer = load(folder / "tokenizer")
    if tokenizer_identity(folder / "tokenizer") != plan.tokenizer:
        raise ValueError(
            f"{folder / 'tokenizer'}: is not the tokenizer that the rows were encoded with, so their text cannot be "
            "shown. Restore it, or run mix.build again."
        )
    names = ("source_row", "segment", "begin", "doc_row", "first_token", "tokens", "text")
    parts = []
    for group in rows.partition_by("index", maintain_order=True):
        index = group["index"][0]
        found = []
        for first, shard in _shards(folder, plan, index, group["source_row"].to_numpy()):
            here = pl.col("source_row").is_between(first, first + shard.rows, closed="left")
            for row in group.filter(here)["source_row"].unique(maintain_order=True):
                for segment in _row(shard, row - first):
                    ids = shard.tokens[row - first, segment[1] :][: min(segment[4], PREVIEW_TOKENS)]
                    text = tokenizer.decode(ids.tolist(), skip_special_tokens=True)
                    found.append((row, *segment, text[:PREVIEW]))
        frame = pl.DataFrame(found, schema=dict.fromkeys(names, pl.Int64) | {"text": pl.String}, orient="row")
        pool, source = plan.sources[index]
        named = frame.with_columns(pl.lit(pool.name).alias("pool"), pl.lit(source.name).alias("source"))
        documents = _documents(folder, plan, index, frame["doc_row"].unique())
        parts.append(group.join(named, on="source_row").join(documents, on="doc_row"))
    return pl.concat(parts)


def find(folder: Path, plan: Plan, identifier: str) -> list[tuple[int, int, int]]:
    """Where the packed documents with this id are: index of the source, row in documents.parquet, tokens.

    Raises ValueError where there is none, saying what became of the document if the run knows.
    """
    found = []
    for index in range(len(plan.sources)):
        listed = _scan([_packed(folder, plan, index) / "documents.parquet"]).filter(pl.col("id") == identifier)
        found += [(index, *line) for line in _collect(listed.select("doc_row", "tokens")).rows()]
    if not found:
        raise ValueError(f"--document: no packed document has the id {identifier!r}{_what_became(folder, identifier)}")
    return found


def pieces(folder: Path, plan: Plan, index: int, doc_row: int) -> list[tuple[int, int, int]]:
    """The segments of a document: row of the source, first token within the document, tokens; in document order."""
    found: list[tuple[int, int, int]] = []
    for first, shard in _shards(folder, plan, index):
        at = np.flatnonzero(shard.doc_rows == doc_row)
        row = first + np.searchsorted(shard.segment_offsets, at, side="right") - 1
        found += zip(row.tolist(), shard.doc_starts[at].tolist(), shard.doc_lengths[at].tolist(), strict=True)
    return sorted(found, key=lambda piece: piece[1])


def _shards(folder: Path, plan: Plan, index: int, wanted: np.ndarray | None = None) -> Iterator[tuple[int, Shard]]:
    """The shards of a source that hold some of the rows `wanted` (None: all), each with its first row."""
    first = 0
    for file in plan.sources[index][1].shards:
        if wanted is None or ((first <= wanted) & (wanted < first + file.rows)).any():
            path = folder / "packed" / file.file
            shard = read_shard(path, plan.tokenizer, plan.seq_len)
            if shard.rows != file.rows:
                raise ValueError(
                    f"{path}: has {shard.rows} rows, but mixture.json says {file.rows}, so it is not the shard that "
                    "was planned with. Run mix.build again."
                )
            yield first, shard
        first += file.rows


def _row(shard: Shard, row: int) -> Iterator[tuple[int, int, int, int, int]]:
    """The segments of a row, padding left out: number, begin within the row, doc_row, first token, tokens."""
    begin = 0
    for number, at in enumerate(range(shard.segment_offsets[row], shard.segment_offsets[row + 1])):
        tokens = int(shard.doc_lengths[at])
        if shard.doc_rows[at] >= 0:
            yield number, begin, int(shard.doc_rows[at]), int(shard.doc_starts[at]), tokens
        begin += tokens


def _documents(folder: Path, plan: Plan, index: int, doc_rows: pl.Series) -> pl.DataFrame:
    """doc_row, id, document_tokens and origin of some documents of a source."""
    pool, source = plan.sources[index]
    wanted = pl.LazyFrame({"doc_row": doc_rows})
    packed = _packed(folder, plan, index) / "documents.parquet"
    found = wanted.join(_scan([packed]), on="doc_row")
    named = found.select("doc_row", "id", pl.col("tokens").alias("document_tokens"))
    files = sorted((folder / "documents" / pool.name / source.name.removesuffix(BEST)).glob("*.parquet"))
    if not files:
        return _collect(named.with_columns(pl.lit(None, pl.String).alias("origin")))
    kept = _scan(files).select("id", "origin", pl.lit(True).alias("kept"))
    frame = _collect(named.join(kept, on="id", how="left"))
    if len(frame) != len(doc_rows) or not frame["kept"].fill_null(False).all():
        raise ValueError(
            f"{files[0].parent}: these are not the documents that {packed.parent} was packed from, so rows cannot be "
            "traced to them. Run mix.build again, or restore the documents."
        )
    return frame.drop("kept")


def _what_became(folder: Path, identifier: str) -> str:
    """The rest of a sentence about an id that is not packed: dropped, held out, or nothing known."""
    mine = pl.col("id") == identifier
    ledger, held_out = sorted(folder.glob("removed/*/*.parquet")), sorted(folder.glob("held_out/*/*/*.parquet"))
    if ledger:
        dropped = _collect(_scan(ledger).filter(mine).select("stage", "reason", "detail"))
        if len(dropped):
            stage, reason, detail = dropped.row(0)
            return f": {stage} dropped it as {reason} ({detail}), so no step has it."
    if held_out and len(_collect(_scan(held_out).filter(mine).select("id"))):
        return ": it is held out for evaluation, so no step has it."
    return ". Ids are <source>/<the record's own id>; --step N --json shows some."


def _packed(folder: Path, plan: Plan, index: int) -> Path:
    pool, source = plan.sources[index]
    return folder / "packed" / pool.name / source.name


def _scan(files: list[Path]) -> pl.LazyFrame:
    """The files one after the other, with doc_row: int64, the row over all of them."""
    return pl.scan_parquet(files, row_index_name="doc_row").with_columns(pl.col("doc_row").cast(pl.Int64))


def _collect(frame: pl.LazyFrame) -> pl.DataFrame:
    try:
        return frame.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"the run's documents cannot be read ({error}). Run mix.build again.") from None
