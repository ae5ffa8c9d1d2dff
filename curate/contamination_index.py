"""The index of benchmark items that `curate.contamination` scans documents with."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from curate.contamination import MOST, NGRAM, count, number
from curate.files import aside
from curate.ngrams import ngram_hashes

COMMON = 4
"""An n-gram seen more often than this in the background, some million words, leads nowhere unless its text has no
rarer. Up to there all count as equally rare: the background is taken from the documents, which hold items."""
MOST_TEXTS = 100
"""Leads or rests an n-gram leads to at most, by the same exception."""
FEWEST = 3
"""The rarest n-grams of a text, which lead to it in any case."""
LEAST = 8
"""Words below which a text is too short to be told from chance."""
SLOPE = 0.025
"""Score asked less for each word more."""


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


def build(leads: list[str], rests: list[str], passages: list[bool], background: pl.Series, threshold: float) -> Index:
    """Index items by their leads and rests.

    `passages` says which rests hold a passage; how rare words and n-grams are is counted in `background` and the items;
    `threshold` is the score asked of long texts.
    """
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
        count(text_words, words, word_slots, word_counts)
        count(text_grams, grams, gram_slots, gram_counts)
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
        passage=np.array(passages, bool),
    )


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
    return keys[: number(values, keys, slots, numbers)].copy(), numbers, slots
