"""Which documents repeat an earlier one, from their MinHash signatures.

Documents are decided in order. Two signatures that agree in every row of one band are candidates (locality-sensitive
hashing); a document goes if it agrees with an earlier document that was kept in enough positions of the whole
signature, and is said to repeat the first such one. So a decision depends on the earlier kept documents alone: these
can come from another block of documents or from another run, and nothing that comes later changes it.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numba import njit

from curate.kernels.minhash import EMPTY

_LOWER = np.uint64(0xFFFFFFFF)
_FREE = np.uint64(0xFFFFFFFFFFFFFFFF)


class Earlier(NamedTuple):
    """Some thousand documents that were kept before."""

    keys: np.ndarray
    """[documents, bands], as `band_keys` makes them."""
    signatures: Callable[[], np.ndarray]
    """Gives [documents, positions]; only called where a key is one of the new documents'."""


def band_keys(signatures: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """The keys [documents, bands] (uint64) of the buckets that signatures [documents, bands * rows] fall into."""
    keys = np.empty((len(signatures), bands), np.uint64)
    _band_keys(np.ascontiguousarray(signatures), rows, keys)
    return keys


def find_duplicates(
    signatures: np.ndarray, bands: int, rows: int, agree: int, earlier: Iterable[Earlier] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Decide the rows of `signatures` [documents, bands * rows] (uint32) in order.

    `earlier` are the documents kept before, in order, and gone through once. Kept documents are numbered from the first
    of `earlier` on, `signatures` following. Returns (of, agreement): the number (int64) of the first kept document that
    each one repeats, -1 where it is kept, and the positions (int32) in which the two agree, at least `agree`. A
    document without words is kept.
    A kept document is compared with the documents of its buckets that are not removed yet, so copies of one text cost
    a comparison each; only documents that share a band and are all kept cost their number squared.
    Memory beside the signatures: 14 bytes a document and band.
    """
    assert signatures.shape[1] == bands * rows and signatures.dtype == np.uint32
    signatures = np.ascontiguousarray(signatures)
    documents = len(signatures)
    buckets = np.full((bands, documents * 5 // 4 + 1), _FREE)
    newer = np.full((documents, bands), -1, np.int32)
    of = np.full(documents, -1, np.int64)
    agreement = np.zeros(documents, np.int32)
    compared = np.full(documents, -1, np.int64)
    _enter(signatures, rows, buckets, newer)
    first = 0
    for keys, their_signatures in earlier:
        candidates = _known(keys, buckets)
        if len(candidates):
            kept = their_signatures()[candidates]
            numbers = first + candidates
            _remove_repeats_of(
                kept, keys[candidates], numbers, rows, agree, buckets, signatures, newer, of, agreement, compared
            )
        first += len(keys)
    _remove_repeats(first, rows, agree, signatures, newer, of, agreement, compared)
    return of, agreement


@njit(nogil=True, cache=True)
def _key(row, band, rows):  # type: ignore[no-untyped-def]
    """64 bits that stand for the values of a band."""
    value = np.uint64(0)
    for k in range(band * rows, (band + 1) * rows):
        value = (value ^ np.uint64(row[k])) * np.uint64(0x9E3779B97F4A7C15)
        value ^= value >> np.uint64(29)
    return value


@njit(nogil=True, cache=True)
def _band_keys(signatures, rows, keys):  # type: ignore[no-untyped-def]
    for document in range(keys.shape[0]):
        for band in range(keys.shape[1]):
            keys[document, band] = _key(signatures[document], band, rows)


@njit(nogil=True, cache=True)
def _slot(key, table):  # type: ignore[no-untyped-def]
    """Where the bucket of `key` lies in its band's table, or the free entry where it belongs.

    An entry holds the lower half of the key, then the number of the bucket's first document.
    """
    slot = np.int64(((key >> np.uint64(32)) * np.uint64(table.shape[0])) >> np.uint64(32))
    while table[slot] != _FREE and (table[slot] >> np.uint64(32)) != (key & _LOWER):
        slot = slot + 1 if slot + 1 < table.shape[0] else 0
    return slot


@njit(nogil=True, cache=True)
def _same(one, other, first, last):  # type: ignore[no-untyped-def]
    """How many positions from `first` to `last` - 1 hold the same value."""
    same = np.int32(0)
    for k in range(first, last):
        same += np.int32(one[k] == other[k])
    return same


@njit(nogil=True, cache=True)
def _is_empty(row):  # type: ignore[no-untyped-def]
    for k in range(row.shape[0]):
        if row[k] != EMPTY:
            return False
    return True


@njit(nogil=True, cache=True)
def _enter(signatures, rows, buckets, newer):  # type: ignore[no-untyped-def]
    """Enter the documents, the last first: `newer[document, band]` becomes the next one in the same bucket."""
    for band in range(buckets.shape[0]):
        table = buckets[band]
        for document in range(signatures.shape[0] - 1, -1, -1):
            row = signatures[document]
            if not _is_empty(row):
                key = _key(row, band, rows)
                slot = _slot(key, table)
                if table[slot] != _FREE:
                    newer[document, band] = np.int32(table[slot] & _LOWER)
                table[slot] = (key & _LOWER) << np.uint64(32) | np.uint64(document)


@njit(nogil=True, cache=True)
def _compare(row, number, other, band, rows, agree, signatures, of, agreement, compared):  # type: ignore[no-untyped-def]
    """Remove document `other` if it repeats `row`, the signature of document `number`, which shares its bucket."""
    candidate = signatures[other]
    if of[other] < 0 and compared[other] != number and _same(row, candidate, band * rows, (band + 1) * rows) == rows:
        compared[other] = number
        same = _same(row, candidate, 0, row.shape[0])
        if same >= agree:
            of[other] = number
            agreement[other] = same


@njit(nogil=True, cache=True)
def _follow(row, number, document, band, rows, agree, signatures, newer, of, agreement, compared):  # type: ignore[no-untyped-def]
    """Compare with the documents behind `document` in its bucket; removed ones leave it."""
    other = newer[document, band]
    while other >= 0:
        _compare(row, number, other, band, rows, agree, signatures, of, agreement, compared)
        following = newer[other, band]
        if of[other] < 0:
            document = other
        else:
            newer[document, band] = following
        other = following


@njit(nogil=True, cache=True)
def _known(keys, buckets):  # type: ignore[no-untyped-def]
    """The rows of `keys` of which a key has a bucket."""
    found = np.zeros(keys.shape[0], np.bool_)
    for band in range(keys.shape[1]):
        table = buckets[band]
        for k in range(keys.shape[0]):
            if table[_slot(keys[k, band], table)] != _FREE:
                found[k] = True
    return np.flatnonzero(found)


@njit(nogil=True, cache=True)
def _remove_repeats_of(kept, keys, numbers, rows, agree, buckets, signatures, newer, of, agreement, compared):  # type: ignore[no-untyped-def]
    """Remove the documents that repeat one of the `kept` signatures, whose documents have these `numbers`."""
    for k in range(kept.shape[0]):
        row, number = kept[k], numbers[k]
        for band in range(buckets.shape[0]):
            entry = buckets[band, _slot(keys[k, band], buckets[band])]
            if entry != _FREE:
                document = np.int64(entry & _LOWER)
                _compare(row, number, document, band, rows, agree, signatures, of, agreement, compared)
                _follow(row, number, document, band, rows, agree, signatures, newer, of, agreement, compared)


@njit(nogil=True, cache=True)
def _remove_repeats(first, rows, agree, signatures, newer, of, agreement, compared):  # type: ignore[no-untyped-def]
    """Remove the documents that repeat an earlier one that is kept; the first has the number `first`."""
    for document in range(signatures.shape[0]):
        if of[document] < 0:
            row = signatures[document]
            for band in range(newer.shape[1]):
                if newer[document, band] >= 0:
                    _follow(
                        row, first + document, document, band, rows, agree, signatures, newer, of, agreement, compared
                    )
