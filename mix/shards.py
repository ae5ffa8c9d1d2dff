"""Packed shards: Arrow IPC files of rows, written once and memory-mapped by the loader.

A file holds one record batch, so each column is one contiguous buffer:

    tokens       fixed_size_list<uint16 | uint32>[seq_len]
    doc_lengths  list<int32>   tokens of each segment of the row; they add to seq_len, padding included
    doc_rows     list<int64>   the segment's row in documents.parquet, -1 for padding
    doc_starts   list<int64>   the segment's first token within its document; above 0 it continues the document

The schema's metadata says what the rows were made with (Header). Labels, positions and masks are derived when read.
documents.parquet beside the shards leads from row to document: `id` and `tokens`, in the order of documents/.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.files import aside
from mix.pack import Packing

SHARD_BYTES = 64 << 20
"""A shard has at least this many bytes of tokens, where the source has, and less than twice as many."""
DOCUMENTS = "documents.parquet"


@dataclass(frozen=True)
class Header:
    """What the rows of a shard were made with, as its schema's metadata says."""

    tokenizer: str
    """Identity of the tokenizer (tokenization.encode.tokenizer_identity)."""
    vocabulary_size: int
    seq_len: int
    pool: str
    source: str
    packing: str = "best_fit"
    """How the rows were filled (mix.pack): best_fit or concat."""
    continued: str = "doc_starts > 0"
    """How a segment that continues a document is told from one that begins it."""


@dataclass(frozen=True)
class Shard:
    """An open shard; the arrays are views of the mapped file."""

    header: Header
    tokens: np.ndarray
    """uint16 or uint32 [rows, seq_len]"""
    segment_offsets: np.ndarray
    """int32 [rows + 1]: row r has the segments [segment_offsets[r], segment_offsets[r + 1])"""
    doc_lengths: np.ndarray
    """int32 [segments]"""
    doc_rows: np.ndarray
    """int64 [segments]"""
    doc_starts: np.ndarray
    """int64 [segments]"""

    @property
    def rows(self) -> int:
        """How many rows the shard holds."""
        return len(self.tokens)


def write_shards(
    folder: Path, header: Header, packing: Packing, ids: np.ndarray, lengths: np.ndarray, padding: int
) -> list[tuple[Path, int]]:
    """Write all rows of a source as 00000.arrow, 00001.arrow, ...; returns each file and its rows.

    Free space in a row is filled with the id `padding`. `ids` are the documents one after the other (uint16 or uint32
    [tokens], which may be a mapped file), `lengths` their tokens (int64 [documents]). One shard is in memory at a time.
    """
    assert header.packing == packing.method and header.seq_len == packing.seq_len
    if packing.rows == 0:
        return []
    begins = np.cumsum(lengths) - lengths
    least = -(-SHARD_BYTES // (header.seq_len * ids.itemsize))
    count = max(1, packing.rows // least)
    bounds = [packing.rows * shard // count for shard in range(count + 1)]
    written = []
    for shard, (first, last) in enumerate(zip(bounds, bounds[1:], strict=False)):
        path = folder / f"{shard:05d}.arrow"
        with aside(path) as temporary:
            _write(temporary, header, _rows(packing, ids, begins, first, last, padding))
        written.append((path, last - first))
    return written


@contextmanager
def write_documents(folder: Path) -> Iterator[Callable[[pl.Series, np.ndarray], None]]:
    """Gives a function that adds documents (ids, tokens of each) to documents.parquet, which appears at the end."""
    schema = pa.schema([pa.field("id", pa.large_string()), pa.field("tokens", pa.int64())])
    with aside(folder / DOCUMENTS) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:

        def add(identifiers: pl.Series, lengths: np.ndarray) -> None:
            column = identifiers.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
            writer.write_table(pa.table([column, pa.array(lengths)], schema=schema))

        yield add


def padding_id(bos: int | None, eos: int | None) -> int:
    """The id that fills the free space of a row: EOS, BOS where there is none, or 0."""
    return next((id for id in (eos, bos) if id is not None), 0)


def read_shard(path: Path, tokenizer: str | None = None, seq_len: int | None = None) -> Shard:
    """Open a shard without reading its rows.

    Raises ValueError where the file is missing, damaged, or was not made with `tokenizer` and `seq_len`.
    """
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        header = _header(reader.schema.metadata or {})
        _check_schema(reader, header)
        shard = _shard(header, reader.get_batch(0))
    except FileNotFoundError:
        raise ValueError(f"{path}: the shard is not there, so its rows cannot be read. Run mix.build again.") from None
    except (pa.ArrowException, MemoryError, SystemError, OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: is not a whole shard ({type(error).__name__}: {error}), so its rows cannot be trusted. "
            "Delete it and run mix.build again."
        ) from None
    for key, found, wanted in (("tokenizer", header.tokenizer, tokenizer), ("seq_len", header.seq_len, seq_len)):
        if wanted is not None and found != wanted:
            raise ValueError(
                f"{path}: {key}: the shard was made with {found}, but {wanted} is wanted, so its tokens would mean "
                "something else. Run mix.build again, or use the run's own tokenizer and mixture.json."
            )
    return shard


def _rows(
    packing: Packing, ids: np.ndarray, begins: np.ndarray, first: int, last: int, padding: int
) -> tuple[np.ndarray, ...]:
    """The columns of the rows [first, last), padding segments included."""
    offsets = packing.row_offsets[first : last + 1]
    segments = slice(int(offsets[0]), int(offsets[-1]))
    documents, starts, lengths = packing.documents[segments], packing.starts[segments], packing.lengths[segments]
    tokens = np.full((last - first, packing.seq_len), padding, ids.dtype)
    used = _copy(ids, begins, offsets - offsets[0], documents, starts, lengths, tokens)
    padded = np.flatnonzero(used < packing.seq_len)
    ends = (offsets - offsets[0])[padded + 1]
    more = np.zeros(last - first + 1, np.int64)
    more[padded + 1] = 1
    return (
        tokens,
        (offsets - offsets[0] + np.cumsum(more)).astype(np.int32),
        np.insert(lengths, ends, packing.seq_len - used[padded]),
        np.insert(documents, ends, -1).astype(np.int64),
        np.insert(starts, ends, 0).astype(np.int64),
    )


@numba.njit(nogil=True, cache=True)
def _copy(ids, begins, offsets, documents, starts, lengths, out):  # type: ignore[no-untyped-def]
    """Copy the segments' tokens into their rows of `out`; returns the tokens used in each row."""
    used = np.zeros(offsets.size - 1, np.int64)
    for row in range(offsets.size - 1):
        at = 0
        for segment in range(offsets[row], offsets[row + 1]):
            begin = begins[documents[segment]] + starts[segment]
            for token in range(lengths[segment]):
                out[row, at + token] = ids[begin + token]
            at += lengths[segment]
        used[row] = at
    return used


def _write(path: Path, header: Header, rows: tuple[np.ndarray, ...]) -> None:
    tokens, offsets, *segments = rows
    rectangle = pa.FixedSizeListArray.from_arrays(pa.array(tokens.reshape(-1)), header.seq_len)
    columns: dict[str, Any] = {"tokens": rectangle}
    for name, values in zip(("doc_lengths", "doc_rows", "doc_starts"), segments, strict=True):
        columns[name] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
    metadata = {key: str(value) for key, value in asdict(header).items()}
    schema = pa.schema([pa.field(name, column.type, False) for name, column in columns.items()], metadata)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(pa.record_batch(list(columns.values()), schema=schema))


def _header(metadata: dict[bytes, bytes]) -> Header:
    values = {key.decode(): value.decode() for key, value in metadata.items()}
    return Header(
        values["tokenizer"],
        int(values["vocabulary_size"]),
        int(values["seq_len"]),
        values["pool"],
        values["source"],
        values["packing"],
        values["continued"],
    )


def _check_schema(reader: pa.ipc.RecordBatchFileReader, header: Header) -> None:
    """Raises ValueError where a file has other columns than shards: none of another kind is to reach a kernel."""
    found = {field.name: field.type for field in reader.schema}
    wanted = {"doc_lengths": pa.list_(pa.int32()), "doc_rows": pa.list_(pa.int64()), "doc_starts": pa.list_(pa.int64())}
    tokens = [pa.list_(kind, header.seq_len) for kind in (pa.uint16(), pa.uint32())]
    if header.seq_len < 1 or found.pop("tokens", None) not in tokens or found != wanted:
        raise ValueError(f"its columns are {' '.join(str(reader.schema.remove_metadata()).split())}")
    if reader.num_record_batches != 1:
        raise ValueError(f"{reader.num_record_batches} record batches")


def _shard(header: Header, columns: pa.RecordBatch) -> Shard:
    columns.validate()  # or an array could be longer than the bytes it lies in
    tokens = columns.column("tokens").values.to_numpy().reshape(-1, header.seq_len)
    doc_lengths, doc_rows, doc_starts = (columns.column(name) for name in ("doc_lengths", "doc_rows", "doc_starts"))
    offsets = doc_lengths.offsets.to_numpy()
    segments = [len(column.values) for column in (doc_lengths, doc_rows, doc_starts)]
    if len(tokens) + 1 != len(offsets) or segments != [int(offsets[-1])] * 3:
        raise ValueError(f"{len(tokens)} rows of tokens, {len(offsets) - 1} rows of lengths, segments {segments}")
    arrays = (tokens, offsets, *(column.values.to_numpy() for column in (doc_lengths, doc_rows, doc_starts)))
    if offsets[0] != 0 or not all(array.flags.aligned for array in arrays):
        raise ValueError("its columns do not begin where they should")
    return Shard(header, *arrays)
