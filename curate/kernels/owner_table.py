"""A hash table for kernels: from the 96-bit hash of a piece of text to the document that keeps it.

A slot is 16 bytes: `keys` uint64, `checks` uint32, `owners` uint32, which is NOBODY in a free slot and GONE where the
document is not kept after all.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

NOBODY = np.uint32(0xFFFFFFFF)
GONE = np.uint32(0xFFFFFFFE)


@dataclass
class OwnerTable:
    """The table and how many slots are used; at a load of at most 3/4 a piece takes 21 to 43 bytes."""

    keys: np.ndarray
    checks: np.ndarray
    owners: np.ndarray
    used: int = 0

    @classmethod
    def empty(cls, slots: int = 1 << 16) -> "OwnerTable":
        """A table of `slots`, a power of two."""
        return cls(np.zeros(slots, np.uint64), np.zeros(slots, np.uint32), np.full(slots, NOBODY, np.uint32))

    def with_room(self, more: int) -> "OwnerTable":
        """This table, or a larger one, with room for that many more."""
        slots = len(self.keys)
        while (self.used + more) * 4 > slots * 3:
            slots *= 2
        if slots == len(self.keys):
            return self
        larger = OwnerTable.empty(slots)
        _move(self.keys, self.checks, self.owners, larger.keys, larger.checks, larger.owners)
        larger.used = self.used
        return larger


@njit(nogil=True, cache=True)
def slot_of(keys, checks, owners, key, check):  # type: ignore[no-untyped-def]
    """Where a piece is, or the free slot where it would be."""
    last = np.uint64(keys.shape[0] - 1)
    slot = key & last
    while owners[slot] != NOBODY and (keys[slot] != key or checks[slot] != check):
        slot = (slot + np.uint64(1)) & last
    return slot


@njit(nogil=True, cache=True)
def _move(keys, checks, owners, new_keys, new_checks, new_owners):  # type: ignore[no-untyped-def]
    for k in range(keys.shape[0]):
        if owners[k] != NOBODY:
            slot = slot_of(new_keys, new_checks, new_owners, keys[k], checks[k])
            new_keys[slot], new_checks[slot], new_owners[slot] = keys[k], checks[k], owners[k]
