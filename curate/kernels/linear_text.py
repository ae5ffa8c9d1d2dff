"""A two-label fastText classifier as one number a word and a word n-gram: the same answers, 20 times as fast.

fastText averages the vectors of a line's words and n-grams and compares two products with the average (Joulin et al.
2016, arXiv 1607.01759). With two labels only their difference matters, and it is the average of one product a word, so
a float is looked up instead of a vector. Words are hashed as fastText hashes them, so n-grams fall into its buckets.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit

from curate.arrays import damaged, is_power_of_two, read_arrays
from curate.files import aside
from curate.kernels.words import string_buffers

MOST_WORDS = 100
"""Of an n-gram in a file that is taken for whole."""


@dataclass(frozen=True)
class LinearText:
    """Weights whose mean over a line's words and n-grams is the log-odds of the first label."""

    keys: np.ndarray
    """Hash table of the known words' 64-bit FNV-1a hashes, 0 where free; uint64 [a power of two]."""
    weights: np.ndarray
    """Their weights; float32 [as keys]."""
    buckets: np.ndarray
    """Weights of the n-gram buckets; float32."""
    ngrams: int
    """Words in the longest n-gram."""

    def save(self, path: Path) -> None:
        """Write the weights, whole or not at all."""
        with aside(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, keys=self.keys, weights=self.weights, buckets=self.buckets, ngrams=[self.ngrams])

    @staticmethod
    @functools.lru_cache(maxsize=4)
    def load(path: Path) -> "LinearText":
        """Read what `save` wrote, once a process."""
        kinds = {"keys": "uint64", "weights": "float32", "buckets": "float32", "ngrams": "int64"}
        keys, weights, buckets, ngrams = read_arrays(path, kinds).values()
        if len(weights) != len(keys) or not is_power_of_two(len(keys)) or keys.all():
            raise damaged(path, "its table of words is none")
        if not len(buckets) or len(ngrams) != 1 or not 1 <= ngrams[0] <= MOST_WORDS:
            raise damaged(path, "its n-grams have no weights")
        return LinearText(keys, weights, buckets, int(ngrams[0]))

    def probabilities(self, texts: pl.Series | pa.Array) -> np.ndarray:
        """Probability of the first label for each text, float64; NaN for a text without any known word or n-gram."""
        data, offsets = string_buffers(texts)
        mean = np.empty(len(offsets) - 1)
        _means(data, offsets, self.keys, self.weights, self.buckets, self.ngrams, mean)
        return 1 / (1 + np.exp(-mean))


def linear(model: Any, label: str) -> LinearText | None:
    """The weights of a fastText `model` for `label` against its other label.

    None where they are not all there is to it: another number of labels, subwords, another loss than softmax, or
    quantised vectors.
    """
    arguments = model.f.getArgs()
    labels = model.get_labels()
    if len(labels) != 2 or arguments.maxn > 0 or arguments.loss.name != "softmax" or model.is_quantized():
        return None
    vectors, outputs = model.get_input_matrix(), model.get_output_matrix()
    own = labels.index(label)
    products = vectors @ (outputs[own] - outputs[1 - own])
    words = model.get_words()
    keys = np.zeros(1 << (2 * len(words)).bit_length(), np.uint64)
    weights = np.zeros(len(keys), np.float32)
    data, offsets = string_buffers(pl.Series(words, dtype=pl.String))
    _fill(data, offsets, products[: len(words)].astype(np.float32), keys, weights)
    buckets = products[len(words) :].astype(np.float32) if len(products) > len(words) else np.zeros(1, np.float32)
    return LinearText(keys, weights, buckets, arguments.wordNgrams if len(products) > len(words) else 1)


_OFFSET, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_OFFSET_32, _PRIME_32 = np.uint32(2166136261), np.uint32(16777619)
_COMBINE = np.uint64(116049371)


@njit(cache=True, nogil=True)
def _slot(keys, key):  # type: ignore[no-untyped-def]
    """Where `key` lies, or the free slot where it would."""
    mask = np.uint64(keys.shape[0] - 1)
    slot = (key ^ (key >> np.uint64(29))) & mask
    while keys[slot] != key and keys[slot] != 0:
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(cache=True, nogil=True)
def _hashes(data, begin, end):  # type: ignore[no-untyped-def]
    """64-bit FNV-1a, and 32-bit FNV-1a as fastText does it: bytes are signed, and so is the result."""
    wide, narrow = _OFFSET, _OFFSET_32
    for i in range(begin, end):
        wide = (wide ^ np.uint64(data[i])) * _PRIME
        narrow = np.uint32(np.uint32(narrow ^ np.uint32(np.int32(np.int8(data[i])))) * _PRIME_32)
    return wide, np.uint64(np.int64(np.int32(narrow)))


@njit(cache=True, nogil=True)
def _fill(data, offsets, values, keys, weights):  # type: ignore[no-untyped-def]
    for row in range(offsets.shape[0] - 1):
        key, _ = _hashes(data, offsets[row], offsets[row + 1])
        slot = _slot(keys, key)
        keys[slot], weights[slot] = key, values[row]


@njit(cache=True, nogil=True)
def _separates(byte):  # type: ignore[no-untyped-def]
    return byte == 32 or (9 <= byte <= 13) or byte == 0


@njit(cache=True, nogil=True)
def _means(data, offsets, keys, weights, buckets, ngrams, mean):  # type: ignore[no-untyped-def]
    """The mean weight of every text; line ends in it are spaces, and fastText's end-of-line word stands behind it."""
    mark = np.array([60, 47, 115, 62], np.uint8)  # </s>
    end_key, end_hash = _hashes(mark, 0, 4)
    modulus = np.uint64(buckets.shape[0])
    before = np.zeros(max(ngrams, 2), np.uint64)  # before[k]: the running hash of the n-gram that began k words ago
    for row in range(offsets.shape[0] - 1):
        i, stop = offsets[row], offsets[row + 1]
        total, features, words, ended = 0.0, 0, 0, False
        while not ended:
            while i < stop and _separates(data[i]):
                i += 1
            begin = i
            while i < stop and not _separates(data[i]):
                i += 1
            ended = begin == i
            key, narrow = (end_key, end_hash) if ended else _hashes(data, begin, i)
            slot = _slot(keys, key)
            if keys[slot] == key:
                total += weights[slot]
                features += 1
            for k in range(min(words, ngrams - 1), 0, -1):
                before[k] = before[k - 1] * _COMBINE + narrow
                total += buckets[before[k] % modulus]
                features += 1
            before[0] = narrow
            words += 1
        mean[row] = total / features if features and words > 1 else np.nan
