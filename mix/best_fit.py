"""The kernels of best-fit packing (mix.pack says what it does): windows, pieces, and the fullest row with space."""

import numba
import numpy as np
from numba.cpython.unsafe.numbers import leading_zeros, trailing_zeros


@numba.njit(nogil=True, cache=True)
def find_windows(lengths, seq_len, window, padding):  # type: ignore[no-untyped-def]
    """Where each window begins, and how many pieces and rows each can have at most: int64 [windows + 1], [windows].

    With `padding` rows of text in a window, one row in as many is a whole one that may be opened.
    """
    bounds = [0]
    pieces = [0]
    tokens = 0
    for document in range(lengths.size):
        length = lengths[document]
        tokens += length
        if length > seq_len:
            pieces[-1] += (length + seq_len - 1) // seq_len
        elif length:  # nearly all documents: spared the division
            pieces[-1] += 1
        if document + 1 - bounds[-1] >= window and tokens >= padding * seq_len:
            bounds.append(document + 1)
            pieces.append(0)
            tokens = 0
    if bounds[-1] == lengths.size and len(bounds) > 1:
        pieces.pop()
    else:
        bounds.append(lengths.size)
    return np.array(bounds), np.array(pieces)


@numba.njit(nogil=True, cache=True)
def pack(lengths, seq_len, bounds, pieces_of, padding):  # type: ignore[no-untyped-def]
    """Pack window after window, in scratch memory that is used again and so stays in the processor's cache.

    Returns the fields of Packing.
    """
    limits = np.empty(pieces_of.size, np.int64)
    for window in range(limits.size):
        limits[window] = _limit(lengths[bounds[window] : bounds[window + 1]].sum(), seq_len, padding)
    # A cut fills a row, so no window has more cuts than rows. Memory that is not written is not taken.
    count = pieces_of.sum() + limits.sum()
    row_offsets = np.zeros(limits.sum() + 1, np.int64)
    documents, starts, sizes = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.int32)
    most, most_rows = (pieces_of + limits).max(), limits.max()
    piece_documents, piece_starts, piece_sizes = (
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.empty(most, np.int32),
    )
    row_of, order = np.empty(most, np.int32), np.empty(most, np.int32)
    below, place = np.empty(most_rows, np.int32), np.empty(most_rows, np.int64)
    rows = 0
    segments = 0
    for window in range(limits.size):
        piece = (piece_documents, piece_starts, piece_sizes)
        pieces = _cut(lengths, bounds[window], bounds[window + 1], seq_len, piece)
        _sort_longest_first(piece_sizes[:pieces], seq_len, order)
        more, pieces = _best_fit(piece, order[:pieces], seq_len, limits[window], below, row_of)
        counts = row_offsets[rows + 1 : rows + 1 + more]
        for index in range(pieces):
            counts[row_of[index]] += 1
        for row in range(more):
            place[row] = segments
            segments += counts[row]
            counts[row] = segments
        for index in range(pieces):
            at = place[row_of[index]]
            place[row_of[index]] += 1
            documents[at] = piece_documents[index]
            starts[at] = piece_starts[index]
            sizes[at] = piece_sizes[index]
        rows += more
    return row_offsets[: rows + 1], documents[:segments], starts[:segments], sizes[:segments]


@numba.njit(nogil=True, cache=True)
def _limit(tokens, seq_len, padding):  # type: ignore[no-untyped-def]
    """Most rows that `tokens` may take: 1 / `padding` of their places free, or what they need if that is more."""
    return max((tokens + seq_len - 1) // seq_len, tokens * padding // (seq_len * (padding - 1)))


@numba.njit(nogil=True, cache=True)
def _cut(lengths, first, last, seq_len, piece):  # type: ignore[no-untyped-def]
    """Write the pieces of the documents [first, last) in their order; returns how many."""
    documents, starts, sizes = piece
    index = 0
    for document in range(first, last):
        start = 0
        while start < lengths[document]:
            documents[index] = document
            starts[index] = start
            sizes[index] = min(seq_len, lengths[document] - start)
            index += 1
            start += seq_len
    return index


@numba.njit(nogil=True, cache=True)
def _sort_longest_first(sizes, seq_len, order):  # type: ignore[no-untyped-def]
    """Write the indices of `sizes` from the longest to the shortest, equal ones in their order (counting sort)."""
    begins = np.zeros(seq_len + 2, np.int32)
    for size in sizes:
        begins[seq_len - size + 1] += 1
    for rank in range(1, seq_len + 2):
        begins[rank] += begins[rank - 1]
    for piece in range(sizes.size):
        rank = seq_len - sizes[piece]
        order[begins[rank]] = piece
        begins[rank] += 1


@numba.njit(nogil=True, cache=True)
def _best_fit(piece, order, seq_len, limit, below, row_of):  # type: ignore[no-untyped-def]
    """Write the row of every piece, in at most `limit` rows; returns how many rows and, with those cut off, pieces.

    Rows with equal free space are a stack linked by `below`; bitmaps tell which free spaces there are.
    """
    documents, starts, sizes = piece
    top = np.full(seq_len + 1, -1, np.int32)
    spaces = np.zeros((seq_len >> 6) + 1, np.uint64)  # bit f: some row has f tokens free
    words = np.zeros((seq_len >> 12) + 1, np.uint64)  # bit w: spaces[w] is not 0
    rows, pieces = 0, order.size
    row, free, before = (
        -1,
        0,
        -1,
    )  # the row in hand: what it has left is less than any other row with space for `before`
    met = False
    for turn in range(order.size):
        index = order[turn]
        if sizes[index] != before or free < before:
            _give(top, below, spaces, words, free, row)
            free = _smallest_from(spaces, words, sizes[index])
            if free < 0 and rows == limit and not met:
                met = True
                _remainders_last(order[turn:], starts)
                index = order[turn]
                free = _smallest_from(spaces, words, sizes[index])
            while free < 0 and rows == limit:  # its head fills the row with most space
                free = _largest(spaces, words)
                documents[pieces], starts[pieces], sizes[pieces] = documents[index], starts[index], free
                row_of[pieces] = _take(top, below, spaces, words, free)
                pieces += 1
                starts[index] += free
                sizes[index] -= free
                free = _smallest_from(spaces, words, sizes[index])
            if free < 0:
                row, free = rows, seq_len
                rows += 1
            else:
                row = _take(top, below, spaces, words, free)
        before = sizes[index]
        row_of[index] = row
        free -= before
    return rows, pieces


@numba.njit(nogil=True, cache=True)
def _remainders_last(order, starts):  # type: ignore[no-untyped-def]
    """Put pieces of documents that are cut already after the whole ones, each in the order they have."""
    cut = order[starts[order] > 0]
    whole = order[starts[order] == 0]
    order[: whole.size] = whole
    order[whole.size :] = cut


@numba.njit(inline="always")
def _take(top, below, spaces, words, free):  # type: ignore[no-untyped-def]
    """Remove and return a row that has `free` tokens free."""
    row = top[free]
    top[free] = below[row]
    if top[free] < 0:
        spaces[free >> 6] ^= np.uint64(1) << np.uint64(free & 63)
        if not spaces[free >> 6]:
            words[free >> 12] ^= np.uint64(1) << np.uint64((free >> 6) & 63)
    return row


@numba.njit(inline="always")
def _give(top, below, spaces, words, free, row):  # type: ignore[no-untyped-def]
    """Remember that `row` has `free` tokens free."""
    if free > 0:
        below[row] = top[free]
        top[free] = row
        spaces[free >> 6] |= np.uint64(1) << np.uint64(free & 63)
        words[free >> 12] |= np.uint64(1) << np.uint64((free >> 6) & 63)


@numba.njit(nogil=True, cache=True)
def _smallest_from(spaces, words, first):  # type: ignore[no-untyped-def]
    """The smallest set bit of `spaces` at or above `first`, or -1; `words` tells which of its words are not 0."""
    word = first >> 6
    value = spaces[word] >> np.uint64(first & 63)
    if value:
        return first + trailing_zeros(value)
    word += 1
    for group in range(word >> 6, words.size):
        value = words[group]
        if group == word >> 6:
            value = value >> np.uint64(word & 63) << np.uint64(word & 63)
        if value:
            word = (group << 6) + trailing_zeros(value)
            return (word << 6) + trailing_zeros(spaces[word])
    return -1


@numba.njit(nogil=True, cache=True)
def _largest(spaces, words):  # type: ignore[no-untyped-def]
    """The largest set bit of `spaces`, which has one."""
    for group in range(words.size - 1, -1, -1):
        if words[group]:
            word = (group << 6) + 63 - leading_zeros(words[group])
            return (word << 6) + 63 - leading_zeros(spaces[word])
    return -1
