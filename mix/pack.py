"""Packing: which pieces of which documents stand in which row.

`best_fit` is best-fit-decreasing in windows (the packing of arXiv 2404.10830) under a limit on rows. The longest piece
goes first, each into the fullest row that still has space for it; a document longer than a row is cut into pieces of
exactly a row and a remainder. The limit is as many rows as leave one place in a thousand free (PADDING), at least as
many as the tokens need. Only where it is reached is a piece that fits nowhere cut too, into the row with most space:
remainders of cut documents wait until last, so that as few further documents as possible are cut. So of any lengths
at any seq_len at most 0.1 % is padding, not counting the last row's remainder (less than a row a source).

`concat` puts the documents one after the other and ends a row wherever it is full: only the last row has padding, and a
document is cut wherever a row ends.

Either way every token gets exactly one place, and a piece that does not begin its document says where it continues it.
tests/benchmarks/packing.py measures seconds, padding and documents cut beside the peers.
"""

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np

from mix import best_fit

WINDOW = 65_536
"""Documents packed together, or more where they make fewer than PADDING rows; a row never mixes two windows."""
PADDING = 1000
"""One place in so many may be padding before documents are cut to fill it."""
METHODS = ("best_fit", "concat")


@dataclass(frozen=True)
class Packing:
    """Rows of segments: row r holds the segments [row_offsets[r], row_offsets[r + 1]), padding after the last."""

    method: str
    """best_fit or concat"""
    seq_len: int
    row_offsets: np.ndarray
    """int64 [rows + 1]"""
    documents: np.ndarray
    """int32 [segments]: index of the document"""
    starts: np.ndarray
    """int32 [segments]: the segment's first token within its document; above 0 it continues the document"""
    lengths: np.ndarray
    """int32 [segments]: tokens"""

    @property
    def rows(self) -> int:
        """How many rows are filled."""
        return len(self.row_offsets) - 1

    @cached_property
    def cut(self) -> int:
        """Documents in more than one piece."""
        return len(np.unique(self.documents[self.starts > 0]))


def pack(lengths: np.ndarray, seq_len: int, method: str = "best_fit") -> Packing:
    """Place documents of `lengths` tokens (int64 [documents]) into rows of `seq_len` tokens.

    Documents without tokens get no place. The answer depends on nothing but the arguments.
    """
    assert method in METHODS and (not len(lengths) or lengths.max() < 1 << 31) and len(lengths) < 1 << 31
    if method == "concat":
        arrays = _concat(lengths, seq_len)
    else:
        bounds, pieces = best_fit.find_windows(lengths, seq_len, WINDOW, PADDING)
        arrays = best_fit.pack(lengths, seq_len, bounds, pieces, PADDING)
    packing = Packing(method, seq_len, *arrays)
    assert _fullest(packing.row_offsets, packing.lengths) <= seq_len
    assert int(packing.lengths.sum()) == int(lengths.sum()), "every token has one place"
    return packing


@numba.njit(nogil=True, cache=True)
def by_document(documents, starts, lengths, tokens):  # type: ignore[no-untyped-def]
    """Segments sorted by document and start, whatever rows they stand in.

    Returns `order` (int64 [segments]), `offsets` (int64 [documents + 1]: those of document d are order[offsets[d]] to
    order[offsets[d + 1] - 1]) and the first document whose segments do not cover each of its `tokens` exactly once,
    -1 where all do. Segments of documents that are not there must have been left out before.
    """
    offsets = np.zeros(tokens.size + 1, np.int64)
    for document in documents:
        offsets[document + 1] += 1
    for document in range(tokens.size):
        offsets[document + 1] += offsets[document]
    order = np.empty(documents.size, np.int64)
    place = offsets[:-1].copy()
    for segment in range(documents.size):
        order[place[documents[segment]]] = segment
        place[documents[segment]] += 1
    wrong = -1
    for document in range(tokens.size):
        own = order[offsets[document] : offsets[document + 1]]
        if own.size > 1:
            own[:] = own[np.argsort(starts[own], kind="mergesort")]
        end = 0
        for segment in own:
            if starts[segment] != end or lengths[segment] <= 0:
                break
            end += lengths[segment]
        else:
            if end == tokens[document]:
                continue
        if wrong < 0:
            wrong = document
    return order, offsets, wrong


@numba.njit(nogil=True, cache=True)
def _fullest(row_offsets, lengths):  # type: ignore[no-untyped-def]
    """Tokens of the row that has most."""
    most = 0
    for row in range(row_offsets.size - 1):
        most = max(most, lengths[row_offsets[row] : row_offsets[row + 1]].sum())
    return most


@numba.njit(nogil=True, cache=True)
def _concat(lengths, seq_len):  # type: ignore[no-untyped-def]
    """The fields of Packing for documents one after the other."""
    tokens = lengths.sum()
    rows = (tokens + seq_len - 1) // seq_len
    row_offsets = np.empty(rows + 1, np.int64)
    documents = np.empty(lengths.size + rows, np.int32)
    starts = np.empty(lengths.size + rows, np.int32)
    sizes = np.empty(lengths.size + rows, np.int32)
    row = 0
    segment = 0
    space = 0  # left in the row before `row`
    for document in range(lengths.size):
        start = 0
        while start < lengths[document]:
            if not space:
                row_offsets[row] = segment
                row += 1
                space = seq_len
            size = min(space, lengths[document] - start)
            documents[segment], starts[segment], sizes[segment] = document, start, size
            segment += 1
            start += size
            space -= size
    row_offsets[rows] = segment
    return row_offsets, documents[:segment], starts[:segment], sizes[:segment]
