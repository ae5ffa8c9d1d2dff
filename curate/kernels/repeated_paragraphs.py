"""Paragraphs and lines that stand somewhere before: the kernels of paragraph_dedup."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from curate.kernels.owner_table import GONE, NOBODY, slot_of
from curate.kernels.spaced_words import FAR, SpacedWords

_MULTIPLY = np.uint64(0x9E3779B97F4A7C15)
_OTHER = np.uint64(0xD6E8FEB86659FD93)


@dataclass
class Paragraphs:
    """The paragraphs of some documents that have enough words, in order."""

    starts: np.ndarray
    """int64 [documents + 1]: document d has the paragraphs from starts[d] on."""
    keys: np.ndarray
    """uint64: hash of the words."""
    checks: np.ndarray
    """uint32: another hash of them."""
    places: np.ndarray
    """uint32 [paragraphs, 4]: in bytes, the end of the paragraph before (0 for the first), where this one begins, where
    the next one begins (the text's end for the last); and 1 for the last of a document, else 0."""
    words: np.ndarray
    """uint32: how many."""


def paragraphs_of(words: SpacedWords, gap: int, least: int) -> Paragraphs:
    """The paragraphs of at least `least` words, which a gap of at least that kind (BREAK, EMPTY_LINE) separates."""
    documents = len(words.starts) - 1
    most = len(words.hashes) // least + 1
    starts, keys, checks = np.zeros(documents + 1, np.int64), np.empty(most, np.uint64), np.empty(most, np.uint32)
    places, sizes = np.empty((most, 4), np.uint32), np.empty(most, np.uint32)
    _paragraphs(
        words.hashes, words.starts, words.places, words.far, words.far_starts, gap, least,
        starts, keys, checks, places, sizes,
    )  # fmt: skip
    found = starts[-1]
    return Paragraphs(starts, keys[:found], checks[:found], places[:found], sizes[:found])


@njit(nogil=True, cache=True)
def _mix(value, word, factor):  # type: ignore[no-untyped-def]
    value = (value ^ word) * factor
    return value ^ (value >> np.uint64(29))


@njit(nogil=True, cache=True)
def _paragraphs(hashes, words, word_places, far, far_starts, gap, least, starts, keys, checks, places, sizes):  # type: ignore[no-untyped-def]
    """Fill the arrays of Paragraphs."""
    count = np.int64(0)
    for document in range(starts.shape[0] - 1):
        total = words[document + 1] - words[document]
        next_far = far_starts[document]
        at = before = begin = np.int64(0)  # in bytes: the end of the last word, of the last paragraph, this one's begin
        first = np.int64(0)
        key, check = np.uint64(0), np.uint64(0)
        for i in range(total + 1):
            place = word_places[words[document] + document + i]
            skipped = np.int64(place & 7)
            if skipped == FAR:
                skipped = np.int64(far[next_far])
                next_far += 1
            if i == total or (place >> 3 & 3) >= gap:
                following = at + skipped
                if i - first >= least:
                    keys[count], checks[count] = key, np.uint32(check >> np.uint64(32))
                    places[count, 0], places[count, 1], places[count, 2] = before, begin, following
                    places[count, 3] = i == total
                    sizes[count] = i - first
                    count += 1
                before, begin, first = at, following, i
                key, check = np.uint64(0), np.uint64(0)
            if i < total:
                word = hashes[words[document] + i]
                key = _mix(key, word, _MULTIPLY)
                check = _mix(check, word, _OTHER)
            at += skipped + np.int64(place >> 5)
        starts[document + 1] = count


@njit(nogil=True, cache=True)
def cut_paragraphs(starts, par_keys, par_checks, sizes, words, first, least, keys, checks, owners, cut, dropped):  # type: ignore[no-untyped-def]
    """Decide the documents of a part in order; returns how many paragraphs were put into the table.

    `cut` [paragraphs] holds -1 and gets the number of the document that keeps the same paragraph; the part's documents
    have the numbers from `first` on. A document with fewer than `least` of its `words` left is `dropped` and keeps no
    paragraph.
    """
    added = 0
    for document in range(starts.shape[0] - 1):
        left = np.int64(words[document])
        for k in range(starts[document], starts[document + 1]):
            slot = slot_of(keys, checks, owners, par_keys[k], par_checks[k])
            if owners[slot] == NOBODY or owners[slot] == GONE:
                added += owners[slot] == NOBODY
                keys[slot], checks[slot], owners[slot] = par_keys[k], par_checks[k], np.uint32(first + document)
            else:
                cut[k] = owners[slot]
                left -= sizes[k]
        if left < words[document] and left < least:
            dropped[document] = True
            for k in range(starts[document], starts[document + 1]):
                slot = slot_of(keys, checks, owners, par_keys[k], par_checks[k])
                if owners[slot] == first + document:
                    owners[slot] = GONE
    return added
