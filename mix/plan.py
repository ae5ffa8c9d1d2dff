"""The mixture plan: which row of which source stands at global position g.

The answer is a pure function of (plan, g): no state, no index arrays, the same at every world size, and as quick at
step 1e9 as at step 0 (0.1 to 0.2 us a row).

Which source: positions are dealt out through a binary tree whose leaves are the sources. A node that has been given
n rows has passed round(n * left / (left + right)) of them to its left child and the rest to its right (nested
rounding in integers, so nothing drifts at any position). Pools part at the root, so

- a pool's rows are within one row of its share in any run of consecutive rows (a global batch, a rank's slice of it,
  a micro-batch), and after any number of rows the error is at most half a row;
- inside a pool, sources are dealt by their numbers of rows, so that they run out together: each time the pool is used
  up, every source has been used up exactly. In between a source is less than 1.7 rows from its share of the pool's
  rows, for any number of sources (`Plan.error_bounds` has the figure of this plan; mix.tree has the reason). One row
  in every run of rows, as for pools, is not to be had: by A. S. Fraenkel's conjecture on balanced sequences no order
  of three or more sources is that even, but for a few weights.

Which row: the n-th row taken from a source of R rows is row permutation(n mod R) of epoch n div R, where the
permutation is a Feistel network over the bits of R, walked until it lands below R (Black and Rogaway 2002, cycle
walking), with a key made of seed, pool, source and epoch. A source's order does not change when others come or go.
"""

from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numba
import numpy as np

from curate.files import identity, read_json
from mix.tree import Leaf, Node, count, deal_tree, error_bounds, table

ORDER = 1
"""Raised when this module deals rows out in another order than before: plans made before are then other plans."""


@dataclass(frozen=True)
class ShardFile:
    """A shard of a source."""

    file: str
    """Path below the run's packed/ folder."""
    rows: int
    identity: str
    """Hash of the file's bytes (curate.files.file_identity)."""


@dataclass(frozen=True)
class Source:
    """A packed source."""

    name: str
    rows: int
    tokens: int
    documents: int
    cut: int
    """Documents longer than a row, so cut into pieces."""
    shards: tuple[ShardFile, ...]


@dataclass(frozen=True)
class Pool:
    """A pool and its share of all rows."""

    name: str
    share: Fraction
    sources: tuple[Source, ...]

    @property
    def rows(self) -> int:
        return sum(source.rows for source in self.sources)


@dataclass(frozen=True)
class Rows:
    """The rows at some consecutive global positions."""

    source: np.ndarray
    """int64 [rows]: index into Plan.sources"""
    row: np.ndarray
    """int64 [rows]: row of that source"""
    epoch: np.ndarray
    """int64 [rows]: how many times the source was used up before"""


@dataclass(frozen=True)
class Plan:
    """Everything the order of rows depends on; read from and written to mixture.json."""

    seed: int
    seq_len: int
    tokenizer: str
    vocabulary_size: int
    pools: tuple[Pool, ...]

    @cached_property
    def sources(self) -> tuple[tuple[Pool, Source], ...]:
        """Every source with its pool, in the order that `Rows.source` counts."""
        return tuple((pool, source) for pool in self.pools for source in pool.sources)

    @cached_property
    def identity(self) -> str:
        """16 hex digits that stand for the order of rows and for their contents."""
        return identity({"order": ORDER, **self.to_json()})

    @cached_property
    def error_bounds(self) -> list[float]:
        """Most rows by which each source can be away from its share of its pool's rows, at any position."""
        bounds = [Fraction(0)] * len(self.sources)
        for pool_share, leaves in self._leaves:
            for source, bound in error_bounds(deal_tree([(pool_share, leaves)])).items():
                bounds[source] = bound
        return [float(bound) for bound in bounds]

    @cached_property
    def _leaves(self) -> list[tuple[Fraction, list[Leaf]]]:
        """The pools that have a share, with their sources that have rows."""
        leaves: dict[str, list[Leaf]] = {pool.name: [] for pool in self.pools}
        for index, (pool, source) in enumerate(self.sources):
            if source.rows:
                leaves[pool.name].append(Leaf(index, source.rows))
        return [(pool.share, leaves[pool.name]) for pool in self.pools if pool.share]

    @cached_property
    def _tree(self) -> Node | Leaf:
        return deal_tree(self._leaves)

    @cached_property
    def _tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the kernel reads: the tree, the rows of each source, the key of each source."""
        keys = [int(identity([self.seed, pool.name, source.name]), 16) for pool, source in self.sources]
        rows = [source.rows for _, source in self.sources]
        return table(self._tree), np.array(rows, np.int64), np.array(keys, np.uint64)

    def rows(self, first: int, count: int) -> Rows:
        """The rows at the global positions [first, first + count)."""
        assert 0 <= first and first + count < 1 << 62
        found = Rows(*(np.empty(count, np.int64) for _ in range(3)))
        _deal(*self._tables, first, found.source, found.row, found.epoch)
        return found

    def taken(self, rows: int) -> list[int]:
        """How many of the first `rows` rows each source gives."""
        counts = [0] * len(self.sources)
        count(self._tree, rows, counts)
        return counts

    def to_json(self) -> dict[str, Any]:
        """The plan as it stands in mixture.json."""
        shares = {pool.name: str(pool.share) for pool in self.pools}
        return {
            "seed": self.seed,
            "seq_len": self.seq_len,
            "tokenizer": self.tokenizer,
            "vocabulary_size": self.vocabulary_size,
            "schedule": [{"first_row": 0, "shares": shares}],
            "pools": {pool.name: [asdict(source) for source in pool.sources] for pool in self.pools},
        }


def read_plan(path: str | Path) -> Plan:
    """Read mixture.json. Raises ValueError where it is missing, damaged or not as mix.build wrote it."""
    values = read_json(path)
    try:
        plan = _from_json(values["plan"])
        found = values["identity"]
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ValueError(
            f"{path}: is not a mixture plan ({type(error).__name__}: {error}), so the order of rows is not known. "
            "Run mix.build again."
        ) from None
    if plan.identity != found:
        raise ValueError(
            f"{path}: identity: says {found}, but what stands there gives {plan.identity}, so the file was changed "
            "after mix.build wrote it, or by another version. Run mix.build again, with --domain and --replay for "
            "another ratio."
        )
    return plan


def share(number: float) -> Fraction:
    """A share as written in the pipeline file, exactly: 0.8 is 4/5."""
    return Fraction(str(number))


def _from_json(values: dict[str, Any]) -> Plan:
    (piece,) = values["schedule"]
    pools = []
    for name, sources in values["pools"].items():
        sources = [{**source, "shards": tuple(ShardFile(**shard) for shard in source["shards"])} for source in sources]
        pools.append(Pool(name, Fraction(piece["shares"][name]), tuple(Source(**source) for source in sources)))
    return Plan(values["seed"], values["seq_len"], values["tokenizer"], values["vocabulary_size"], tuple(pools))


@numba.njit(nogil=True, cache=True)
def _deal(tree, sizes, keys, first, source, row, epoch):  # type: ignore[no-untyped-def]
    """Write source, row and epoch of the global positions from `first` on, as many as the arrays hold."""
    for index in range(source.size):
        given = first + index  # rows the node was given before this one
        node = 0
        while node >= 0:
            left, goes_left = _passed_left(given, tree[node, 2], tree[node, 3])
            given = left if goes_left else given - left
            node = tree[node, 0] if goes_left else tree[node, 1]
        found = -1 - node
        size = sizes[found]
        source[index] = found
        epoch[index] = given // size
        row[index] = _permuted(given % size, size, _mix(keys[found] ^ _mix(np.uint64(given // size))))


@numba.njit(inline="always")
def _passed_left(given, left_weight, weight):  # type: ignore[no-untyped-def]
    """Node.passed_left(given), and whether the next row goes left; without overflow for weights below 2^31."""
    cycles = given // weight
    numerator = 2 * (given - cycles * weight) * left_weight + weight
    more = numerator // (2 * weight)
    return cycles * left_weight + more, numerator - more * 2 * weight + 2 * left_weight >= 2 * weight


@numba.njit(nogil=True, cache=True)
def _permuted(index, size, key):  # type: ignore[no-untyped-def]
    """Where a keyed permutation of [0, size) takes `index`: 4 Feistel rounds, again until the result is below `size`.

    The network permutes the numbers of 2 * half bits, at most four times `size`, so it is walked 4 times at most on
    average.
    """
    half = np.uint64(1)
    while np.uint64(1) << (np.uint64(2) * half) < np.uint64(size):
        half += np.uint64(1)
    mask = (np.uint64(1) << half) - np.uint64(1)
    value = np.uint64(index)
    while True:
        left, right = value >> half, value & mask
        for turn in range(4):
            left, right = right, left ^ (_mix(right ^ _mix(key + np.uint64(turn))) & mask)
        value = left << half | right
        if value < np.uint64(size):
            return np.int64(value)


@numba.njit(inline="always")
def _mix(value):  # type: ignore[no-untyped-def]
    """The 64-bit finaliser of MurmurHash3 (A. Appleby)."""
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ value >> np.uint64(33)
