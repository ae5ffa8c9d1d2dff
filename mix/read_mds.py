"""MosaicML's MDS shards: index.json and shards of samples, each with a column `tokens` (an ndarray of integers).

A shard, little-endian: samples (uint32), their bounds as bytes of the file (uint32, one more than samples), a head, the
samples. A sample is the sizes (uint32) of its columns without a fixed one, then the columns one after the other. An
ndarray whose shape is not fixed begins with its number of axes << 2 | k and each axis's length in 2^k bytes, as
streaming/base/format/mds of mosaicml-streaming 0.13 writes them. Other columns are stepped over, whatever they hold, so
that none is unpickled.

With a column `doc_lengths`, as mix.export writes it, a row holds so many documents; what stands at its end and is
nothing but the padding id is left out, even where it is the end mark of a document that was cut before it. Pieces of a
document that was cut are documents of their own. Without that column a sample is a document.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.files import inside, read_json

INDEX, TOKENS, LENGTHS = "index.json", "tokens", "doc_lengths"
KINDS = ("uint16", "int32", "uint32", "int64", "uint64")
LOT = 1 << 20
"""Tokens handed out together, or one sample's where they are more."""
AGAIN = "Copy the folder again, or take it out of mix.token_files."


@dataclass(frozen=True)
class Shard:
    """A shard as the index describes it."""

    file: Path
    samples: int
    columns: list[tuple[str, str, int | None]]
    """Name, encoding and bytes (None where each sample says it) of each column, in their order."""


def files(path: Path) -> list[Path]:
    """index.json and the shards. Raises ValueError where one is missing, or not as the index says."""
    return [path / INDEX, *(shard.file for shard in _shards(path))]


def count(path: Path) -> int:
    """Samples."""
    return sum(shard.samples for shard in _shards(path))


def read(path: Path, padding: int) -> Iterator[tuple[Path, np.ndarray, np.ndarray]]:
    """The documents in order, some at a time: the shard, their ids, tokens of each (int64)."""
    for shard in _shards(path):
        content = np.memmap(shard.file, np.uint8, "r")
        bounds = _bounds(shard, content)
        ids: list[np.ndarray] = []
        lengths: list[np.ndarray] = []
        for number, (begin, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
            try:
                found = _sample(shard, content[begin:end].tobytes(), padding)
            except (ValueError, IndexError, TypeError) as error:
                raise ValueError(f"{shard.file}: sample {number}: cannot be read ({error}). {AGAIN}") from None
            ids.append(found[0])
            lengths.append(found[1])
            if sum(map(len, ids)) >= LOT:
                yield shard.file, np.concatenate(ids), np.concatenate(lengths)
                ids, lengths = [], []
        if lengths:
            yield shard.file, np.concatenate(ids), np.concatenate(lengths)


def _shards(path: Path) -> list[Shard]:
    index = path / INDEX
    described = read_json(index)
    try:
        shards = [_shard(path, one) for one in described["shards"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index}: is no index of MDS shards ({type(error).__name__}: {error}). {AGAIN}") from None
    if not shards:
        raise ValueError(f"{index}: lists no shard, so there are no tokens. {AGAIN}")
    return shards


def _shard(path: Path, one: dict[str, Any]) -> Shard:
    index, raw = path / INDEX, one["raw_data"]
    file = inside(path, raw["basename"], f"{index}: basename")
    if one["format"] != "mds" or not file.is_file():
        packed = " It was compressed: unpack it there." if one.get("zip_data") else ""
        raise ValueError(f"{file}: is not there as an MDS shard, and {index} names it.{packed} {AGAIN}")
    size = file.stat().st_size
    if size != raw["bytes"]:
        raise ValueError(f"{file}: has {size} bytes, and {index} says {raw['bytes']}, so it is not whole. {AGAIN}")
    names, encodings, sizes = one["column_names"], one["column_encodings"], one["column_sizes"]
    if not len(names) == len(encodings) == len(sizes) or TOKENS not in names:
        raise ValueError(f"{index}: its columns are {', '.join(map(str, names))}, not {TOKENS} and others. {AGAIN}")
    for name, encoding in zip(names, encodings, strict=True):
        if name in (TOKENS, LENGTHS) and _kind(encoding) is None:
            raise ValueError(
                f"{index}: the column {name} is {encoding}, and tokens are read from ndarrays of {', '.join(KINDS)}."
            )
    if not all(size is None or (isinstance(size, int) and size >= 0) for size in sizes):
        raise ValueError(f"{index}: column_sizes: {sizes} are no sizes in bytes. {AGAIN}")
    samples = one["samples"]
    if not isinstance(samples, int) or samples < 0:
        raise ValueError(f"{index}: samples: {samples!r} is no number of samples. {AGAIN}")
    return Shard(file, samples, list(zip(names, encodings, sizes, strict=True)))


def _bounds(shard: Shard, content: np.ndarray) -> list[int]:
    """First byte of each sample and the end of the last, checked against the file."""
    head = 4 * (shard.samples + 2)
    bounds = np.frombuffer(content[:head].tobytes()[: head - head % 4], "<u4")
    if len(bounds) * 4 != head or bounds[0] != shard.samples:
        raise ValueError(f"{shard.file}: does not hold {shard.samples} samples, as {INDEX} says. {AGAIN}")
    found = bounds[1:].astype(np.int64)
    if found[0] < head or found[-1] != len(content) or (np.diff(found) < 0).any():
        raise ValueError(f"{shard.file}: has samples that do not lie one after the other to its end. {AGAIN}")
    return [int(bound) for bound in found]


def _sample(shard: Shard, data: bytes, padding: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids of a sample's documents, and tokens of each."""
    at, arrays = 4 * sum(not size for _, _, size in shard.columns), {}
    sizes = iter(np.frombuffer(data[:at], "<u4").tolist())
    for name, encoding, fixed in shard.columns:
        size = fixed or next(sizes)
        if at + size > len(data):
            raise ValueError(f"its column {name} ends behind it")
        if name in (TOKENS, LENGTHS):
            arrays[name] = _array(data[at : at + size], encoding)
        at += size
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes too many")
    ids = arrays[TOKENS].reshape(-1)
    lengths = arrays.get(LENGTHS, np.array([len(ids)])).reshape(-1).astype(np.int64)
    if (lengths < 0).any() or lengths.sum() != len(ids):
        raise ValueError(f"its {LENGTHS} do not add to its {len(ids)} tokens")
    if LENGTHS in arrays and len(lengths) and (ids[len(ids) - lengths[-1] :] == padding).all():
        ids, lengths = ids[: len(ids) - lengths[-1]], lengths[:-1]
    return ids.astype(np.int64), lengths


def _kind(encoding: Any) -> np.dtype | None:
    """Integers that a column holds, None where it is another kind of column."""
    name, _, rest = str(encoding).partition(":")
    kind = rest.partition(":")[0]
    return np.dtype(kind).newbyteorder("<") if name == "ndarray" and kind in KINDS else None


def _array(data: bytes, encoding: str) -> np.ndarray:
    """The values of an ndarray of a known kind."""
    kind = _kind(encoding)
    assert kind is not None
    if encoding.count(":") < 2:  # the shape comes first
        axes, width = data[0] >> 2, 1 << data[0] % 4
        shape = np.frombuffer(data[1 : 1 + axes * width], f"<u{width}")
        data = data[1 + axes * width :]
        if len(shape) != axes or int(np.prod(shape.astype(object))) * kind.itemsize != len(data):
            raise ValueError(f"an array of shape {shape.tolist()} has {len(data)} bytes")
    return np.frombuffer(data, kind)
