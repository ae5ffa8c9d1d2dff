"""The mixture plan: which row of which source stands at global position g.

The answer is a pure function of (plan, g): no state, no index arrays, the same at every world size, and as quick at
step 1e9 as at step 0 (0.1 to 0.2 us a row).

Which shares: `schedule` has knots by step, `changes` has changes by row; mix.schedule makes pieces of them, from a
global row to the next piece's, in each of which the shares are constant. A global batch lies in one piece, unless a
change begins inside it. The piece of g is found by binary search.

Which source: positions are dealt out through a binary tree whose leaves are the sources. A node that has been given m
rows in a piece has passed floor(x + m * left / (left + right)) of them to its left child and the rest to its right; x
is what earlier pieces left over of a row, 1/2 at the start, as an exact fraction (mix.tree). So what has been passed
left since row 0 is always the sum of its parts over all pieces, rounded to the nearest row, and nothing drifts at any
position, through any number of pieces. Pools part at the root, so

- of two pools, each one's rows are within one row of its share in any run of consecutive rows (a global batch, a rank's
  slice of it, a micro-batch), and after any number of rows the error is at most half a row;
- inside a pool, sources are dealt by their weights: by their numbers of rows where nothing else is asked for, so that
  they run out together: each time the pool is used up, every source has been used up exactly. In between, where its
  weights are constant, a source is less than 1.7 rows from its share of the pool's rows, for any number of sources
  (`Plan.error_bounds` has the figure of this plan; mix.tree has the reason). One row in every run of rows, as for
  pools, is not to be had: by A. S. Fraenkel's conjecture on balanced sequences no order of three or more sources is
  that even, but for a few weights.

Which row: the n-th row taken from a source of R rows is row permutation(n mod R) of epoch n div R, where the
permutation is a Feistel network over the bits of R, walked until it lands below R (Black and Rogaway 2002, cycle
walking), with a key made of seed, pool, source and epoch. A source's order does not change when others come or go, or
when shares change. The network runs backwards as well, so `Plan.places` finds the positions of a row.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from curate.files import identity
from mix import deal, tree
from mix.schedule import Change, Knot, Piece, Shares, expand, within

ORDER = 1
"""Raised when this module deals rows out in another order than before: plans made before are then other plans."""
_SHARE = re.compile(r"-?\d{1,400}(\.\d{1,400})?(e-?\d{1,3})?|-?\d{1,400}/\d{1,400}")
LAST = 1 << 62
"""Positions are below this."""


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
    """Documents that stand in more than one piece."""
    shards: tuple[ShardFile, ...]


@dataclass(frozen=True)
class Pool:
    """A pool and its share of all rows at step 0."""

    name: str
    share: Fraction
    sources: tuple[Source, ...]

    @property
    def rows(self) -> int:
        """Of all its sources."""
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
    """Everything the order of rows depends on; mix.plan_file reads it from mixture.json."""

    seed: int
    seq_len: int
    tokenizer: str
    vocabulary_size: int
    pools: tuple[Pool, ...]
    schedule: tuple[Knot, ...] = ()
    """Shares by step, steps rising. By default the pools' shares throughout, sources by their numbers of rows."""
    global_batch: int | None = None
    """Rows of a step, which a schedule of more than one knot counts in; None where the shares are constant."""
    changes: tuple[Change, ...] = ()
    """Changes made while training (`with_change`), by row."""

    def __post_init__(self) -> None:
        if not self.schedule:
            weights = tuple(tuple(source.rows for source in pool.sources) for pool in self.pools)
            knot = Knot(0, Shares(tuple(pool.share for pool in self.pools), weights))
            object.__setattr__(self, "schedule", (knot,))
        first = self.schedule[0].shares
        assert first.pools == tuple(pool.share for pool in self.pools)
        assert [len(weights) for weights in first.sources] == [len(pool.sources) for pool in self.pools]
        assert len(self.schedule) == 1 or self.global_batch

    @cached_property
    def sources(self) -> tuple[tuple[Pool, Source], ...]:
        """Every source with its pool, in the order that `Rows.source` counts."""
        return tuple((pool, source) for pool in self.pools for source in pool.sources)

    @cached_property
    def identity(self) -> str:
        """16 hex digits that stand for the order of rows and for their contents."""
        return identity({"order": ORDER, **self.to_json()})

    @cached_property
    def pieces(self) -> list[Piece]:
        """The shares by global row."""
        return expand(self.schedule, self.global_batch or 1, self.changes)

    @cached_property
    def base(self) -> "Plan":
        """The plan as mix.build made it, without changes."""
        return replace(self, changes=())

    @cached_property
    def error_bounds(self) -> list[float]:
        """Most rows by which each source can be away from its share of its pool's rows, at any position."""
        bounds = self._tree.error_bounds(self.pieces)
        return [bounds.get(source, 0.0) for source in range(len(self.sources))]

    @cached_property
    def _tree(self) -> tree.Tree:
        """Changes have no part in its shape, so they leave the order before them as it was."""
        return tree.plant(self.schedule, [[source.rows for source in pool.sources] for pool in self.pools])

    @cached_property
    def _tables(self) -> tree.Tables:
        return tree.tabulate(self._tree, self.pieces, len(self.sources))

    @cached_property
    def _sizes(self) -> np.ndarray:
        """int64 [sources]: rows of each."""
        return np.array([source.rows for _, source in self.sources], np.int64)

    @cached_property
    def _keys(self) -> np.ndarray:
        """uint64 [sources]: the key of each one's permutations."""
        keys = [int(identity([self.seed, pool.name, source.name]), 16) for pool, source in self.sources]
        return np.array(keys, np.uint64)

    def rows(self, first: int, count: int) -> Rows:
        """The rows at the global positions [first, first + count)."""
        assert 0 <= first and first + count < LAST
        found = Rows(*(np.empty(count, np.int64) for _ in range(3)))
        tables = self._tables
        where = (tables.first_row, tables.children, tables.numbers, tables.taken)
        deal.deal(*where, self._sizes, self._keys, first, found.source, found.row, found.epoch)
        return found

    def taken(self, rows: int) -> list[int]:
        """How many of the first `rows` rows each source gives."""
        tables = self._tables
        piece = bisect_right(tables.first_row, rows) - 1
        more = rows - int(tables.first_row[piece])
        counts, _ = tree.deal(tables.children, tables.numbers[piece], more, len(self.sources))
        return [count + before for count, before in zip(counts, tables.taken[piece].tolist(), strict=True)]

    def asked(self, rows: int) -> list[Fraction]:
        """What the shares ask each source to give of the first `rows` rows, exactly; `taken` rounds it."""
        wanted = [Fraction(0)] * len(self.sources)
        for count, shares in within(self.pieces, rows):
            parts = [
                count * share * weight / (sum(weights) or 1)
                for share, weights in zip(shares.pools, shares.sources, strict=True)
                for weight in weights
            ]
            wanted = [before + part for before, part in zip(wanted, parts, strict=True)]
        return wanted

    def places(self, source: int, row: int, rows: int) -> list[int]:
        """All global positions below `rows` where row `row` of a source (index into `sources`) stands, rising.

        One for each epoch of the source that gets as far as the row.
        """
        size = int(self._sizes[source])
        assert 0 <= row < size and 0 <= rows < LAST
        given = self.taken(rows)[source]
        within = deal.places_in_epochs(row, size, self._keys[source], -(-given // size)).tolist()
        wanted = [epoch * size + place for epoch, place in enumerate(within)]
        return [
            bisect_right(range(rows), nth, key=lambda position: self.taken(position + 1)[source])
            for nth in wanted
            if nth < given
        ]

    def with_change(self, first_row: int, shares: Mapping[str, Fraction | float | str]) -> "Plan":
        """This plan up to `first_row`; from there on the pools have `shares` (pool -> share), constant.

        Bit for bit the same order before `first_row`. Inside the pools the weights go on as the schedule has them, so
        that a phase keeps its sources. Can be called again, for the same row (the later call holds) or for a later one.

        A training run that changes the ratio keeps mixture.json as it is and has the changes in its journal. Whoever
        trains has to

        1. write the event {"event": "ratio", "step": s, "first_row": r, "shares": {"domain": "7/10", ...}} to disk, r
           at or after the end of the last batch asked for (prefetched ones included; a multiple of the global batch
           keeps every batch under one set of shares), before a row from r on is asked for;
        2. keep {"rows": rows consumed, "plan": plan.base.identity} in the checkpoint;
        3. on resume read mixture.json, refuse another base identity, and call `with_change` for every event of the
           journal in its order, also for those after the checkpoint: their steps are done again as they were
           first done. A monitor must not judge again a step that has its event; at another world size it might judge
           otherwise.

        Raises ValueError where a pool is unknown, left out or has no rows, where the shares are not 1 together, or
        where `first_row` lies before an earlier change.
        """
        assert first_row >= 0
        names = [pool.name for pool in self.pools]
        parts = {pool: share(part) for pool, part in shares.items()}
        told = f"change of shares at row {first_row:,} to {', '.join(f'{name} {part}' for name, part in parts.items())}"
        if set(parts) != set(names):
            raise ValueError(f"{told}: the plan's pools are {', '.join(names)}. Give the share of each of them.")
        if sum(parts.values()) != 1 or min(parts.values()) < 0 or max(p.denominator for p in parts.values()) >= 1 << 31:
            raise ValueError(f"{told}: shares are from 0 to 1, together 1, with 9 decimals at most.")
        for pool in self.pools:
            if parts[pool.name] and not pool.rows:
                raise ValueError(f"{told}: the pool {pool.name} has no rows, so it can have no share.")
        if first_row < (self.changes[-1].first_row if self.changes else 0):
            raise ValueError(f"{told}: lies before an earlier change, at row {self.changes[-1].first_row:,}.")
        earlier = [change for change in self.changes if change.first_row < first_row]
        return replace(self, changes=(*earlier, Change(first_row, tuple(parts[name] for name in names))))

    def to_json(self) -> dict[str, Any]:
        """The plan as it stands in mixture.json."""
        names = [pool.name for pool in self.pools]
        schedule = [
            {
                "step": knot.step,
                "shares": _named(names, map(str, knot.shares.pools)),
                "weights": _named(names, map(list, knot.shares.sources)),
            }
            for knot in self.schedule
        ]
        changes = [
            {"first_row": change.first_row, "shares": _named(names, map(str, change.pools))} for change in self.changes
        ]
        return {
            "seed": self.seed,
            "seq_len": self.seq_len,
            "tokenizer": self.tokenizer,
            "vocabulary_size": self.vocabulary_size,
            "schedule": schedule,
            "global_batch": self.global_batch,
            "changes": changes,
            "pools": {pool.name: [asdict(source) for source in pool.sources] for pool in self.pools},
        }


def share(number: float | Fraction | str) -> Fraction:
    """A share as written in the pipeline file, exactly: 0.8 is 4/5. Raises ValueError where it is no number."""
    text = str(number)
    if not _SHARE.fullmatch(text):  # Fraction would work on 1e999999999 for hours
        raise ValueError(f"{text[:40]!r} is no share")
    return Fraction(text)


def _named(names: list[str], values: Any) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))
