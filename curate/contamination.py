"""Benchmark items inside documents: an index of the items' word n-grams, and the scan of documents against it.

An item has a *lead*, the words that give it away (its question), and a *rest* (its context and choices). An n-gram of
either leads to a place in a document; there the words found in a window of the item's length, each weighted by its
rarity (IDF), are the score: their share of the lead's weight, or of the whole item's. Scoring words in a window
follows AI2's decon; unlike long n-grams, words survive small edits.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit

from curate.files import aside
from curate.ngrams import ngram_hashes

NGRAM = 4
"""Words in an n-gram. Recall at 25 % of words changed .87; with 5 words .80 at three times the speed, with 3 words .94
at a third of it."""
COMMON = 4
"""An n-gram seen more often than this in the background, some million words, leads nowhere unless its text has no
rarer. Up to there all count as equally rare: the background is taken from the documents, which hold items."""
MOST_TEXTS = 100
"""Leads or rests an n-gram leads to at most, by the same exception."""
FEWEST = 3
"""The rarest n-grams of a text, which lead to it in any case."""
MOST = 24
"""N-grams that lead to a text at most, its rarest."""

LEAST = 8
"""Words below which a text is too short to be told from chance."""
SLOPE = 0.025
"""Score asked less for each word more."""
LEAD_SHARE = 0.6
"""Share of the lead's weight that must be found besides the words of a passage."""


@dataclass(frozen=True)
class Index:
    """What the kernel reads. Text 2 * i is item i's lead, 2 * i + 1 its rest; V words, G n-grams, N items."""

    filter: np.ndarray
    """uint64, a power of two of them: two bits of one are set for each n-gram."""
    gram_slots: np.ndarray
    """int32: open-addressed table of numbers of n-grams, -1 where free."""
    grams: np.ndarray
    """uint64 [G]: their hashes."""
    gram_starts: np.ndarray
    """int64 [G + 1]."""
    gram_texts: np.ndarray
    """int32: n-gram g leads to the texts gram_texts[gram_starts[g] : gram_starts[g + 1]]."""
    word_slots: np.ndarray
    """int32: open-addressed table of numbers of words, -1 where free."""
    words: np.ndarray
    """uint64 [V]: their hashes."""
    weights: np.ndarray
    """float32 [V]."""
    text_starts: np.ndarray
    """int64 [2 N + 1]."""
    text_words: np.ndarray
    """int32: text t has the words text_words[text_starts[t] : text_starts[t + 1]]."""
    alone: np.ndarray
    """float32 [N]: score of the lead from which a document holds the item; above 1 where the lead is too short."""
    both: np.ndarray
    """float32 [N]: score of lead and rest together from which it does; above 1 where that is never asked."""
    passage: np.ndarray
    """bool [N]: the rest is a passage, which may stand in honest text, so words of the lead must be there besides."""

    def save(self, path: Path) -> None:
        """Write as one .npz, whole or not at all."""
        with aside(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **asdict(self))

    @staticmethod
    def load(path: Path) -> "Index":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return Index(**{field.name: arrays[field.name] for field in fields(Index)})


def build(leads: list[str], rests: list[str], needs_lead: list[bool], background: pl.Series, threshold: float) -> Index:
    """Index items by their leads and rests; how rare words and n-grams are is counted in `background` and the items."""
    texts = pa.array([text for pair in zip(leads, rests, strict=True) for text in pair], pa.large_string())
    groups = [(words.copy(), grams.copy(), np.diff(at)) for _, words, grams, at in ngram_hashes(texts, NGRAM, True)]
    lengths = np.concatenate([lengths for _, _, lengths in groups])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    text_of = np.repeat(np.arange(len(lengths)), lengths)
    words, numbers, word_slots = _distinct(np.concatenate([words for words, _, _ in groups]))
    whole = np.arange(len(text_of)) - starts[text_of] <= lengths[text_of] - NGRAM
    grams, gram_numbers, gram_slots = _distinct(np.concatenate([grams for _, grams, _ in groups])[whole])
    word_counts, gram_counts = np.bincount(numbers), np.zeros(len(grams), np.int64)
    total = 0
    for _, text_words, text_grams, _ in ngram_hashes(background, NGRAM, True):
        _count(text_words, words, word_slots, word_counts)
        _count(text_grams, grams, gram_slots, gram_counts)
        total += len(text_words)
    common = (
        np.where(gram_counts > COMMON, gram_counts, 0) + np.bincount(gram_numbers, minlength=len(grams)) / MOST_TEXTS
    )
    grams, gram_starts, gram_texts = _places(grams, gram_numbers, text_of[whole], common)
    alone, both = _required(lengths[0::2], lengths[1::2], threshold)
    return Index(
        filter=_filter(grams),
        gram_slots=_distinct(grams)[2],
        grams=grams,
        gram_starts=gram_starts,
        gram_texts=gram_texts,
        word_slots=_distinct(words)[2],
        words=words,
        weights=np.log(1 + (total + len(numbers)) / word_counts).astype(np.float32),
        text_starts=starts,
        text_words=numbers,
        alone=alone,
        both=both,
        passage=np.array(needs_lead, bool),
    )


def scan(index: Index, texts: pl.Series | pa.Array) -> Iterator[tuple[int, int, float, int, int]]:
    """Documents of `texts` that hold an item, in order: (document, item, score, first word, word after the last)."""
    arrays = tuple(getattr(index, field.name) for field in fields(Index))
    state = np.full((len(index.text_starts) - 1, _STATE), -1, np.int32)
    seen = np.zeros(len(index.words), np.int32)
    for first, words, grams, starts in ngram_hashes(texts, NGRAM, True):
        documents = len(starts) - 1
        item = np.empty(documents, np.int32)
        score = np.empty(documents, np.float32)
        span = np.empty((documents, 2), np.int64)
        _scan(words, grams, starts, first, arrays, state, seen, item, score, span)
        for k in np.flatnonzero(item >= 0).tolist():
            yield first + k, int(item[k]), float(score[k]), int(span[k, 0]), int(span[k, 1])


def _required(lead: np.ndarray, rest: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores asked of the lead alone and of both together, from their numbers of words.

    A short text is common by chance: of `LEAST` words all must be there, each further word lowers the score asked by
    `SLOPE`, down to `threshold`. A lead of fewer than `LEAST` words never counts alone.
    """

    def asked(words: np.ndarray, possible: np.ndarray) -> np.ndarray:
        score = np.maximum(threshold, 1 - SLOPE * (words - LEAST)) - 1e-4
        return np.where(possible & (words >= LEAST), score, 2).astype(np.float32)

    return asked(lead, lead > 0), asked(lead + rest, rest > 0)


def _places(
    grams: np.ndarray, numbers: np.ndarray, text_of: np.ndarray, common: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which texts an n-gram leads to: n-grams [G], starts [G + 1], texts; n-gram numbers[i] stands in text_of[i].

    Each text has its rarest, up to `MOST` whose `common` is at most 1; equally rare ones are drawn by their hash.
    """
    ranked = np.minimum(common * 1000, 65535).astype(np.int64) << 16 | (grams >> np.uint64(48)).astype(np.int64)
    order = np.argsort(text_of << 32 | ranked[numbers], kind="stable")
    counts = np.bincount(text_of)
    rank = np.arange(len(order)) - (np.cumsum(counts) - counts)[text_of]
    order = order[(rank < FEWEST) | ((rank < MOST) & (common[numbers[order]] <= 1))]
    pairs = np.sort(numbers[order].astype(np.int64) << 32 | text_of[order])
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    places = np.bincount(pairs >> 32, minlength=len(grams))
    starts = np.concatenate([[0], np.cumsum(places[places > 0])])
    return grams[places > 0], starts, (pairs & 0xFFFFFFFF).astype(np.int32)


def _filter(grams: np.ndarray) -> np.ndarray:
    """Two bits of one uint64 for each n-gram, 8 to 16 bits an n-gram in all; 2 MB for 42,000 items."""
    bits = np.zeros(1 << max(10, (len(grams) // 8).bit_length()), np.uint64)
    one = np.uint64(1)
    pattern = one << (grams >> np.uint64(58)) | one << (grams >> np.uint64(52) & np.uint64(63))
    np.bitwise_or.at(bits, grams & np.uint64(len(bits) - 1), pattern)
    return bits


def _distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct values in order of appearance, each value's number among them, and the table that finds it."""
    keys, numbers = np.empty(len(values), np.uint64), np.empty(len(values), np.int32)
    slots = np.full(1 << (2 * len(values) + 1).bit_length(), -1, np.int32)
    return keys[: _number(values, keys, slots, numbers)].copy(), numbers, slots


@njit(nogil=True, cache=True)
def _number(values, keys, slots, numbers):  # type: ignore[no-untyped-def]
    mask = np.uint64(slots.shape[0] - 1)
    count = 0
    for i in range(values.shape[0]):
        at = (values[i] >> np.uint64(20)) & mask
        while slots[at] >= 0 and keys[slots[at]] != values[i]:
            at = (at + np.uint64(1)) & mask
        if slots[at] < 0:
            slots[at] = count
            keys[count] = values[i]
            count += 1
        numbers[i] = slots[at]
    return count


@njit(nogil=True, cache=True)
def _lookup(key, keys, slots):  # type: ignore[no-untyped-def]
    """The number of `key`, -1 if it has none."""
    mask = np.uint64(slots.shape[0] - 1)
    at = (key >> np.uint64(20)) & mask
    while slots[at] >= 0:
        if keys[slots[at]] == key:
            return np.int64(slots[at])
        at = (at + np.uint64(1)) & mask
    return np.int64(-1)


@njit(nogil=True, cache=True)
def _count(values, keys, slots, counts):  # type: ignore[no-untyped-def]
    for i in range(values.shape[0]):
        number = _lookup(values[i], keys, slots)
        if number >= 0:
            counts[number] += 1


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
def _pass(grams, bits):  # type: ignore[no-untyped-def]
    """Places of the n-grams that the filter does not rule out, and the end; without branches, so that loads overlap."""
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
    return places


@njit(nogil=True, cache=True)
def _take(text, text_starts, text_words, weights, seen):  # type: ignore[no-untyped-def]
    """Take the words of `text` out of the counts `seen`: the weight found and the whole weight."""
    found = np.float32(0)
    whole = np.float32(0)
    for k in range(text_starts[text], text_starts[text + 1]):
        word = text_words[k]
        whole += weights[word]
        if seen[word] > 0:
            seen[word] -= 1
            found += weights[word]
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
def _scan(words, grams, starts, before, index, state, seen, item, score, span):  # type: ignore[no-untyped-def]
    """The best-scoring item of each document that holds one, -1 for the others, its score and its stretch of words.

    `before` documents came in earlier groups; `state` holds what of them is left.
    """
    (bits, gram_slots, index_grams, gram_starts, gram_texts, word_slots, index_words, weights) = index[:8]
    (text_starts, text_words, alone, together, passage) = index[8:]
    touched = np.empty(passage.shape[0], np.int32)
    numbers = np.full(words.shape[0], -2, np.int32)  # of words in the index; -2 where not yet looked up
    maybe = _pass(grams, bits)
    m = 0
    for document in range(starts.shape[0] - 1):
        item[document] = -1
        score[document] = 0
        items = 0
        begin, end = starts[document], starts[document + 1]
        stamp = before + document
        while maybe[m] < end:
            i = maybe[m]
            m += 1
            number = _lookup(grams[i], index_grams, gram_slots) if i <= end - NGRAM else -1
            if number < 0:
                continue
            for k in range(gram_starts[number], gram_starts[number + 1]):
                text = gram_texts[k]
                fresh = _hit(state, text, stamp, i, text_starts[text + 1] - text_starts[text])
                if fresh and state[text ^ 1, _DOCUMENT] != stamp:
                    touched[items] = text >> 1
                    items += 1
        for k in range(2 * items):
            one, both = touched[k >> 1], k & 1
            asked = together[one] if both else alone[one]
            if asked > 1 or not (both or state[2 * one, _DOCUMENT] == stamp):
                continue
            length = text_starts[2 * one + 1 + both] - text_starts[2 * one]
            hits, first, last = _stretch(state, one, both, stamp, length)
            if hits <= min(length - NGRAM + 1, MOST) // 20:
                continue
            slack = max(length - (last - first), 0) + 4
            low, high = max(begin, first - slack), min(end, last + slack)
            for i in range(low, high):
                if numbers[i] == -2:
                    numbers[i] = _lookup(words[i], index_words, word_slots)
                if numbers[i] >= 0:
                    seen[numbers[i]] += 1
            found = whole = np.float32(0)
            if both:
                found, whole = _take(2 * one + 1, text_starts, text_words, weights, seen)
            lead_found, lead_whole = _take(2 * one, text_starts, text_words, weights, seen)
            for i in range(low, high):
                if numbers[i] >= 0:
                    seen[numbers[i]] = 0
            if both and passage[one] and lead_found < LEAD_SHARE * lead_whole:
                continue
            found = (found + lead_found) / (whole + lead_whole)
            if found >= asked and (found > score[document] or (found == score[document] and one < item[document])):
                item[document] = one
                score[document] = found
                span[document, 0] = first - begin
                span[document, 1] = last - begin
