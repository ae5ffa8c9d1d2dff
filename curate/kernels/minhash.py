"""MinHash signatures of documents over their word n-grams (Broder 1997).

The permutations are those of datasketch's scheme "affine32" with seed 1: an n-gram's 32-bit hash x is mixed with
MurmurHash3's finaliser, then permutation k gives a[k] * x + b[k] modulo 2^32; the signature holds the least value of
each. `datasketch.MinHash(hashvalues=row, scheme="affine32")` therefore loads a row, and its LSH (in memory or Redis)
can serve an index of them.
"""

from functools import cache

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit

from curate.kernels.ngrams import count, ngram_hashes

HASHES = "datasketch affine32, seed 1, words 1"
"""Names the hash functions; changed when folding, words, n-grams, permutations or band keys give others than before."""
EMPTY = np.uint32(0xFFFFFFFF)
"""Every value of the signature of a document without words."""


def signatures(texts: pl.Series | pa.Array, ngram: int = 5, permutations: int = 112) -> np.ndarray:
    """Signatures [documents, permutations] (uint32) of `texts`, case, accents, punctuation and numbers folded.

    A document with fewer than `ngram` words is one n-gram. 0.27 GB/s on one core for English text.
    """
    a, b = _permutations(permutations)
    result = np.empty((len(texts), permutations), np.uint32)
    for first, _, grams, starts in ngram_hashes(texts, ngram):
        _signatures(grams, starts, ngram, a, b, result[first : first + len(starts) - 1])
    return result


def shingles(text: str, ngram: int = 5) -> np.ndarray:
    """The 32-bit hashes of the n-grams of one text: what a `datasketch.MinHash(hashfunc=int)` is updated with."""
    _, words, grams, _ = next(ngram_hashes(pa.array([text]), ngram))
    return (grams[: count(len(words), ngram)] >> np.uint64(32)).astype(np.uint32)


@cache
def _permutations(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Odd factors a and summands b of `count` permutations, as datasketch draws them for seed 1."""
    from datasketch import MinHash

    a, b = MinHash(num_perm=count, seed=1, scheme="affine32").permutations
    return a, b


@njit(nogil=True, cache=True)
def _mixed(gram):  # type: ignore[no-untyped-def]
    """The upper 32 bits of an n-gram hash through the finaliser of MurmurHash3."""
    x = np.uint32(gram >> np.uint64(32))
    x = np.uint32((x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B))
    x = np.uint32((x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35))
    return np.uint32(x ^ (x >> np.uint32(16)))


@njit(nogil=True, cache=True)
def _signatures(grams, starts, n, a, b, result):  # type: ignore[no-untyped-def]
    """Eight n-grams at a time against all permutations: the inner loop runs over permutations and vectorises."""
    for document in range(starts.shape[0] - 1):
        row = result[document]
        row[:] = EMPTY
        i, last = starts[document], starts[document + 1]
        last = max(last - n + 1, min(last, i + 1))  # where its n-grams end
        while i + 8 <= last:
            x0, x1, x2, x3 = _mixed(grams[i]), _mixed(grams[i + 1]), _mixed(grams[i + 2]), _mixed(grams[i + 3])
            x4, x5, x6, x7 = _mixed(grams[i + 4]), _mixed(grams[i + 5]), _mixed(grams[i + 6]), _mixed(grams[i + 7])
            for k in range(a.shape[0]):
                low = min(np.uint32(a[k] * x0 + b[k]), np.uint32(a[k] * x1 + b[k]))
                low = min(low, min(np.uint32(a[k] * x2 + b[k]), np.uint32(a[k] * x3 + b[k])))
                low = min(low, min(np.uint32(a[k] * x4 + b[k]), np.uint32(a[k] * x5 + b[k])))
                low = min(low, min(np.uint32(a[k] * x6 + b[k]), np.uint32(a[k] * x7 + b[k])))
                row[k] = min(row[k], low)
            i += 8
        while i < last:
            x = _mixed(grams[i])
            for k in range(a.shape[0]):
                row[k] = min(row[k], np.uint32(a[k] * x + b[k]))
            i += 1
