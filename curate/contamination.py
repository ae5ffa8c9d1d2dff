"""Benchmark items inside documents: an index of the items' word n-grams, and the scan of documents against it.

A *needle* is a text of an item that gives it away. Its n-grams lead to the places of a document where it may stand;
there the share of the needle's words found in a window of its length, each word weighted by its rarity (IDF), is the
score. Bag-of-words scoring in a window follows AI2's decon; words, unlike n-grams, survive small edits.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit

from curate.files import aside
from curate.ngrams import count, ngram_hashes

MOST_PLACES = 200
"""Needles an n-gram leads to at most; one in more needles says little about any of them."""


@dataclass(frozen=True)
class Index:
    """Needles as arrays that a kernel can read; V words, N needles, G distinct n-grams."""

    ngram: int
    filter: np.ndarray
    """uint8: a bit for every n-gram hash's lower bits; not set means no needle has it."""
    gram_slots: np.ndarray
    """int32: open-addressed table, the number of the n-gram or -1."""
    grams: np.ndarray
    """uint64 [G]."""
    place_starts: np.ndarray
    """int64 [G + 1]."""
    places: np.ndarray
    """int32: needles that hold n-gram g are places[place_starts[g] : place_starts[g + 1]]."""
    word_slots: np.ndarray
    """int32: open-addressed table, the number of the word or -1."""
    words: np.ndarray
    """uint64 [V]."""
    weights: np.ndarray
    """float32 [V], by rarity."""
    needle_starts: np.ndarray
    """int64 [N + 1]."""
    needle_words: np.ndarray
    """int32: the words of needle n, sorted, are needle_words[needle_starts[n] : needle_starts[n + 1]]."""
    needle_weights: np.ndarray
    """float32 [N]: sum of the weights of its words."""
    required: np.ndarray
    """float32 [N]: score from which a document holds the needle."""


def build(needles: list[str], required: np.ndarray, background: pl.Series, ngram: int) -> Index:
    hashes = [
        (w.copy(), g.copy(), s.copy()) for _, w, g, s in ngram_hashes(pa.array(needles, pa.large_string()), ngram, True)
    ]
    words = np.concatenate([w for w, _, _ in hashes])
    lengths = np.concatenate([np.diff(s) for _, _, s in hashes])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    grams = np.concatenate([g for _, g, _ in hashes])
    vocabulary, numbers = np.unique(words, return_inverse=True)
    frequency = np.bincount(numbers, minlength=len(vocabulary)).astype(np.int64)
    gram_of = np.repeat(np.arange(len(needles), dtype=np.int32), lengths)
    position = np.arange(len(words)) - starts[gram_of]
    valid = (position <= lengths[gram_of] - ngram) | ((position == 0) & False)
    keys, inverse = np.unique(grams[valid], return_inverse=True)
    total = len(words)
    gram_seen = np.zeros(len(keys), np.int64)
    for _, w, g, s in ngram_hashes(background, ngram, True):
        total += len(w)
        at = np.searchsorted(vocabulary, w)
        at[at == len(vocabulary)] = 0
        frequency += np.bincount(at[vocabulary[at] == w], minlength=len(vocabulary))
        at = np.searchsorted(keys, g)
        at[at == len(keys)] = 0
        gram_seen += np.bincount(at[keys[at] == g], minlength=len(keys))
    weights = np.log(1 + total / frequency).astype(np.float32)
    pairs = np.unique(inverse.astype(np.int64) * len(needles) + gram_of[valid])
    g, n = pairs // len(needles), (pairs % len(needles)).astype(np.int32)
    per = np.bincount(g, minlength=len(keys))
    # rank of each gram inside its needle by commonness
    common = per + gram_seen
    order = np.lexsort((g, common[g], n))
    first = np.concatenate([[0], np.cumsum(np.bincount(n, minlength=len(needles)))])[n[order]]
    rank = np.empty(len(pairs), np.int64)
    rank[order] = np.arange(len(pairs)) - first
    keep = (per[g] <= HOT[0]) & (gram_seen[g] <= HOT[1]) | (rank < HOT[2])
    g, n = g[keep], n[keep]
    used, g = np.unique(g, return_inverse=True)
    keys = keys[used]
    place_starts = np.concatenate([[0], np.cumsum(np.bincount(g, minlength=len(keys)))])
    needle_words = np.empty(len(words), np.int32)
    needle_words[:] = numbers[np.lexsort((numbers, gram_of))]
    nw = np.bincount(gram_of, weights=weights[numbers], minlength=len(needles)).astype(np.float32)
    bits = max(20, int(16 * len(keys)).bit_length())
    filt = np.zeros(1 << (bits - 3), np.uint8)
    b = keys & np.uint64((1 << bits) - 1)
    np.bitwise_or.at(filt, (b >> np.uint64(3)).astype(np.int64), (np.uint8(1) << (b & np.uint64(7)).astype(np.uint8)))
    return Index(
        ngram,
        filt,
        _table(keys),
        keys,
        place_starts,
        n,
        _table(vocabulary),
        vocabulary,
        weights,
        starts,
        needle_words,
        nw,
        required.astype(np.float32),
    )


HOT = [200, 1000, 3]


def _table(keys):
    slots = np.full(1 << (2 * len(keys)).bit_length(), -1, np.int32)
    _insert(keys, slots)
    return slots


@njit(cache=True)
def _insert(keys, slots):
    mask = np.uint64(slots.shape[0] - 1)
    for i in range(keys.shape[0]):
        at = (keys[i] >> np.uint64(32)) & mask
        while slots[at] >= 0:
            at = (at + np.uint64(1)) & mask
        slots[at] = i


@njit(nogil=True, cache=True)
def _lookup(key, keys, slots):
    mask = np.uint64(slots.shape[0] - 1)
    at = (key >> np.uint64(32)) & mask
    while slots[at] >= 0:
        if keys[slots[at]] == key:
            return np.int64(slots[at])
        at = (at + np.uint64(1)) & mask
    return np.int64(-1)


@njit(nogil=True, cache=True)
def scan_all(
    words,
    grams,
    starts,
    n,
    filt,
    gram_slots,
    gkeys,
    place_starts,
    places,
    word_slots,
    wkeys,
    weights,
    nstarts,
    nwords,
    nweights,
    required,
    out_i,
    out_f,
):
    N = nweights.shape[0]
    stamp = np.full(N, -1, np.int32)
    state = np.zeros((N, 6), np.int32)
    touched = np.empty(N, np.int32)
    window = np.zeros(wkeys.shape[0], np.int32)
    rows = 0
    cands = 0
    nhits = 0
    mask = np.uint64(filt.shape[0] * 8 - 1)
    for d in range(starts.shape[0] - 1):
        first, last = starts[d], starts[d + 1]
        t = 0
        for i in range(first, last - n + 1):
            bit = grams[i] & mask
            if not (filt[bit >> np.uint64(3)] >> np.uint8(bit & np.uint64(7))) & 1:
                continue
            g = _lookup(grams[i], gkeys, gram_slots)
            if g < 0:
                continue
            nhits += 1
            for p in range(place_starts[g], place_starts[g + 1]):
                nd = places[p]
                s = state[nd]
                L = nstarts[nd + 1] - nstarts[nd]
                if stamp[nd] != d:
                    stamp[nd] = d
                    touched[t] = nd
                    t += 1
                    s[0] = i
                    s[1] = i
                    s[2] = 1
                    s[3] = i
                    s[4] = i
                    s[5] = 1
                else:
                    if i - s[0] > L + L // 2 + 8:
                        s[0] = i
                        s[2] = 0
                    s[1] = i
                    s[2] += 1
                    if s[2] > s[5]:
                        s[3] = s[0]
                        s[4] = i
                        s[5] = s[2]
        for k in range(t):
            nd = touched[k]
            s = state[nd]
            L = nstarts[nd + 1] - nstarts[nd]
            if s[5] < 1 + (L - n + 1) // 25:
                continue
            cands += 1
            slack = max(L - (s[4] + n - s[3]), 0) + 4
            a = max(first, s[3] - slack)
            b = min(last, s[4] + n + slack)
            for i in range(a, b):
                w = _lookup(words[i], wkeys, word_slots)
                if w >= 0:
                    window[w] += 1
            got = np.float32(0)
            for j in range(nstarts[nd], nstarts[nd + 1]):
                w = nwords[j]
                if window[w] > 0:
                    window[w] -= 1
                    got += weights[w]
            for i in range(a, b):
                w = _lookup(words[i], wkeys, word_slots)
                if w >= 0:
                    window[w] = 0
            score = got / nweights[nd]
            if score >= required[nd] and rows < out_i.shape[0]:
                out_i[rows, 0] = d
                out_i[rows, 1] = nd
                out_i[rows, 2] = s[5]
                out_i[rows, 3] = s[3] - first
                out_i[rows, 4] = s[4] + n - first
                out_i[rows, 5] = L
                out_f[rows] = score
                rows += 1
    return rows, cands, nhits
