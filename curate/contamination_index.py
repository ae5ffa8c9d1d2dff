"""The index of benchmark items that `curate.kernels.contamination` scans documents with."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit

from curate.arrays import are_bounds, damaged, is_power_of_two, read_arrays
from curate.files import aside
from curate.kernels.contamination import BIN_BITS, FREE, LOW, MOST, NGRAM, WEIGHT_BITS, home, ngrams

COMMON = 4
"""An n-gram seen more often than this in the background, some million words, leads nowhere unless its text has no
rarer. Up to there all count as equally rare: the background is taken from the documents, which hold items."""
MOST_TEXTS = 100
"""Leads or rests an n-gram leads to at most, by the same exception."""
FEWEST = 3
"""The rarest n-grams of a text, which lead to it in any case."""
LEAST = 8
"""Words below which a text is too short to be told from chance."""
FAMILIAR = 0.85
"""A text of common words counts as fewer: its weight over this share of the mean weight. Without it 12, with it 9 of
39,523 documents that share no 13 words in a row with an item would be dropped, for "Which of these statements is not
true?" and the like; the recall is the same."""
SLOPE = 0.025
"""Score asked less for each word more."""
WEIGHT_SCALE = 1 << 11
"""A weight of 1 in fixed point; the largest, ln of the number of words in background and items, stays below 32."""


KINDS = {"filter": "uint64", "slots": "uint64", "list_starts": "int64", "list_texts": "int32"}
KINDS |= {"text_starts": "int64", "text_words": "uint32", "alone": "float32", "both": "float32", "passage": "bool"}
"""The arrays of an index, as its file has them."""


@dataclass(frozen=True)
class Index:
    """What the kernel reads. Text 2 * i is item i's lead, 2 * i + 1 its rest; N items."""

    filter: np.ndarray
    """uint64, a power of two of them: two bits of one are set for each n-gram."""
    slots: np.ndarray
    """uint64: open-addressed table of n-grams. In the lower 24 bits of a slot is the text that the n-gram leads to, or
    2 * N + the number of its list where it leads to several."""
    list_starts: np.ndarray
    """int64 [lists + 1]."""
    list_texts: np.ndarray
    """int32: list l has the texts list_texts[list_starts[l] : list_starts[l + 1]]."""
    text_starts: np.ndarray
    """int64 [2 N + 1]."""
    text_words: np.ndarray
    """uint32: text t has the words text_words[text_starts[t] : text_starts[t + 1]], each the bin of its hash and below
    it the weight: how rare it is."""
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
        """Read what `save` wrote. Raises ValueError where a kernel would read past the end of an array."""
        index = Index(**read_arrays(path, KINDS))
        items, texts, lists = len(index.alone), len(index.text_starts) - 1, len(index.list_starts) - 1
        places = (index.slots & LOW)[index.slots != FREE]
        fits = (
            len(index.both) == len(index.passage) == items
            and texts == 2 * items
            and are_bounds(index.text_starts, len(index.text_words))
            and are_bounds(index.list_starts, len(index.list_texts))
            and (not len(index.list_texts) or 0 <= index.list_texts.min() <= index.list_texts.max() < texts)
            and is_power_of_two(len(index.filter))
            and is_power_of_two(len(index.slots))
            and len(places) < len(index.slots)
            and places.max(initial=0) < max(texts + lists, 1)
        )
        if not fits:
            raise damaged(path, "its tables do not fit each other")
        return index


def build(leads: list[str], rests: list[str], passages: list[bool], background: pl.Series, threshold: float) -> Index:
    """Index items by their leads and rests.

    `passages` says which rests hold a passage; how rare words and n-grams are is counted in `background` and the items;
    `threshold` is the score asked of long texts.
    """
    texts = pa.array([text for pair in zip(leads, rests, strict=True) for text in pair], pa.large_string())
    groups = [(words.copy(), grams.copy(), np.diff(at)) for _, words, grams, at in ngrams(texts)]
    lengths = np.concatenate([lengths for _, _, lengths in groups])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    text_of = np.repeat(np.arange(len(lengths)), lengths)
    all_words = np.concatenate([words for words, _, _ in groups])
    words, numbers, word_slots = _distinct(all_words)
    whole = np.arange(len(text_of)) - starts[text_of] <= lengths[text_of] - NGRAM
    grams, gram_numbers, gram_slots = _distinct(np.concatenate([grams for _, grams, _ in groups])[whole])
    word_counts, gram_counts = np.bincount(numbers), np.zeros(len(grams), np.int64)
    total = 0
    for _, text_words, text_grams, _ in ngrams(background):
        count(text_words, words, word_slots, word_counts)
        count(text_grams, grams, gram_slots, gram_counts)
        total += len(text_words)
    common = (
        np.where(gram_counts > COMMON, gram_counts, 0) + np.bincount(gram_numbers, minlength=len(grams)) / MOST_TEXTS
    )
    grams, places, list_starts, list_texts = _places(grams, gram_numbers, text_of[whole], common, len(lengths))
    weights = np.log(1 + (total + len(numbers)) / word_counts)
    fixed = np.maximum(weights * WEIGHT_SCALE, 1).astype(np.uint32)[numbers]
    whole_weights = np.bincount(text_of, weights[numbers], minlength=len(lengths))
    sizes = np.minimum(lengths, whole_weights / (FAMILIAR * weights[numbers].mean()))
    alone, both = _required(sizes[0::2], sizes[1::2], threshold)
    return Index(
        filter=_filter(grams),
        slots=_slots(grams, places),
        list_starts=list_starts,
        list_texts=list_texts,
        text_starts=starts,
        text_words=(all_words >> np.uint64(64 - BIN_BITS)).astype(np.uint32) << WEIGHT_BITS | fixed,
        alone=alone,
        both=both,
        passage=np.array(passages, bool),
    )


def _required(lead: np.ndarray, rest: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores asked of the lead alone and of both together, from their sizes in words.

    A short text is common by chance: of `LEAST` words all must be there, each further word lowers the score asked by
    `SLOPE`, down to `threshold`. A lead of fewer than `LEAST` words never counts alone.
    """

    def asked(words: np.ndarray, possible: np.ndarray) -> np.ndarray:
        score = np.maximum(threshold, 1 - SLOPE * (words - LEAST)) - 1e-4
        return np.where(possible & (words >= LEAST), score, 2).astype(np.float32)

    return asked(lead, lead > 0), asked(lead + rest, rest > 0)


def _places(
    grams: np.ndarray, numbers: np.ndarray, text_of: np.ndarray, common: np.ndarray, texts: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Which of the `texts` texts an n-gram leads to; n-gram numbers[i] stands in text_of[i].

    Each text has its rarest, up to `MOST` whose `common` is at most 1; equally rare ones are drawn by their hash.
    Returns the n-grams, the place of each (a text, or `texts` + a list), and the lists.
    """
    ranked = np.minimum(common * 1000, 65535).astype(np.int64) << 16 | (grams >> np.uint64(48)).astype(np.int64)
    order = np.argsort(text_of << 32 | ranked[numbers], kind="stable")
    counts = np.bincount(text_of)
    rank = np.arange(len(order)) - (np.cumsum(counts) - counts)[text_of]
    order = order[(rank < FEWEST) | ((rank < MOST) & (common[numbers[order]] <= 1))]
    pairs = np.sort(numbers[order].astype(np.int64) << 32 | text_of[order])  # np.unique hashes, five times as slowly
    pairs = pairs[np.append(pairs[1:] != pairs[:-1], True)[: len(pairs)]]
    used, first, sizes = np.unique(pairs >> 32, return_index=True, return_counts=True)
    one_of = (pairs & 0xFFFFFFFF).astype(np.int32)
    several = sizes > 1
    places = np.where(several, texts + np.cumsum(several) - 1, one_of[first])
    list_starts = np.concatenate([[0], np.cumsum(sizes[several])])
    return grams[used], places, list_starts, one_of[np.repeat(several, sizes)]


def _slots(grams: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The open-addressed table of n-grams, at most half full."""
    assert places.max(initial=0) < LOW
    slots = np.full(1 << (2 * len(grams)).bit_length(), FREE)
    fill(grams, places.astype(np.uint64), slots)
    return slots


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
    return keys[: number(values, keys, slots, numbers)].copy(), numbers, slots


@njit(nogil=True, cache=True)
def number(values, keys, slots, numbers):  # type: ignore[no-untyped-def]
    """Number the distinct `values` in order of appearance, into `numbers`; `keys` and `slots` become their table."""
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
def count(values, keys, slots, counts):  # type: ignore[no-untyped-def]
    """Add to `counts` how often each of `keys` is among `values`."""
    mask = np.uint64(slots.shape[0] - 1)
    for i in range(values.shape[0]):
        at = (values[i] >> np.uint64(20)) & mask
        while slots[at] >= 0 and keys[slots[at]] != values[i]:
            at = (at + np.uint64(1)) & mask
        if slots[at] >= 0:
            counts[slots[at]] += 1


@njit(nogil=True, cache=True)
def fill(grams, places, slots):  # type: ignore[no-untyped-def]
    """Put n-grams and where they lead into the free `slots`."""
    for k in range(grams.shape[0]):
        at = home(grams[k], slots)
        while slots[at] != FREE:
            at = (at + np.uint64(1)) & np.uint64(slots.shape[0] - 1)
        slots[at] = grams[k] & ~LOW | places[k]
