"""Batches of a plan: numpy arrays gathered from memory-mapped shards, labels and positions derived on the way.

The loader has no state of its own: it answers for any global row. The trainer's whole state is how many rows it has
consumed and the plan's identity. Rank r of W takes rows [g + r * B / W, g + (r + 1) * B / W) of the global batch of B
rows that starts at row g, so the rows of a step, and their order over steps, are the same at every world size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np

from mix.plan import Plan
from mix.shards import Shard, read_shard

IGNORED = -100
"""Label of a position that has no next token in its own document."""


@dataclass(frozen=True)
class Batch:
    """Some consecutive rows of the plan; L is seq_len."""

    input: np.ndarray
    """int64 [rows, L]: tokens"""
    positions: np.ndarray
    """int64 [rows, L]: 0, 1, ... within each document's segment, and within the padding"""
    labels: np.ndarray
    """int64 [rows, L]: the next token of the same segment; IGNORED at its end and in padding"""
    source: np.ndarray
    """int64 [rows]: index into Plan.sources"""
    row: np.ndarray
    """int64 [rows]: row of that source"""
    epoch: np.ndarray
    """int64 [rows]: times that source was used up before"""


class Loader:
    """The rows of a plan for one rank."""

    def __init__(self, plan: Plan, folder: str | Path, global_batch: int, rank: int = 0, world: int = 1) -> None:
        """Open the shards in `folder` (a run's packed/).

        Raises ValueError where a shard is missing, damaged or not the plan's, and where `global_batch` rows cannot be
        shared equally by `world` ranks.
        """
        if global_batch % world:
            raise ValueError(
                f"train.global_batch: {global_batch} rows cannot be shared equally by {world} processes. "
                f"Set it to a multiple of {world}, or start another number of processes."
            )
        assert 0 <= rank < world
        self.plan, self.global_batch, self.rank, self.world = plan, global_batch, rank, world
        shards, self._first_shard, self._first_row = _open(plan, Path(folder))
        self._tokens = numba.typed.List([shard.tokens for shard in shards])
        self._offsets = numba.typed.List([shard.segment_offsets for shard in shards])
        self._lengths = numba.typed.List([shard.doc_lengths for shard in shards])
        self._rows = numba.typed.List([shard.doc_rows for shard in shards])

    @property
    def rows_per_rank(self) -> int:
        return self.global_batch // self.world

    def batch(self, first_row: int, rows: int) -> Batch:
        """The global rows [first_row, first_row + rows), whatever the rank."""
        found = self.plan.rows(first_row, rows)
        arrays = [np.empty((rows, self.plan.seq_len), np.int64) for _ in range(3)]
        where = (self._first_shard, self._first_row, found.source, found.row)
        _gather(self._tokens, self._offsets, self._lengths, self._rows, *where, *arrays)
        return Batch(arrays[0], arrays[1], arrays[2], found.source, found.row, found.epoch)

    def micro_batches(self, rows_consumed: int, rows: int) -> Iterator[Batch]:
        """This rank's part of the global batch after `rows_consumed` rows, at most `rows` at a time, in order."""
        first = rows_consumed + self.rank * self.rows_per_rank
        for start in range(0, self.rows_per_rank, rows):
            yield self.batch(first + start, min(rows, self.rows_per_rank - start))

    def state(self, rows_consumed: int) -> dict[str, Any]:
        """What a checkpoint keeps; no world size, no rank."""
        return {"rows": rows_consumed, "plan": self.plan.identity}

    def resume(self, state: dict[str, Any]) -> int:
        """Rows consumed at `state`. Raises ValueError where it is of another plan."""
        if state["plan"] != self.plan.identity:
            raise ValueError(
                f"mixture.json: the checkpoint was trained on plan {state['plan']}, this is plan {self.plan.identity}, "
                "so rows would be repeated or left out. Restore that mixture.json, or start a new run (train.run)."
            )
        return int(state["rows"])


def _open(plan: Plan, folder: Path) -> tuple[list[Shard], np.ndarray, np.ndarray]:
    """All shards, the first shard of each source [sources + 1], the first row of each shard in its source [shards]."""
    shards: list[Shard] = []
    first_shard, first_row = [0], []
    for _, source in plan.sources:
        row = 0
        for file in source.shards:
            shard = read_shard(folder / file.file, plan.tokenizer, plan.seq_len)
            if shard.rows != file.rows:
                raise ValueError(
                    f"{folder / file.file}: has {shard.rows} rows, but mixture.json says {file.rows}, so it is not the "
                    "shard that was planned with. Run mix.build again."
                )
            shards.append(shard)
            first_row.append(row)
            row += shard.rows
        assert row == source.rows
        first_shard.append(len(shards))
    return shards, np.array(first_shard, np.int64), np.array(first_row, np.int64)


@numba.njit(nogil=True, cache=True)
def _gather(tokens, offsets, lengths, doc_rows, first_shard, first_row, source, row, inputs, positions, labels):  # type: ignore[no-untyped-def]
    """Write tokens, positions and labels of the rows `row` of the sources `source` into the last three [B, L]."""
    for index in range(row.size):
        shard = first_shard[source[index]]
        last = first_shard[source[index] + 1] - 1
        while shard < last:  # the last shard that begins at or before the row
            middle = (shard + last + 1) // 2
            if first_row[middle] <= row[index]:
                shard = middle
            else:
                last = middle - 1
        within = row[index] - first_row[shard]
        begin, end = offsets[shard][within], offsets[shard][within + 1]
        _fill(
            tokens[shard][within],
            lengths[shard][begin:end],
            doc_rows[shard][begin:end],
            inputs[index],
            positions[index],
            labels[index],
        )


@numba.njit(nogil=True, cache=True)
def _fill(tokens, lengths, doc_rows, inputs, positions, labels):  # type: ignore[no-untyped-def]
    """One row [L]; plain loops from 0 over one array each are what the compiler turns into vector instructions."""
    for at in range(tokens.size):
        inputs[at] = tokens[at]
    following = tokens[1:]
    for at in range(following.size):
        labels[at] = following[at]
    begin = 0
    for segment in range(lengths.size):
        end = begin + lengths[segment]
        own = positions[begin:end]
        for at in range(own.size):
            own[at] = at
        labels[end - 1] = IGNORED
        if doc_rows[segment] < 0:
            labels[begin:end] = IGNORED
        begin = end
