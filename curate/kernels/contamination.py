"""The scan of documents for benchmark items.

An item has a *lead*, the words that give it away (its question), and a *rest* (its context and choices). An n-gram of
either leads to a place in a document; there the words found in a window of the item's length, each weighted by its
rarity (IDF), are the score: their share of the lead's weight, or of the whole item's. Scoring words in a window
follows AI2's decon; unlike long n-grams, words survive small edits.
"""

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit

from curate.kernels.words import word_hashes

if TYPE_CHECKING:
    from curate.contamination_index import Index

NGRAM = 4
"""Words in an n-gram; `_ngrams` is written for four. Recall at 25 % of words changed .90; with 5 words .78 at 1.4 times
the speed, with 3 words .95 at .4 times."""
MOST = 32
"""N-grams that lead to a text at most, its rarest."""
LEAD_SHARE = 0.6
"""Share of the lead's weight that must be found besides the words of a passage."""
BIN_BITS = 16
"""Words are counted by these upper bits of their hash, so that the counts stay in the cache. Among a hundred words of a
window another word's bin is found by chance once in 650 times."""
WEIGHT_BITS = 16
"""An item's word is one number: its bin, and below these bits the weight, fixed point."""
MARK_BITS = 10
"""The same bits for the first, coarser look."""
LOW = np.uint64(0xFFFFFF)
"""A slot of the table of n-grams: its upper 40 bits are the n-gram's, these its place; all bits are set where free."""
FREE = np.uint64(0xFFFFFFFFFFFFFFFF)
_TO_BIN = np.uint64(64 - BIN_BITS)
_WEIGHT = np.uint32((1 << WEIGHT_BITS) - 1)


class Match(NamedTuple):
    """An item that a document holds."""

    document: int
    """Position in the texts given."""
    item: int
    score: float
    """Share of the item's weighted words that the document holds."""
    first: int
    last: int
    """The item stands in words first..last-1 of the document, digits kept."""


def scan(index: "Index", texts: pl.Series | pa.Array) -> Iterator[Match]:
    """Every item that a document of `texts` holds, once a document: documents in order, the best match first."""
    arrays = tuple(getattr(index, field.name) for field in fields(index))
    state = np.full((len(index.text_starts) - 1, _STATE), -1, np.int32)
    counts = np.zeros(1 << BIN_BITS, np.uint16)
    for before, words, grams, starts in ngrams(texts):
        found, scores = _scan(words, grams, starts, before, arrays, state, counts)
        order = np.lexsort((found[:, 1], -scores, found[:, 0]))
        for k in order.tolist():
            document, item, first, last = found[k].tolist()
            yield Match(before + document, item, float(scores[k]), first, last)


def ngrams(texts: pl.Series | pa.Array) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Words of `texts`, digits kept, and their n-grams, in groups as `curate.kernels.words.word_hashes` gives them.

    Yields (first, words, grams, starts); grams[i] stands for words i to i + 3, also where a document ends in between.
    """
    grams = np.empty(0, np.uint64)
    for first, words, starts in word_hashes(texts, keep_digits=True):
        if len(grams) < len(words):
            grams = np.empty(len(words) * 5 // 4, np.uint64)
        _ngrams(words, grams)
        yield first, words, grams[: len(words)], starts


@njit(nogil=True, cache=True)
def _turned(value, bits):  # type: ignore[no-untyped-def]
    return value << np.uint64(bits) | value >> np.uint64(64 - bits)


@njit(nogil=True, cache=True)
def _ngrams(words, grams):  # type: ignore[no-untyped-def]
    """Four words as one hash; nothing is carried from word to word, so the loop is vectorised."""
    whole = max(len(words) - NGRAM + 1, 0)
    for i in range(whole):
        grams[i] = words[i] ^ _turned(words[i + 1], 17) ^ _turned(words[i + 2], 31) ^ _turned(words[i + 3], 47)
    for i in range(whole, len(words)):
        grams[i] = np.uint64(0)


_STATE = 6
_DOCUMENT, _FIRST, _COUNT, _BEST_FIRST, _BEST_LAST, _BEST_COUNT = range(_STATE)


@njit(nogil=True, cache=True)
def _hit(state, text, document, at, length):  # type: ignore[no-untyped-def]
    """An n-gram of `text` stands at word `at`: keep the stretch of text length with most of them. True if the first."""
    row = state[text]
    fresh = row[_DOCUMENT] != document
    if fresh:
        row[_DOCUMENT] = document
        row[_BEST_COUNT] = 0
    if fresh or at - row[_FIRST] > length + length // 2 + 8:
        row[_FIRST] = at
        row[_COUNT] = 0
    row[_COUNT] += 1
    if row[_COUNT] > row[_BEST_COUNT]:
        row[_BEST_FIRST], row[_BEST_LAST], row[_BEST_COUNT] = row[_FIRST], at, row[_COUNT]
    return fresh


@njit(nogil=True, cache=True)
def _pass(grams, bits, slots):  # type: ignore[no-untyped-def]
    """Places of the n-grams that the filter does not rule out, and the end; their first slots.

    Without branches, so that loads from memory overlap.
    """
    places = np.empty(grams.shape[0] + 1, np.int64)
    mask = np.uint64(bits.shape[0] - 1)
    count = 0
    for i in range(grams.shape[0]):
        gram = grams[i]
        block = bits[gram & mask]
        places[count] = i
        both = block >> (gram >> np.uint64(58)) & block >> (gram >> np.uint64(52) & np.uint64(63))
        count += np.int64(both & np.uint64(1))
    places[count] = grams.shape[0]
    first = np.empty(count, np.uint64)
    for k in range(count):
        first[k] = slots[home(grams[places[k]], slots)]
    return places, first


@njit(nogil=True, cache=True)
def home(gram, slots):  # type: ignore[no-untyped-def]
    """The slot where the search for an n-gram begins."""
    return (gram >> np.uint64(20)) & np.uint64(slots.shape[0] - 1)


@njit(nogil=True, cache=True)
def _place(gram, slot, slots):  # type: ignore[no-untyped-def]
    """Where an n-gram leads, -1 if it is not in the table; `slot` is what its first slot holds."""
    at = home(gram, slots)
    while slot != FREE:
        if (slot ^ gram) <= LOW:
            return np.int64(slot & LOW)
        at = (at + np.uint64(1)) & np.uint64(slots.shape[0] - 1)
        slot = slots[at]
    return np.int64(-1)


@njit(nogil=True, cache=True)
def _take(item_words, counts):  # type: ignore[no-untyped-def]
    """Take an item's words out of `counts`: the weight found and the whole weight."""
    found = whole = np.int64(0)
    for word in item_words:
        weight = np.int64(word & _WEIGHT)
        there = min(counts[word >> WEIGHT_BITS], np.uint16(1))
        counts[word >> WEIGHT_BITS] -= there
        whole += weight
        found += weight * np.int64(there)
    return found, whole


@njit(nogil=True, cache=True)
def _stretch(state, one, both, document, length):  # type: ignore[no-untyped-def]
    """Where item `one` may stand: its n-grams there, the first word and the word after the last."""
    lead, rest = state[2 * one], state[2 * one + 1]
    has_lead = lead[_DOCUMENT] == document
    place = lead if has_lead else rest
    hits, first, last = place[_BEST_COUNT], place[_BEST_FIRST], place[_BEST_LAST] + NGRAM
    if both and has_lead and rest[_DOCUMENT] == document:
        low, high = min(first, rest[_BEST_FIRST]), max(last, rest[_BEST_LAST] + NGRAM)
        if high - low <= length + length // 2 + 8:
            return hits + rest[_BEST_COUNT], low, high
    return hits, first, last


@njit(nogil=True, cache=True)
def _may_hold(window, lead, rest, asked, marks):  # type: ignore[no-untyped-def]
    """Whether `window` may hold the share `asked` of the weight of lead and rest: an upper bound by coarser bins."""
    marks[:] = 0
    for word in window:
        marks[word >> np.uint64(64 - MARK_BITS)] = 1
    found = whole = np.int64(0)
    for words in (lead, rest):
        for word in words:
            weight = np.int64(word & _WEIGHT)
            whole += weight
            found += weight * np.int64(marks[word >> np.uint32(32 - MARK_BITS)])
    return found >= (asked - 1e-3) * whole


@njit(nogil=True, cache=True)
def _score(window, lead, rest, has_passage, counts):  # type: ignore[no-untyped-def]
    """Share of the weight of the words of lead and rest that is in the words of `window`; `counts` is all 0."""
    for word in window:
        counts[word >> _TO_BIN] += np.uint16(1)
    found, whole = _take(rest, counts)
    lead_found, lead_whole = _take(lead, counts)
    for word in window:
        counts[word >> _TO_BIN] = np.uint16(0)
    if has_passage and lead_found < LEAD_SHARE * lead_whole:
        return np.float32(0)
    return np.float32((found + lead_found) / (whole + lead_whole))


@njit(nogil=True, cache=True)
def _extent(window, item_words, weights):  # type: ignore[no-untyped-def]
    """Where in `window` an item stands, as first word and one after the last: the run with the largest sum (Kadane).

    A word of the item adds its weight, any other takes away 1.5 times the mean. `weights` by bin are all 0.
    """
    loss = np.int64(0)
    for word in item_words:
        weights[word >> WEIGHT_BITS] = np.uint16(word & _WEIGHT)
        loss += np.int64(word & _WEIGHT)
    loss = 3 * loss // (2 * len(item_words))
    best = total = np.int64(0)
    begin = first = last = 0
    for i in range(len(window)):
        if total <= 0:
            total, begin = np.int64(0), i
        weight = np.int64(weights[window[i] >> _TO_BIN])
        total += weight if weight > 0 else -loss
        if total > best:
            best, first, last = total, begin, i + 1
    for word in item_words:
        weights[word >> WEIGHT_BITS] = np.uint16(0)
    return first, last


@njit(nogil=True, cache=True)
def _best(words, begin, end, one, document, index, state, counts, marks):  # type: ignore[no-untyped-def]
    """The score of item `one` in the document with words begin..end-1, by its lead or as a whole, and where.

    0 where the document does not hold it.
    """
    text_starts, text_words, alone, together, passage = index[4:]
    lead = text_words[text_starts[2 * one] : text_starts[2 * one + 1]]
    rest = text_words[text_starts[2 * one + 1] : text_starts[2 * one + 2]]
    best, best_first, best_last = np.float32(0), begin, begin
    for both in range(2):
        asked = together[one] if both else alone[one]
        if asked > 1 or not (both or state[2 * one, _DOCUMENT] == document):
            continue
        length = len(lead) + both * len(rest)
        hits, first, last = _stretch(state, one, both, document, length)
        if hits <= min(length - NGRAM + 1, MOST) // 20:
            continue
        slack = max(length - (last - first), 0) + 4
        window = words[max(begin, first - slack) : min(end, last + slack)]
        if not _may_hold(window, lead, rest[: both * len(rest)], asked, marks):
            continue
        score = _score(window, lead, rest[: both * len(rest)], both and passage[one], counts)
        if score >= asked and score > best:
            best, best_first, best_last = score, first, last
    if best > 0:
        length = len(lead) + len(rest)
        low, high = max(begin, best_first - length), min(end, best_last + length)
        first, last = _extent(words[low:high], text_words[text_starts[2 * one] : text_starts[2 * one + 2]], counts)
        best_first, best_last = low + first, low + last
    return best, best_first, best_last


@njit(nogil=True, cache=True)
def _scan(words, grams, starts, before, index, state, counts):  # type: ignore[no-untyped-def]
    """The items that documents hold: int64 [matches, 4] (document, item, first word, word after the last), scores.

    `before` documents came in earlier groups; `state` holds what of them is left.
    """
    bits, slots, list_starts, list_texts, text_starts = index[:5]
    text_count = len(text_starts) - 1
    touched = np.empty(text_count // 2, np.int32)
    found, scores = np.empty((16, 4), np.int64), np.empty(16, np.float32)
    marks = np.empty(1 << MARK_BITS, np.uint8)
    matches = m = 0
    maybe, first_slots = _pass(grams, bits, slots)
    for document in range(len(starts) - 1):
        items = 0
        begin, end = starts[document], starts[document + 1]
        while maybe[m] < end:
            i = maybe[m]
            place = _place(grams[i], first_slots[m], slots) if i <= end - NGRAM else -1
            m += 1
            several = place >= text_count
            if several:
                place -= text_count
            for k in range(list_starts[place] if several else 0, list_starts[place + 1] if several else place >= 0):
                text = list_texts[k] if several else place
                fresh = _hit(state, text, before + document, i, text_starts[text + 1] - text_starts[text])
                if fresh and state[text ^ 1, _DOCUMENT] != before + document:
                    touched[items] = text >> 1
                    items += 1
        for one in touched[:items]:
            score, first, last = _best(words, begin, end, one, before + document, index, state, counts, marks)
            if score == 0:
                continue
            if matches == len(scores):
                found, scores = np.concatenate((found, found)), np.concatenate((scores, scores))
            found[matches, 0], found[matches, 1] = document, one
            found[matches, 2], found[matches, 3] = first - begin, last - begin
            scores[matches] = score
            matches += 1
    return found[:matches], scores[:matches]
