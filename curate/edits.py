"""Edits inside kept documents: spans of bytes and what stands there instead, applied whenever a part is loaded."""

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit

from curate.kernels.words import string_buffers

EDITS = {
    "at": pl.UInt32,
    "start": pl.Int64,
    "end": pl.Int64,
    "reason": pl.String,
    "detail": pl.String,
    "after": pl.String,
}
"""An edit: `at` is the document's position in its frame, [start, end) the span in bytes of UTF-8, `after` what stands
there now. A column `before` may say what the ledger shows as removed; by default it is the span's own text."""


def apply(texts: pl.Series, edits: pl.DataFrame) -> pl.Series:
    """The texts as edited, null where nothing changed. `edits` (see EDITS) are in order and disjoint per document."""
    rows, data, bounds, spans = _spans(texts, edits)
    after, after_bounds = string_buffers(edits["after"])
    counts = np.searchsorted(spans[:, 0], np.arange(len(rows) + 1)).astype(np.int64)
    grown = np.zeros(len(rows) + 1, np.int64)
    change = np.diff(after_bounds) - (spans[:, 2] - spans[:, 1])
    np.add.at(grown, spans[:, 0] + 1, change)
    new_bounds = np.cumsum(np.concatenate([[0], np.diff(bounds)]) + grown)
    made = np.empty(max(int(new_bounds[-1]), 1), np.uint8)
    _assemble(data, bounds, spans, counts, after, after_bounds, made, new_bounds)
    array = pa.LargeStringArray.from_buffers(len(rows), pa.py_buffer(new_bounds), pa.py_buffer(made))
    array.validate(full=True)  # a span that cuts a character apart is a stage's mistake
    edited = pl.Series("text", array, pl.String)
    return pl.Series("text", [None], pl.String).new_from_index(0, len(texts)).scatter(rows, edited)


def spans_of(texts: pl.Series, edits: pl.DataFrame) -> pl.Series:
    """The text of each span."""
    _, data, bounds, spans = _spans(texts, edits)
    starts = bounds[spans[:, 0]] + spans[:, 1]
    ends = bounds[spans[:, 0]] + spans[:, 2]
    whole = data.tobytes()
    return pl.Series("before", [whole[a:b].decode() for a, b in zip(starts, ends, strict=True)], pl.String)


def _spans(texts: pl.Series, edits: pl.DataFrame) -> tuple[pl.Series, np.ndarray, np.ndarray, np.ndarray]:
    """Rows edited, their bytes and offsets, and per edit [n, 3] the place among these rows, start and end."""
    rows = edits["at"].unique(maintain_order=True)
    data, bounds = string_buffers(texts.gather(rows))
    place = np.searchsorted(rows.to_numpy(), edits["at"].to_numpy())
    spans = np.stack([place, edits["start"].to_numpy(), edits["end"].to_numpy()], axis=1).astype(np.int64)
    inside = (spans[:, 1] >= 0) & (spans[:, 1] <= spans[:, 2]) & (spans[:, 2] <= np.diff(bounds)[place])
    follows = (spans[1:, 0] > spans[:-1, 0]) | ((spans[1:, 0] == spans[:-1, 0]) & (spans[1:, 1] >= spans[:-1, 2]))
    assert inside.all() and follows.all(), "edits are out of order, overlap, or leave the text"
    return rows, data, bounds, spans


@njit(cache=True, nogil=True)
def _assemble(data, bounds, spans, counts, after, after_bounds, made, new_bounds):
    """Write row after row into `made`: what stands between the spans, and what replaces them."""
    for row in range(len(counts) - 1):
        out, read = new_bounds[row], bounds[row]
        for k in range(counts[row], counts[row + 1]):
            until = bounds[row] + spans[k, 1]
            made[out : out + until - read] = data[read:until]
            out += until - read
            length = after_bounds[k + 1] - after_bounds[k]
            made[out : out + length] = after[after_bounds[k] : after_bounds[k + 1]]
            out += length
            read = bounds[row] + spans[k, 2]
        made[out : out + bounds[row + 1] - read] = data[read : bounds[row + 1]]
