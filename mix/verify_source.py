"""What mix.verify checks of one source: its documents, its shards, every row, every document's segments."""

from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import polars as pl

from curate.files import file_identity
from mix.pack import METHODS, by_document
from mix.plan import Plan, ShardFile, Source
from mix.shards import DOCUMENTS, Shard, padding_id, read_shard
from mix.source import Documents
from mix.token_files import TokenFiles
from tokenization.encode import Encoder

AGAIN = "Run mix.build again."
UNTRUSTED = "so the rows of this shard cannot be trusted. Delete it and run mix.build again."
FAULTS = (
    "has no segments",
    "has a segment of {value} tokens",
    "has segments of {value} tokens in all, not seq_len",
    "has a segment of document {value}, which documents.parquet does not have",
    "has a segment that starts at token {value} of its document",
    "has padding that is not its last segment",
    "has the token id {value} in its padding, where another id is",
    "has the token id {value}, which is not below the vocabulary size",
)
"""What can be wrong with a row, by the number that _check_rows gives it."""


@dataclass(frozen=True)
class Segments:
    """The segments of a source but for padding, in the order of its rows; int64 [segments] each."""

    shard: np.ndarray
    row: np.ndarray
    """Row of its shard."""
    column: np.ndarray
    """Where in the row it begins."""
    document: np.ndarray
    start: np.ndarray
    length: np.ndarray


@dataclass(frozen=True)
class Checked:
    """What a source turned out to have."""

    documents: int
    cut: int
    tokens: int
    rows: int
    shards: int
    bytes: int
    encoded: int
    """Documents encoded again."""


def check_source(
    run: Path,
    plan: Plan,
    pool: str,
    source: Source,
    kept: Documents | TokenFiles,
    encoder: Encoder,
    tokens: bool,
    sample: int | None,
) -> Checked:
    """Everything about one source."""
    folder = run / "packed" / pool / source.name
    documents = _check_documents(folder, kept)
    paths = [run / "packed" / file.file for file in source.shards]
    shards = [_open(path, file, plan, pool, source.name) for path, file in zip(paths, source.shards, strict=True)]
    padding = padding_id(encoder.bos, encoder.eos)
    segments = _read_segments(paths, shards, plan, documents.height, padding)
    lengths = documents["tokens"].to_numpy()
    order, offsets, wrong = by_document(segments.document, segments.start, segments.length, lengths)
    if wrong >= 0:
        raise ValueError(_not_once(paths, segments, documents, order[offsets[wrong] : offsets[wrong + 1]], wrong))
    for path, file in zip(paths, source.shards, strict=True):
        if (found := file_identity(path)) != file.identity:
            raise ValueError(f"{path}: has the hash {found}, but mixture.json says {file.identity}, {UNTRUSTED}")
    cut = int((np.diff(offsets) > 1).sum())
    rows = sum(shard.rows for shard in shards)
    told = zip(("rows", "tokens", "documents", "cut"), (rows, int(lengths.sum()), documents.height, cut), strict=True)
    for key, count in told:
        if count != getattr(source, key):
            raise ValueError(
                f"{folder}: {key}: there are {count:,}, but mixture.json says {getattr(source, key):,}, so the plan is "
                f"not of these shards. {AGAIN}"
            )
    encoded = (
        _encode_again(kept, documents, shards, segments, order, offsets, encoder, sample) if tokens or sample else 0
    )
    size = sum(path.stat().st_size for path in paths)
    return Checked(documents.height, cut, int(lengths.sum()), rows, len(shards), size, encoded)


def _check_documents(folder: Path, source: Documents | TokenFiles) -> pl.DataFrame:
    """documents.parquet, which has the ids of the source's documents one after the other, each once."""
    path = folder / DOCUMENTS
    try:
        table = pl.read_parquet(path, columns=["id", "tokens"])
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{path}: cannot be read ({error}), so rows lead to no document. {AGAIN}") from None
    kept = pl.concat([pl.Series("id", [], pl.String), *source.ids()])
    if table.height != len(kept):
        raise ValueError(
            f"{path}: has {table.height:,} documents, but curation kept {len(kept):,} in {len(source.files)} files of "
            f"documents/{folder.parent.name}/{folder.name}, so some are missing or too many. {AGAIN}"
        )
    if (row := (table["id"].ne_missing(kept)).arg_max()) is not None and table["id"][row] != kept[row]:
        raise ValueError(
            f"{path}: row {row}: is document {table['id'][row]!r}, but documents/{folder.parent.name}/{folder.name} "
            f"has {kept[row]!r} there, so rows lead to the wrong text. {AGAIN}"
        )
    if (twice := kept.is_duplicated().arg_max()) is not None and kept.is_duplicated()[twice]:
        raise ValueError(
            f"{path}: row {twice}: document {kept[twice]!r} is there more than once, so it would be trained on more "
            "often than others. Run curate.run and mix.build again."
        )
    return table


def _open(path: Path, file: ShardFile, plan: Plan, pool: str, source: str) -> Shard:
    """A shard that says it is what the plan says."""
    shard = read_shard(path, plan.tokenizer, plan.seq_len)
    header = shard.header
    for key, found, wanted in (
        ("vocabulary_size", header.vocabulary_size, plan.vocabulary_size),
        ("pool", header.pool, pool),
        ("source", header.source, source),
        ("packing", header.packing, header.packing if header.packing in METHODS else " or ".join(METHODS)),
        ("rows", shard.rows, file.rows),
    ):
        if found != wanted:
            raise ValueError(f"{path}: {key}: the shard says {found}, but mixture.json says {wanted}, {UNTRUSTED}")
    return shard


def _read_segments(paths: list[Path], shards: list[Shard], plan: Plan, documents: int, padding: int) -> Segments:
    """All segments of a source; every row is checked on the way."""
    parts = []
    for number, (path, shard) in enumerate(zip(paths, shards, strict=True)):
        row, column = np.empty(len(shard.doc_lengths), np.int64), np.empty(len(shard.doc_lengths), np.int64)
        columns = (shard.tokens, shard.segment_offsets, shard.doc_lengths, shard.doc_rows, shard.doc_starts)
        fault, at, value = _check_rows(*columns, documents, plan.vocabulary_size, padding, row, column)
        if fault >= 0:
            raise ValueError(f"{path}: row {at}: {FAULTS[fault].format(value=value)}, {UNTRUSTED}")
        own = shard.doc_rows >= 0
        arrays = (row, column, shard.doc_rows, shard.doc_starts, shard.doc_lengths.astype(np.int64))
        parts.append([np.full(int(own.sum()), number), *(array[own] for array in arrays)])
    if not parts:
        return Segments(*(np.empty(0, np.int64) for _ in range(6)))
    return Segments(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _not_once(paths: list[Path], segments: Segments, documents: pl.DataFrame, own: np.ndarray, wrong: int) -> str:
    """What to say of a document whose segments do not cover its tokens exactly once."""
    spans = [
        f"[{segments.start[one]}, {segments.start[one] + segments.length[one]}) in row {segments.row[one]} of "
        f"{paths[segments.shard[one]].name}"
        for one in own[:4]
    ]
    return (
        f"{paths[0].parent if paths else DOCUMENTS}: document {documents['id'][wrong]!r} (row {wrong} of {DOCUMENTS}) "
        f"has {documents['tokens'][wrong]} tokens, but the shards hold {', '.join(spans) or 'none of it'}"
        f"{', ...' if len(own) > 4 else ''}, so it is not there exactly once. Delete the folder and "
        "run mix.build again."
    )


def _encode_again(
    kept: Documents | TokenFiles,
    documents: pl.DataFrame,
    shards: list[Shard],
    segments: Segments,
    order: np.ndarray,
    offsets: np.ndarray,
    encoder: Encoder,
    sample: int | None,
) -> int:
    """Compare the ids in the rows with the text encoded again; returns how many documents were."""
    tokens = numba.typed.List([shard.tokens for shard in shards]) if shards else None
    rows = np.arange(documents.height)
    if sample and documents.height:
        rows = np.unique(np.linspace(0, documents.height - 1, sample).astype(np.int64))
    first = 0
    for lot in kept.encoded(encoder, rows):
        mine, encoded = rows[first : first + len(lot.rows)], lot.encoded
        first += len(mine)
        differs = np.flatnonzero(encoded.lengths != documents["tokens"].gather(mine).to_numpy())
        places = (segments.shard, segments.row, segments.column, segments.length, order, offsets)
        wrong = int(differs[0]) if len(differs) else _differing(tokens, *places, mine, encoded.ids) if tokens else -1
        if wrong >= 0:
            raise ValueError(
                f"{lot.file}: row {lot.rows[wrong]}: document {lot.ids[wrong]!r} encoded again gives other ids than "
                f"its rows hold, so it was changed after it was packed, or its rows were. {AGAIN}"
            )
    return len(rows)


@numba.njit(nogil=True, cache=True)
def _check_rows(tokens, offsets, lengths, documents, starts, known, vocabulary, padding, rows, columns):  # type: ignore[no-untyped-def]
    """Write the row and the first column of every segment; returns (-1, 0, 0), or a fault, its row and what it is."""
    for row in range(tokens.shape[0]):
        begin, end = offsets[row], offsets[row + 1]
        if not 0 <= begin < end <= lengths.size or (row == 0 and begin):
            return 0, row, 0
        at = 0
        for segment in range(begin, end):
            length = lengths[segment]
            if length <= 0:
                return 1, row, np.int64(length)
            if at + length > tokens.shape[1]:
                return 2, row, np.int64(at + length)
            if not -1 <= documents[segment] < known:
                return 3, row, documents[segment]
            if starts[segment] < 0:
                return 4, row, starts[segment]
            if documents[segment] < 0:
                if segment < end - 1:
                    return 5, row, np.int64(0)
                for token in tokens[row, at : at + length]:
                    if token != padding:
                        return 6, row, np.int64(token)
            rows[segment] = row
            columns[segment] = at
            at += length
        if at != tokens.shape[1]:
            return 2, row, np.int64(at)
        largest = tokens[row, 0]
        for token in tokens[row]:
            largest = max(largest, token)
        if largest >= vocabulary:
            return 7, row, np.int64(largest)
    return -1, 0, 0


@numba.njit(nogil=True, cache=True)
def _differing(tokens, shard, row, column, length, order, offsets, documents, ids):  # type: ignore[no-untyped-def]
    """Which of `documents` is the first whose segments do not hold its `ids`, -1 where all do.

    `ids` are those of `documents` one after the other, as many as their segments have.
    """
    at = 0
    for index in range(documents.size):
        for segment in order[offsets[documents[index]] : offsets[documents[index] + 1]]:
            own = tokens[shard[segment]][row[segment]]
            for token in range(length[segment]):
                if own[column[segment] + token] != ids[at + token]:
                    return index
            at += length[segment]
    return -1
