"""Which spans of words stand somewhere before, exactly: the kernels of substring_dedup.

A *window* is `length` words in a row. Its *anchor* is the smallest hash among its n-grams of length // 2 words
(winnowing: Schleimer, Wilkerson, Aiken 2003). Equal windows have equal anchors, and one anchor serves some 13 windows
of 50 words, so it is enough to look at the windows whose anchor occurs more than once: no repeat is missed. Those
windows are compared by a hash of 96 bits over all their words.
"""

import numpy as np
from numba import njit

from curate.kernels.owner_table import NOBODY, slot_of

_NGRAM_BASE = np.uint64(0x9E3779B97F4A7C15)
_BASE = np.uint64(0xD6E8FEB86659FD93)
_OTHER_BASE = np.uint64(0xA0761D6478BD642F)
_MIX = np.uint64(0xFF51AFD7ED558CCD)


def anchors_of(hashes: np.ndarray, starts: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The anchors of documents whose words are hashes[starts[d] : starts[d + 1]].

    Returns (anchors uint64, runs uint32, starts of each document's): windows one after the other in a document whose
    anchor is the same n-gram share one anchor, and its run says how many they are.
    """
    windows = int(np.maximum(np.diff(starts) - length + 1, 0).sum())
    anchors, runs = np.empty(windows, np.uint64), np.empty(windows, np.uint32)
    anchor_starts = np.zeros(len(starts), np.int64)
    longest = int(np.diff(starts).max(initial=0))
    _anchors(hashes, starts, length, np.empty(longest, np.uint64), anchors, runs, anchor_starts)
    return anchors[: anchor_starts[-1]], runs[: anchor_starts[-1]], anchor_starts


def set_of(values: np.ndarray) -> np.ndarray:
    """A hash set of different uint64 other than 0, 16 to 32 bytes each."""
    slots = np.zeros(1 << (2 * max(len(values), 8)).bit_length(), np.uint64)
    _fill(values, slots)
    return slots


@njit(nogil=True, cache=True)
def _mixed(value):  # type: ignore[no-untyped-def]
    value = (value ^ (value >> np.uint64(32))) * _MIX
    return value ^ (value >> np.uint64(29))


@njit(nogil=True, cache=True)
def _anchors(hashes, starts, length, ngrams, anchors, runs, anchor_starts):  # type: ignore[no-untyped-def]
    """See `anchors_of`; `ngrams` is room for the n-gram hashes of one document."""
    words = max(length // 2, 1)
    width = length - words + 1
    power = np.uint64(1)
    for _ in range(words):
        power *= _NGRAM_BASE
    count = 0
    for document in range(starts.shape[0] - 1):
        text = hashes[starts[document] : starts[document + 1]]
        rolling = np.uint64(0)
        for i in range(text.shape[0] if text.shape[0] >= length else 0):
            rolling = rolling * _NGRAM_BASE + text[i]
            if i >= words:
                rolling -= power * text[i - words]
            if i >= words - 1:
                ngrams[i - words + 1] = max(_mixed(rolling), np.uint64(1))
        least = -1
        for window in range(text.shape[0] - length + 1):
            last = window + width - 1
            if least < window:
                chosen = window
                for i in range(window + 1, last + 1):
                    if ngrams[i] < ngrams[chosen]:
                        chosen = i
            else:
                chosen = last if ngrams[last] < ngrams[least] else least
            if chosen != least:
                least = chosen
                anchors[count] = ngrams[chosen]
                runs[count] = 0
                count += 1
            runs[count - 1] += 1
        anchor_starts[document + 1] = count


@njit(nogil=True, cache=True)
def _fill(values, slots):  # type: ignore[no-untyped-def]
    last = np.uint64(slots.shape[0] - 1)
    for value in values:
        slot = value & last
        while slots[slot] != np.uint64(0):
            slot = (slot + np.uint64(1)) & last
        slots[slot] = value


@njit(nogil=True, cache=True)
def wanted_windows(anchors, runs, anchor_bounds, wanted, is_wanted, counts):  # type: ignore[no-untyped-def]
    """Say of each anchor whether it is in the set `wanted`, and count each document's windows with such an anchor.

    The anchors of document d are those from anchor_bounds[d, 0] to anchor_bounds[d, 1] - 1.
    """
    last = np.uint64(wanted.shape[0] - 1)
    for document in range(counts.shape[0]):
        count = 0
        for k in range(anchor_bounds[document, 0], anchor_bounds[document, 1]):
            slot = anchors[k] & last
            while wanted[slot] != np.uint64(0) and wanted[slot] != anchors[k]:
                slot = (slot + np.uint64(1)) & last
            is_wanted[k] = wanted[slot] != np.uint64(0)
            if is_wanted[k]:
                count += runs[k]
        counts[document] = count


@njit(nogil=True, cache=True)
def _window_hashes(text, length, runs, is_wanted, at, key, check):  # type: ignore[no-untyped-def]
    """The windows of a document whose anchor is wanted: where they begin, and their hash in two pieces."""
    power = np.uint64(1)
    other_power = np.uint64(1)
    for _ in range(length):
        power *= _BASE
        other_power *= _OTHER_BASE
    one = np.uint64(0)
    other = np.uint64(0)
    count = window = 0
    before = -2
    for k in range(runs.shape[0]):
        for begin in range(window, window + runs[k] if is_wanted[k] else window):
            if begin == before + 1:
                one = one * _BASE + text[begin + length - 1] - power * text[begin - 1]
                other = other * _OTHER_BASE + _mixed(text[begin + length - 1]) - other_power * _mixed(text[begin - 1])
            else:
                one = np.uint64(0)
                other = np.uint64(0)
                for i in range(begin, begin + length):
                    one = one * _BASE + text[i]
                    other = other * _OTHER_BASE + _mixed(text[i])
            at[count] = begin
            key[count] = _mixed(one)
            check[count] = np.uint32(_mixed(other) >> np.uint64(32))
            before = begin
            count += 1
        window += runs[k]


@njit(nogil=True, cache=True)
def _cut_earlier(at, key, check, keys, checks, owners, length, cut, claimed):  # type: ignore[no-untyped-def]
    """Cut the words of every window that an earlier document keeps; such a window is `claimed` -1, others -2."""
    until = 0
    for k in range(at.shape[0]):
        owner = owners[slot_of(keys, checks, owners, key[k], check[k])]
        claimed[k] = -2
        if owner != NOBODY:
            claimed[k] = -1
            for i in range(max(at[k], until), at[k] + length):
                cut[i] = owner
            until = at[k] + length


@njit(nogil=True, cache=True)
def _next_cut(cut, following):  # type: ignore[no-untyped-def]
    """following[i] is the first word from i on that is cut, or the number of words."""
    ahead = cut.shape[0]
    for i in range(cut.shape[0] - 1, -1, -1):
        if cut[i] >= 0:
            ahead = i
        following[i] = ahead


@njit(nogil=True, cache=True)
def _cut_inside(at, key, check, length, document, cut, claimed, following, slots):  # type: ignore[no-untyped-def]
    """Cut the windows that stood before in the same document, save the words they share with the earlier one.

    Only windows that are whole may stand for later ones: they are `claimed` 0. `slots` is room for a hash table.
    """
    slots[:] = -1
    last = np.uint64(slots.shape[0] - 1)
    last_cut = -1
    for k in range(at.shape[0]):
        if claimed[k] == -1:
            continue
        slot = key[k] & last
        while slots[slot] >= 0 and (key[slots[slot]] != key[k] or check[slots[slot]] != check[k]):
            slot = (slot + np.uint64(1)) & last
        first = slots[slot]
        if first >= 0:
            for i in range(max(at[k], at[first] + length), at[k] + length):
                if cut[i] < 0:
                    cut[i] = document
            last_cut = at[k] + length - 1
        elif last_cut < at[k] and following[at[k]] >= at[k] + length:
            slots[slot] = k
            claimed[k] = 0
    return last_cut >= 0


@njit(nogil=True, cache=True)
def cut_repeats(hashes, bounds, runs, anchor_bounds, is_wanted, counts, first, length, least, keys, checks, owners, cut,
                dropped):  # type: ignore[no-untyped-def]  # fmt: skip
    """Decide the documents of a part in order; returns how many windows were put into the table.

    The words of document d are hashes[bounds[d, 0] : bounds[d, 1]]. `cut`, as long as `hashes`, holds -1 and gets the
    number of the document that keeps the window for which a word is cut; the part's documents have the numbers from
    `first` on. A document with fewer than `least` words left is `dropped`.
    """
    added = 0
    for document in range(counts.shape[0]):
        count = counts[document]
        if count == 0:
            continue
        text = hashes[bounds[document, 0] : bounds[document, 1]]
        own_cut = cut[bounds[document, 0] : bounds[document, 1]]
        low, high = anchor_bounds[document]
        at, key, check = np.empty(count, np.int64), np.empty(count, np.uint64), np.empty(count, np.uint32)
        claimed, following = np.empty(count, np.int64), np.empty(len(text), np.int64)
        size = 16
        while size < 2 * count:
            size *= 2
        _window_hashes(text, length, runs[low:high], is_wanted[low:high], at, key, check)
        _cut_earlier(at, key, check, keys, checks, owners, length, own_cut, claimed)
        _next_cut(own_cut, following)
        if _cut_inside(at, key, check, length, first + document, own_cut, claimed, following, np.empty(size, np.int64)):
            _next_cut(own_cut, following)
        left = 0
        for owner in own_cut:
            left += owner < 0
        if left < len(text) and left < least:
            dropped[document] = True
            continue
        for k in range(count):
            if claimed[k] == 0 and following[at[k]] >= at[k] + length:
                slot = slot_of(keys, checks, owners, key[k], check[k])
                keys[slot], checks[slot], owners[slot] = key[k], check[k], np.uint32(first + document)
                added += 1
    return added
