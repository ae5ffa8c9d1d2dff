"""Kernels of the loader: rows copied out of memory-mapped shards, labels and positions derived on the way.

Each row is read once. Plain loops over one array each are what the compiler turns into vector instructions.
"""

import numba

IGNORED = -100
"""Label of a position that has no next token in its own document."""


@numba.njit(nogil=True, cache=True)
def gather(  # type: ignore[no-untyped-def]
    tokens, offsets, lengths, doc_rows, first_shard, first_row, vocabulary, source, row, inputs, positions, labels
):
    """Write tokens, positions and labels of the rows `row` of the sources `source` into the last three [B, L].

    `tokens`, `offsets`, `lengths` and `doc_rows` are lists of the shards' arrays; the shards of source s are
    [first_shard[s], first_shard[s + 1]), and shard k begins at row first_row[k] of its source.

    Returns -1, or the index of the first row whose segments do not add to L or that has an id not below `vocabulary`:
    nothing is written past a row's end, and no embedding is asked for a row that it has not, whatever the file says.
    """
    for index in range(row.size):
        shard = _shard_of(first_shard, first_row, source[index], row[index])
        within = row[index] - first_row[shard]
        begin, end = offsets[shard][within], offsets[shard][within + 1]
        if not 0 <= begin <= end <= lengths[shard].size:
            return index
        whole = _fill(
            tokens[shard][within],
            lengths[shard][begin:end],
            doc_rows[shard][begin:end],
            inputs[index],
            positions[index],
            labels[index],
        )
        if not whole or _largest(tokens[shard][within]) >= vocabulary:
            return index
    return -1


@numba.njit(nogil=True, cache=True)
def gather_tokens(tokens, first_shard, first_row, vocabulary, source, row, inputs):  # type: ignore[no-untyped-def]
    """Write the tokens of the rows `row` of the sources `source` into `inputs` [B, L].

    Returns -1, or the index of the first row that has an id not below `vocabulary`.
    """
    for index in range(row.size):
        shard = _shard_of(first_shard, first_row, source[index], row[index])
        within = row[index] - first_row[shard]
        _copy(tokens[shard][within], inputs[index])
        if _largest(tokens[shard][within]) >= vocabulary:
            return index
    return -1


@numba.njit(inline="always")
def _shard_of(first_shard, first_row, source, row):  # type: ignore[no-untyped-def]
    """The last shard of the source that begins at or before the row."""
    shard, last = first_shard[source], first_shard[source + 1] - 1
    while shard < last:
        middle = (shard + last + 1) // 2
        if first_row[middle] <= row:
            shard = middle
        else:
            last = middle - 1
    return shard


@numba.njit(nogil=True, cache=True)
def _copy(tokens, out):  # type: ignore[no-untyped-def]
    for at in range(tokens.size):
        out[at] = tokens[at]


@numba.njit(nogil=True, cache=True)
def _largest(tokens):  # type: ignore[no-untyped-def]
    largest = tokens[0]
    for at in range(tokens.size):
        largest = max(largest, tokens[at])
    return largest


@numba.njit(nogil=True, cache=True)
def _fill(tokens, lengths, doc_rows, inputs, positions, labels):  # type: ignore[no-untyped-def]
    """One row [L]; False where its segments do not add to L."""
    _copy(tokens, inputs)
    _copy(tokens[1:], labels)
    begin = 0
    for segment in range(lengths.size):
        end = begin + lengths[segment]
        if not begin < end <= tokens.size:
            return False
        own = positions[begin:end]
        for at in range(own.size):
            own[at] = at
        labels[end - 1] = IGNORED
        if doc_rows[segment] < 0:
            labels[begin:end] = IGNORED
        begin = end
    return begin == tokens.size
