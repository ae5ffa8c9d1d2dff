"""Gopher's repetition measures (Rae et al. 2021, arXiv 2112.11446, table A1), from word and line hashes."""

import numpy as np
from numba import njit

from curate.text_counts import COUNTS, count, hash_bytes

TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
SHARES = 4 + len(TOP) + len(DUPLICATE)
"""Columns of the shares: repeated lines, their characters, repeated paragraphs, their characters; then the characters
of the most frequent 2-, 3-, 4-gram; then those of repeated 5- to 10-grams."""

_MIX = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def measure(data, offsets, stops):
    """Counts int64[n, COUNTS] and shares float64[n, SHARES] of the n texts data[offsets[k]:offsets[k + 1]]."""
    n = offsets.size - 1
    counts, shares = np.zeros((n, COUNTS), np.int64), np.zeros((n, SHARES))
    room = 0
    for d in range(n):
        room = max(room, offsets[d + 1] - offsets[d])
    words, lengths = np.empty(room // 2 + 2, np.uint64), np.empty(room // 2 + 2, np.int64)
    capacity = 16
    while capacity < 2 * (room + 2):
        capacity *= 2
    keys, values, stamps = np.empty(capacity, np.uint64), np.empty(capacity, np.int64), np.zeros(capacity, np.int64)
    stamp = 0
    for d in range(n):
        start, end = offsets[d], offsets[d + 1]
        if end == start:
            continue
        tokens = count(data, start, end, stops, counts[d], words, lengths)
        blocks_at_most = tokens
        for i in range(start, end):
            blocks_at_most += data[i] == 10
        size = 16  # slots used for this document: small documents stay in the first-level cache
        while size < 2 * (blocks_at_most + 2):
            size *= 2
        mask = np.uint64(size - 1)
        characters = np.float64(end - start)
        for blocks in range(2):
            stamp += 1
            repeated, inside, total = _repeated_blocks(data, start, end, blocks == 1, keys, stamps, stamp, mask)
            shares[d, 2 * blocks], shares[d, 2 * blocks + 1] = repeated / max(total, 1), inside / characters
        for k in range(len(TOP)):
            stamp += 1
            shares[d, 4 + k] = _top(words, lengths, tokens, TOP[k], keys, values, stamps, stamp, mask) / characters
        for k in range(len(DUPLICATE)):
            stamp += 1
            inside = _duplicate(words, lengths, tokens, DUPLICATE[k], keys, stamps, stamp, mask)
            if inside == 0:  # no repeated 5-gram, so no longer one either
                break
            shares[d, 4 + len(TOP) + k] = inside / characters
    return counts, shares


@njit(cache=True, nogil=True, inline="always")
def _slot(key, keys, stamps, stamp, mask):
    """The slot of `key` in the table of this `stamp`, or the free slot where it belongs."""
    slot = (key * _MIX >> np.uint64(17)) & mask
    while stamps[slot] == stamp and keys[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(cache=True, nogil=True)
def _repeated_blocks(data, start, end, paragraphs, keys, stamps, stamp, mask):
    """(repeated blocks, their bytes, all blocks); a block ends at one line end, a paragraph at two or more."""
    repeated, size, total, i, first = 0, 0, 0, start, start
    while i <= end:
        run = 0
        while i + run < end and data[i + run] == 10:
            run += 1
        if i == end or run >= (2 if paragraphs else 1):
            if i > first:
                total += 1
                key = hash_bytes(data, first, i)
                slot = _slot(key, keys, stamps, stamp, mask)
                if stamps[slot] == stamp:
                    repeated, size = repeated + 1, size + i - first
                else:
                    keys[slot], stamps[slot] = key, stamp
            first = i + run
        i += max(run, 1)
    return repeated, size, total


@njit(cache=True, nogil=True, inline="always")
def _gram(words, at, n):
    h = np.uint64(0)
    for k in range(n):
        h = (h + words[at + k]) * _MIX
    return h


@njit(cache=True, nogil=True)
def _top(words, lengths, tokens, n, keys, values, stamps, stamp, mask):
    """Characters of the most frequent n-gram, all its places together; 0 where none comes twice."""
    best, characters = 1, 0
    for i in range(tokens - n + 1):
        key = _gram(words, i, n)
        slot = _slot(key, keys, stamps, stamp, mask)
        if stamps[slot] != stamp:
            keys[slot], stamps[slot], values[slot] = key, stamp, 0
        values[slot] += 1
        if values[slot] > best:
            best, characters = values[slot], n - 1
            for k in range(n):
                characters += lengths[i + k]
    return best * characters


@njit(cache=True, nogil=True)
def _duplicate(words, lengths, tokens, n, keys, stamps, stamp, mask):
    """Characters inside n-grams seen before, each counted once."""
    size, i = 0, 0
    while i < tokens - n + 1:
        key = _gram(words, i, n)
        slot = _slot(key, keys, stamps, stamp, mask)
        if stamps[slot] == stamp:
            for k in range(n):
                size += lengths[i + k]
            i += n
        else:
            keys[slot], stamps[slot] = key, stamp
            i += 1
    return size
