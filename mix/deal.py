"""The kernels of the plan: dealing global positions out to sources, and the keyed permutation of a source's rows."""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def deal(first_row, children, numbers, taken, sizes, keys, first, source, row, epoch):  # type: ignore[no-untyped-def]
    """Write source, row and epoch of the global positions from `first` on, as many as the last three arrays hold.

    The first four are mix.tree.Tables; sizes int64 and keys uint64 [sources] are the rows and the key of each source.
    """
    piece = np.searchsorted(first_row, first, side="right") - 1
    for index in range(source.size):
        while piece + 1 < first_row.size and first_row[piece + 1] <= first + index:
            piece += 1
        given = first + index - first_row[piece]  # rows the node was given in this piece before this one
        node = 0
        while node >= 0:
            x, p, w = numbers[piece, node]
            cycles = given // w  # each passes p rows left; without them the product stays below 2^63 (mix.tree)
            numerator = x + (given - cycles * w) * p
            more = numerator // w
            left = cycles * p + more
            goes_left = numerator - more * w + p >= w
            given = left if goes_left else given - left
            node = children[node, 0] if goes_left else children[node, 1]
        found = -1 - node
        given += taken[piece, found]
        size = sizes[found]
        source[index] = found
        epoch[index] = given // size
        row[index] = _permuted(given % size, size, _key(keys[found], given // size))


@numba.njit(nogil=True, cache=True)
def places_in_epochs(row, size, key, epochs):  # type: ignore[no-untyped-def]
    """int64 [epochs]: as the how-manyeth of each epoch the row stands, from 0 on; what `deal` permutes, turned back."""
    found = np.empty(epochs, np.int64)
    for epoch in range(epochs):
        found[epoch] = _unpermuted(row, size, _key(key, epoch))
    return found


@numba.njit(inline="always")
def _key(key, epoch):  # type: ignore[no-untyped-def]
    """The key of a source's permutation in an epoch."""
    return _mix(key ^ _mix(np.uint64(epoch)))


@numba.njit(nogil=True, cache=True)
def _permuted(index, size, key):  # type: ignore[no-untyped-def]
    """Where a keyed permutation of [0, size) takes `index`: 4 Feistel rounds, again until the result is below `size`.

    The network permutes the numbers of 2 * half bits, at most four times `size`, so it is walked 4 times at most on
    average.
    """
    half = _half(size)
    mask = (np.uint64(1) << half) - np.uint64(1)
    value = np.uint64(index)
    while True:
        left, right = value >> half, value & mask
        for turn in range(4):
            left, right = right, left ^ (_mix(right ^ _mix(key + np.uint64(turn))) & mask)
        value = left << half | right
        if value < np.uint64(size):
            return np.int64(value)


@numba.njit(nogil=True, cache=True)
def _unpermuted(index, size, key):  # type: ignore[no-untyped-def]
    """What `_permuted` takes to `index`: its rounds backwards, again until the result is below `size`."""
    half = _half(size)
    mask = (np.uint64(1) << half) - np.uint64(1)
    value = np.uint64(index)
    while True:
        left, right = value >> half, value & mask
        for turn in range(3, -1, -1):
            left, right = right ^ (_mix(left ^ _mix(key + np.uint64(turn))) & mask), left
        value = left << half | right
        if value < np.uint64(size):
            return np.int64(value)


@numba.njit(inline="always")
def _half(size):  # type: ignore[no-untyped-def]
    """Half the bits of the network: the least for which it holds [0, size)."""
    half = np.uint64(1)
    while np.uint64(1) << (np.uint64(2) * half) < np.uint64(size):
        half += np.uint64(1)
    return half


@numba.njit(inline="always")
def _mix(value):  # type: ignore[no-untyped-def]
    """The 64-bit finaliser of MurmurHash3 (A. Appleby)."""
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ value >> np.uint64(33)
