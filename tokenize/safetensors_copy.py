"""A safetensors file copied with more rows in its embeddings, block by block: the model is never in memory.

The format (huggingface.co/docs/safetensors): 8 bytes with the header's length, a JSON header of names, types, shapes
and byte ranges, then the tensors' bytes without gaps. Every tensor but the embeddings is copied byte for byte, and so
are the embeddings' old rows.
"""

import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tokenization.new_rows import Combination

if TYPE_CHECKING:
    import numpy as np

EMBEDDINGS = (
    "model.embed_tokens.weight",
    "lm_head.weight",
    "lm_head.bias",
    "transformer.wte.weight",
    "wte.weight",
    "gpt_neox.embed_in.weight",
    "embed_out.weight",
    "model.language_model.embed_tokens.weight",
)
"""Tensors with a row per token: Llama, Qwen, Mistral, GPT-2, NeoX, Phi and GPT-J, input and output."""
BLOCK = 1 << 20
"""Bytes copied at a time."""
LONGEST_HEADER = 100_000_000
"""Bytes of the longest header that safetensors itself reads."""
SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4}
SIZES |= {"U64": 8, "I64": 8, "F64": 8}
"""Bytes of an element; types that are not here (8 bits and less) are copied unchecked."""


@dataclass(frozen=True)
class Rows:
    """The rows of an embedding before and after."""

    before: int
    """Rows of the tensor as it is."""
    tokens: int
    """Rows of the base's tokens: the first ones; rows from here to `before` are padding."""
    after: int
    """Rows of the tensor to be written."""
    new: Mapping[int, Combination]
    """New id -> the base rows it is made of; ids from `tokens` on."""


def copy_resized(source: Path, target: Path, rows: Rows) -> list[str]:
    """Copy a safetensors file with its embeddings resized. Returns the names of those resized.

    A row without a token gets the mean of the base tokens' rows; new rows are added up in float64 and rounded once, to
    the tensor's own type. Memory: a few blocks, and the new rows in float64. Raises ValueError for a damaged file, and
    for embeddings that are not kept as floats.
    """
    with open(source, "rb") as file, open(target, "wb") as out:
        header, start = read_header(file, source)
        metadata = header.pop("__metadata__", None)
        resized = [name for name in header if name in EMBEDDINGS and header[name]["shape"][:1] == [rows.before]]
        order = sorted(header, key=lambda name: header[name]["data_offsets"])
        described: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
        position = 0
        for name in order:
            begin, end = header[name]["data_offsets"]
            size, shape = end - begin, list(header[name]["shape"])
            if name in resized:
                size, shape[0] = size // rows.before * rows.after, rows.after
            span = [position, position + size]
            described[name] = {"dtype": header[name]["dtype"], "shape": shape, "data_offsets": span}
            position += size
        text = json.dumps(described, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        out.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            begin, end = header[name]["data_offsets"]
            file.seek(start + begin)
            if name in resized:
                _write_rows(file, out, header[name], rows, f"{source}: {name}")
            else:
                for block in _blocks(file, end - begin, BLOCK):
                    out.write(block)
    return resized


def read_header(file: BinaryIO, path: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and the position of its first tensor byte.

    Raises ValueError where header and file do not fit: cut off, gaps, overlaps, a shape that is not its bytes'.
    """
    size = path.stat().st_size
    try:
        length = struct.unpack("<Q", file.read(8))[0]
        if length > min(size - 8, LONGEST_HEADER):
            raise ValueError(f"its header would be {length:,} bytes long")
        header = json.loads(file.read(length))
        problem = _misfit(header, size - 8 - length)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = f"its header cannot be read: {error}"
    if problem:
        raise ValueError(
            f"{path}: is not a whole safetensors file ({problem}), so no tensor of it can be trusted. Fetch or export "
            "it again."
        )
    return header, 8 + length


def total_size(files: Iterable[Path]) -> tuple[int, int]:
    """Bytes and elements of all tensors of some safetensors files."""
    total = elements = 0
    for path in files:
        with open(path, "rb") as file:
            header, start = read_header(file, path)
        total += path.stat().st_size - start
        elements += sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    return total, elements


def _misfit(header: dict[str, Any], size: int) -> str | None:
    """Why a header does not describe `size` bytes of tensors, or None."""
    tensors = {name: tensor for name, tensor in header.items() if name != "__metadata__"}
    position = 0
    for name, tensor in sorted(tensors.items(), key=lambda pair: pair[1]["data_offsets"]):
        begin, end = tensor["data_offsets"]
        if begin != position or end < begin:
            return f"{name} does not begin where the tensor before it ends"
        element = SIZES.get(tensor["dtype"])
        if element and math.prod(tensor["shape"]) * element != end - begin:
            return f"{name} has {end - begin:,} bytes, which its shape {tensor['shape']} does not fill"
        position = end
    return None if position == size else f"its tensors take {position:,} bytes and {size:,} are there"


def _write_rows(file: BinaryIO, out: BinaryIO, tensor: Mapping[str, Any], rows: Rows, where: str) -> None:
    """Copy the base's rows as they are, then write the new ones in the tensor's own type."""
    import numpy as np

    dtype, columns = tensor["dtype"], math.prod(tensor["shape"][1:])
    width = columns * SIZES.get(dtype, 0)
    _check_dtype(dtype, where)
    order = {index: place for place, index in enumerate(sorted(rows.new))}
    entries = [
        (parent, order[index], weight)
        for index in order
        for parent, weight in zip(*(part.tolist() for part in rows.new[index]), strict=True)
    ]
    entries.sort()
    parents = np.array([parent for parent, _, _ in entries], np.int64)
    places = np.array([place for _, place, _ in entries], np.int64)
    weights = np.array([weight for _, _, weight in entries], np.float64)
    made, total = np.zeros((len(order), columns)), np.zeros(columns)
    first = 0
    for block in _blocks(file, rows.tokens * width, max(1, BLOCK // width) * width):
        values = to_float64(block, dtype).reshape(-1, columns)
        total += values.sum(axis=0)
        begin, end = np.searchsorted(parents, (first, first + len(values)))
        step = max(1, BLOCK // 8 // columns)
        for at in range(begin, end, step):
            some = slice(at, min(at + step, end))
            np.add.at(made, places[some], values[parents[some] - first] * weights[some, None])
        first += len(values)
        out.write(block)
    padding = from_float64(total / rows.tokens, dtype)
    for index in range(rows.tokens, rows.after):
        old = file.read(width) if index < rows.before else padding
        out.write(from_float64(made[order[index]], dtype) if index in order else old)


def _blocks(file: BinaryIO, size: int, most: int) -> Iterable[bytes]:
    """The next `size` bytes, at most `most` at a time."""
    while size:
        block = file.read(min(size, most))
        assert block, "the header was compared with the file's size"
        yield block
        size -= len(block)


def _check_dtype(dtype: str, where: str) -> None:
    if dtype not in ("F64", "F32", "F16", "BF16"):
        raise ValueError(
            f"{where}: is kept as {dtype}, and rows can be averaged only in F64, F32, F16 and BF16. "
            "Export the model in one of these."
        )


def to_float64(data: bytes, dtype: str) -> "np.ndarray":
    """The values of bytes in a safetensors type."""
    import numpy as np

    if dtype == "BF16":
        return (np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return np.frombuffer(data, dtype=f"<f{SIZES[dtype]}").astype(np.float64)


def from_float64(values: "np.ndarray", dtype: str) -> bytes:
    """The bytes of `values` in a safetensors type, rounded to nearest, ties to even."""
    import numpy as np

    if dtype != "BF16":
        return values.astype(f"<f{SIZES[dtype]}").tobytes()
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
