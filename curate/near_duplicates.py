"""Which documents repeat an earlier one, from their MinHash signatures.

Documents are decided in order. Two signatures that agree in every row of one band are candidates (locality-sensitive
hashing); a document goes if it agrees with an earlier document that was kept in enough positions of the whole
signature. Only kept documents enter the buckets and every one of a bucket is compared, so a decision depends on
earlier documents alone: adding documents later, in another run, changes no earlier decision.
"""

import numpy as np
from numba import njit

from curate.minhash import EMPTY


def find_duplicates(
    signatures: np.ndarray, bands: int, rows: int, agree: int, known: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Decide the rows of `signatures` [documents, bands * rows] in order.

    Returns (of, agreement): the kept document that a document repeats, -1 where it is kept, and the number of
    positions in which the two agree, at least `agree`. The first `known` rows are kept without being compared.
    A document without words is kept. Memory beside the signatures: 8 bytes a document and band.
    """
    assert signatures.shape[1] == bands * rows and signatures.dtype == np.uint32
    documents = len(signatures)
    slots = 1 << max(documents, 16).bit_length()
    heads = np.full((bands, slots), -1, np.int32)
    older = np.empty((documents, bands), np.int32)
    of = np.full(documents, -1, np.int64)
    agreement = np.zeros(documents, np.int32)
    _find(np.ascontiguousarray(signatures), bands, rows, agree, known, heads, older, of, agreement)
    return of, agreement


@njit(nogil=True, cache=True)
def _slot(row, band, rows, slots):  # type: ignore[no-untyped-def]
    """Where a band of a signature lies in its table of `slots` (a power of two) entries."""
    value = np.uint64(0)
    for k in range(band * rows, (band + 1) * rows):
        value = (value ^ np.uint64(row[k])) * np.uint64(0x9E3779B97F4A7C15)
        value ^= value >> np.uint64(29)
    return np.int64(value & np.uint64(slots - 1))


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
def _find(signatures, bands, rows, agree, known, heads, older, of, agreement):  # type: ignore[no-untyped-def]
    """`heads[band, slot]` is the newest kept document of a bucket, `older[document, band]` the one before it."""
    documents, positions = signatures.shape
    compared = np.full(documents, -1, np.int32)  # the last document each one was compared with
    for document in range(documents):
        row = signatures[document]
        if _is_empty(row):
            continue
        for band in range(bands if document >= known else 0):
            other = heads[band, _slot(row, band, rows, heads.shape[1])]
            while other >= 0 and of[document] < 0:
                if compared[other] != document:
                    candidate = signatures[other]
                    if _same(row, candidate, band * rows, (band + 1) * rows) == rows:
                        compared[other] = document
                        same = _same(row, candidate, 0, positions)
                        if same >= agree:
                            of[document] = other
                            agreement[document] = same
                other = older[other, band]
            if of[document] >= 0:
                break
        if of[document] < 0:
            for band in range(bands):
                slot = _slot(row, band, rows, heads.shape[1])
                older[document, band] = heads[band, slot]
                heads[band, slot] = document
