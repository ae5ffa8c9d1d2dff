"""Megatron-LM's indexed data set: NAME.bin, all tokens one after the other, and NAME.idx, where each sequence lies.

The index, little-endian: the 9 bytes of MAGIC, version (uint64, 1), kind of number (uint8), sequences (uint64), bounds
of documents (uint64), then the sequences' lengths (int32), their first bytes in the .bin (int64), and the documents'
bounds among the sequences (int64, from 0 on), as megatron/core/datasets/indexed_dataset.py of Megatron-LM writes them.
A document is its sequences one after the other.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = b"MMIDIDX\x00\x00"
HEADER = struct.Struct("<9sQBQQ")
KINDS: dict[int, np.dtype[Any]] = {8: np.dtype("<u2"), 4: np.dtype("<i4"), 5: np.dtype("<i8")}
LOT = 1 << 22
"""Tokens handed out together, or one document's where they are more."""
AGAIN = "Copy both files again, or take them out of mix.token_files."


@dataclass(frozen=True)
class Index:
    """An index whose numbers fit each other and the .bin file."""

    kind: np.dtype
    lengths: np.ndarray
    """int64 [documents]: tokens of each."""


def files(path: Path) -> list[Path]:
    """NAME.idx and NAME.bin. Raises ValueError where one is missing or the index is damaged."""
    _index(path)
    return list(_pair(path))


def count(path: Path) -> int:
    """Documents."""
    return len(_index(path).lengths)


def read(path: Path, padding: int) -> Iterator[tuple[Path, np.ndarray, np.ndarray]]:
    """The documents in order, some at a time: the .bin file, their ids, tokens of each (int64)."""
    index, (_, data) = _index(path), _pair(path)
    tokens = np.memmap(data, index.kind, "r") if index.lengths.any() else np.empty(0, index.kind)
    ends = np.cumsum(index.lengths)
    first = at = 0
    while first < len(ends):
        last = max(first + 1, int(np.searchsorted(ends, at + LOT, "right")))
        yield data, np.asarray(tokens[at : ends[last - 1]]), index.lengths[first:last]
        first, at = last, int(ends[last - 1])


def _pair(path: Path) -> tuple[Path, Path]:
    if not path.name:
        raise ValueError(f"{path}: is a folder. Name the two files in it without .idx and .bin.")
    return path.with_name(path.name + ".idx"), path.with_name(path.name + ".bin")


def _index(path: Path) -> Index:
    index, data = _pair(path)
    for one in (index, data):
        if not one.is_file():
            raise ValueError(f"{one}: is not there. Name the two files without .idx and .bin.")
    problem, found = _parsed(index.read_bytes(), data.stat().st_size)
    if found is None:
        raise ValueError(f"{index}: {problem}, so it is not known which tokens are whose. {AGAIN}")
    return found


def _parsed(content: bytes, size: int) -> tuple[str, Index | None]:
    """What is wrong with an index whose .bin has `size` bytes, or the index."""
    if len(content) < HEADER.size:
        return f"has {len(content)} bytes, fewer than its head takes", None
    magic, version, code, sequences, bounds = HEADER.unpack_from(content)
    if magic != MAGIC or version != 1:
        return "does not begin as an index of version 1", None
    if code not in KINDS:
        return (
            f"says that tokens are of kind {code}; known are {', '.join(map(str, KINDS))} (uint16, int32, int64)",
            None,
        )
    wanted = HEADER.size + 12 * sequences + 8 * bounds
    if len(content) != wanted:
        return f"has {len(content)} bytes, and {sequences} sequences with {bounds} bounds take {wanted}", None
    kind = KINDS[code]
    lengths = np.frombuffer(content, "<i4", sequences, HEADER.size).astype(np.int64)
    pointers = np.frombuffer(content, "<i8", sequences, HEADER.size + 4 * sequences)
    borders = np.frombuffer(content, "<i8", bounds, HEADER.size + 12 * sequences)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    if (lengths < 0).any() or (pointers != ends[:-1] * kind.itemsize).any():
        return "has sequences that do not lie one after the other", None
    if ends[-1] * kind.itemsize != size:
        return f"has {ends[-1]} tokens of {kind.itemsize} bytes, and the .bin file has {size} bytes", None
    if not bounds or borders[0] != 0 or borders[-1] != sequences or (np.diff(borders) < 0).any():
        return f"has bounds of documents that do not rise from 0 to its {sequences} sequences", None
    documents = np.diff(ends[borders])
    if len(documents) and documents.max() >= 1 << 31:
        return "has a document of 2^31 tokens or more", None
    return "", Index(kind, documents)
