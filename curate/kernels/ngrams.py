"""Word n-grams as rolling 64-bit hashes over the word hashes of `curate.kernels.words`."""

from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit

from curate.kernels.words import word_hashes

_MULTIPLY = np.uint64(0x9E3779B97F4A7C15)
_FINISH = np.uint64(0xC4CEB9FE1A85EC53)


def ngram_hashes(
    texts: pl.Series | pa.Array, n: int, keep_digits: bool = False
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Hash the words of `texts` and their runs of `n` words, in groups of some hundred kilobytes.

    Yields (first, words, grams, starts): word i of the group has the hash words[i] (uint64), and grams[i] stands for
    words i to i + n - 1; document `first + k` has the words starts[k] to starts[k + 1] - 1 and `count(words, n)`
    n-grams, from starts[k] on. The arrays are overwritten by the next group.
    """
    grams = np.empty(0, np.uint64)
    for first, words, starts in word_hashes(texts, keep_digits):
        if len(grams) < len(words):
            grams = np.empty(len(words) * 5 // 4, np.uint64)
        _ngram_hashes(words, starts, n, grams)
        yield first, words, grams[: len(words)], starts


def count(words: int, n: int) -> int:
    """N-grams of a document of `words` words; fewer than `n` words are one n-gram."""
    return words - n + 1 if words >= n else min(words, 1)


@njit(nogil=True, cache=True)
def _ngram_hashes(words, starts, n, grams):  # type: ignore[no-untyped-def]
    """A polynomial in the word hashes: each step takes in a word and lets go the one n before it."""
    leaving = np.uint64(1)
    for _ in range(n):
        leaving *= _MULTIPLY
    for document in range(starts.shape[0] - 1):
        first, last = starts[document], starts[document + 1]
        rolling = np.uint64(0)
        for i in range(first, min(first + n, last)):
            rolling = rolling * _MULTIPLY + words[i]
        if last > first:
            grams[first] = (rolling ^ (rolling >> np.uint64(32))) * _FINISH
        for i in range(first + n, last):
            rolling = rolling * _MULTIPLY + (words[i] - words[i - n] * leaving)
            grams[i - n + 1] = (rolling ^ (rolling >> np.uint64(32))) * _FINISH
