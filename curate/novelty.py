"""How much of a document is not there yet: the share of its word n-grams that a reference does not hold.

n-novelty as in Merrill, Smith and Elazar 2024, "Evaluating n-Gram Novelty of Language Models Using Rusty-DAWG" (arXiv
2406.13069), with words for tokens. The reference's n-grams are one bit each in a table of BITS_PER_BYTE bits for each
byte of its text: about 2 % of the unseen n-grams count as seen.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
from numba import njit

from curate.arrays import damaged, is_power_of_two
from curate.files import aside
from curate.kernels.ngrams import count, ngram_hashes

NGRAM = 5
BITS_PER_BYTE = 8
MOST_BITS = 1 << 35
"""4 GB; beyond 4 GB of reference more n-grams count as seen."""


def build(texts: Iterable[pl.Series], size: int, path: Path) -> None:
    """Write the table of the n-grams of `texts`, `size` bytes together."""
    bits = min(1 << max(10, (size * BITS_PER_BYTE - 1).bit_length()), MOST_BITS)
    table = np.zeros(bits // 8, np.uint8)
    for some in texts:
        for _, _, grams, starts in ngram_hashes(some, NGRAM):
            _add(grams, _ends(starts), starts, table)
    with aside(path) as temporary, open(temporary, "wb") as file:
        np.save(file, table)


def scores(path: Path, texts: pl.Series) -> pl.Series:
    """Share of the n-grams of each text that the table at `path` does not hold, 0 to 1; null for one without words."""
    table = _read(path)
    shares = np.full(len(texts), np.nan)
    for first, _, grams, starts in ngram_hashes(texts, NGRAM):
        _unseen(grams, _ends(starts), starts, table, shares[first : first + len(starts) - 1])
    return pl.Series(shares, nan_to_null=True)


def _read(path: Path) -> np.ndarray:
    try:
        table: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise damaged(path, str(error)) from None
    if not (isinstance(table, np.ndarray) and table.ndim == 1 and table.dtype == np.uint8):
        raise damaged(path, "it is no table of bytes")
    if not is_power_of_two(len(table)):
        raise damaged(path, f"it has {len(table)} bytes")
    return table


def warm_up() -> None:
    """Compile the kernels."""
    table = np.zeros(16, np.uint8)
    table.flags.writeable = False  # as a mapped file is: kernels are compiled for one kind
    for _, _, grams, starts in ngram_hashes(pl.Series(["a few words of text"]), NGRAM):
        _unseen(grams, _ends(starts), starts, table, np.zeros(1))


def _ends(starts: np.ndarray) -> np.ndarray:
    """Where each document's n-grams end."""
    return np.array([a + count(int(b - a), NGRAM) for a, b in zip(starts, starts[1:], strict=False)], np.int64)


@njit(cache=True, nogil=True)
def _add(grams, ends, starts, table):  # type: ignore[no-untyped-def]
    mask = np.uint64(table.shape[0] * 8 - 1)
    for row in range(ends.shape[0]):
        for i in range(starts[row], ends[row]):
            bit = grams[i] & mask
            table[bit >> np.uint64(3)] |= np.uint8(1) << np.uint8(bit & np.uint64(7))


@njit(cache=True, nogil=True)
def _unseen(grams, ends, starts, table, shares):  # type: ignore[no-untyped-def]
    mask = np.uint64(table.shape[0] * 8 - 1)
    for row in range(ends.shape[0]):
        unseen = 0
        for i in range(starts[row], ends[row]):
            bit = grams[i] & mask
            unseen += (table[bit >> np.uint64(3)] >> np.uint8(bit & np.uint64(7))) & np.uint8(1) == 0
        if ends[row] > starts[row]:
            shares[row] = unseen / (ends[row] - starts[row])
