"""Batches of a plan: arrays gathered from memory-mapped shards, labels and positions derived on the way.

The loader has no state of its own: it answers for any global row. The trainer's whole state is how many rows it has
consumed and the plan's identity. Rank r of W takes rows [g + r * B / W, g + (r + 1) * B / W) of the global batch of B
rows that starts at row g, so the rows of a step, and their order over steps, are the same at every world size.

Arrays are int64, which is what torchtitan's embedding and loss take. Gathering into int32 would take 0.7 of the time
(tests/benchmarks/loader.py), but 8 x 4096 tokens take 40 us, and torch would have to widen them again.
"""

import atexit
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, TypeVar

import numba
import numpy as np

from mix.gather import IGNORED, gather, gather_tokens
from mix.plan import Plan
from mix.shards import Shard, read_shard

__all__ = ["IGNORED", "Batch", "Loader", "ahead", "numpy_empty"]

LOT_TOKENS, LOT_BATCHES = 1 << 17, 16
"""Batches gathered in one go: as many as have these tokens, at least 1, at most these. Handing one batch of 8 x 4096
from thread to thread takes as long as gathering half of it."""
AHEAD = 2
"""Lots gathered before they are asked for."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Batch:
    """Some rows of the plan in its order; L is seq_len."""

    input: Any
    """int64 [rows, L]: tokens. This and the next two are of the kind that the loader's `empty` makes."""
    positions: Any
    """int64 [rows, L]: 0, 1, ... within each document's segment, and within the padding"""
    labels: Any
    """int64 [rows, L]: the next token of the same segment; IGNORED at its end and in padding"""
    source: np.ndarray
    """int64 [rows]: index into Plan.sources"""
    row: np.ndarray
    """int64 [rows]: row of that source"""
    epoch: np.ndarray
    """int64 [rows]: times that source was used up before"""

    def __getitem__(self, rows: slice) -> "Batch":
        """Some of its rows; the arrays are views."""
        arrays = (self.input, self.positions, self.labels, self.source, self.row, self.epoch)
        return Batch(*(array[rows] for array in arrays))


def numpy_empty(shape: tuple[int, int]) -> np.ndarray:
    """Memory for int64 [rows, L]."""
    return np.empty(shape, np.int64)


class Loader:
    """The rows of a plan for one rank."""

    def __init__(
        self,
        plan: Plan,
        folder: str | Path,
        global_batch: int,
        rank: int = 0,
        world: int = 1,
        empty: Callable[[tuple[int, int]], Any] = numpy_empty,
    ) -> None:
        """Open the shards in `folder` (a run's packed/).

        `empty` makes the arrays [rows, L] that batches are written into: numpy's, or CPU tensors (pinned for a GPU).
        It is called for every lot anew, so whoever holds a batch may keep it; reuse is left to its allocator.

        Raises ValueError where a shard is missing, damaged or not the plan's, and where `global_batch` rows cannot be
        shared equally by `world` ranks.
        """
        if global_batch < 1 or global_batch % world:
            raise ValueError(
                f"train.global_batch: {global_batch} rows cannot be shared equally by {world} processes. "
                f"Set it to a multiple of {world}, or start another number of processes."
            )
        if plan.global_batch not in (None, global_batch):
            raise ValueError(
                f"train.global_batch: {global_batch}, but mixture.json counts its schedule in steps of "
                f"{plan.global_batch} rows. Run mix.build again with this train.global_batch."
            )
        assert 0 <= rank < world
        self.plan, self.global_batch, self.rank, self.world = plan, global_batch, rank, world
        self._empty = empty
        self._files, shards, self._first_shard, self._first_row = _open(plan, Path(folder))
        self._tokens = numba.typed.List([shard.tokens for shard in shards])
        self._offsets = numba.typed.List([shard.segment_offsets for shard in shards])
        self._lengths = numba.typed.List([shard.doc_lengths for shard in shards])
        self._rows = numba.typed.List([shard.doc_rows for shard in shards])

    @property
    def rows_per_rank(self) -> int:
        """Rows of a global batch that this rank loads."""
        return self.global_batch // self.world

    def batch(self, first_row: int, rows: int) -> Batch:
        """The global rows [first_row, first_row + rows), whatever the rank.

        Raises ValueError where a shard's segments do not add to seq_len, or an id is not below the vocabulary size.
        """
        return self._gathered([(first_row, rows)])

    def tokens(self, first_row: int, rows: int) -> Any:
        """[rows, L]: the input of the same batch alone, without positions and labels."""
        found = self.plan.rows(first_row, rows)
        inputs = self._empty((rows, self.plan.seq_len))
        shards = (self._tokens, self._first_shard, self._first_row, self.plan.vocabulary_size)
        bad = gather_tokens(*shards, found.source, found.row, np.asarray(inputs))
        if bad >= 0:
            raise self._damaged(int(found.source[bad]), int(found.row[bad]))
        return inputs

    def batches(self, rows_consumed: int, rows: int) -> Generator[Batch, None, None]:
        """This rank's parts of the global batches after `rows_consumed` rows, at most `rows` at a time, without end.

        They are gathered on a thread, which ends when the generator is closed or dropped. At most AHEAD lots are
        ready before they are asked for: 24 bytes a token.
        """
        with closing(ahead(self._lots(rows_consumed, rows), AHEAD)) as lots:
            for lot in lots:
                yield from lot

    def state(self, rows_consumed: int) -> dict[str, Any]:
        """What a checkpoint keeps; no world size, no rank."""
        return {"rows": rows_consumed, "plan": self.plan.base.identity}

    def resume(self, state: dict[str, Any]) -> int:
        """Rows consumed at `state`. Raises ValueError where it is of another plan."""
        if state["plan"] != self.plan.base.identity:
            raise ValueError(
                f"mixture.json: the checkpoint was trained on plan {state['plan']}, this is {self.plan.base.identity}, "
                "so rows would be repeated or left out. Restore that mixture.json, or start a new run (train.run)."
            )
        return int(state["rows"])

    def _lots(self, rows_consumed: int, rows: int) -> Iterator[list[Batch]]:
        """The same batches, some at a time, gathered in one go."""
        spans = self._spans(rows_consumed, rows)
        tokens = min(rows, self.rows_per_rank) * self.plan.seq_len
        together = min(max(1, LOT_TOKENS // tokens), LOT_BATCHES)
        while True:
            some = list(islice(spans, together))
            lot = self._gathered(some)
            ends = np.cumsum([count for _, count in some]).tolist()
            yield [lot[end - count : end] for end, (_, count) in zip(ends, some, strict=True)]

    def _spans(self, rows_consumed: int, rows: int) -> Iterator[tuple[int, int]]:
        """First global row and number of rows of each batch."""
        first = rows_consumed + self.rank * self.rows_per_rank
        while True:
            for start in range(0, self.rows_per_rank, rows):
                yield first + start, min(rows, self.rows_per_rank - start)
            first += self.global_batch

    def _gathered(self, spans: list[tuple[int, int]]) -> Batch:
        """The global rows of all spans, one after the other."""
        found = [self.plan.rows(first, count) for first, count in spans]
        source, row, epoch = (
            np.concatenate([getattr(rows, name) for rows in found]) for name in ("source", "row", "epoch")
        )
        inputs, positions, labels = (self._empty((len(row), self.plan.seq_len)) for _ in range(3))
        shards = (self._tokens, self._offsets, self._lengths, self._rows, self._first_shard, self._first_row)
        bad = gather(
            *shards,
            self.plan.vocabulary_size,
            source,
            row,
            np.asarray(inputs),
            np.asarray(positions),
            np.asarray(labels),
        )
        if bad >= 0:
            raise self._damaged(int(source[bad]), int(row[bad]))
        return Batch(inputs, positions, labels, source, row, epoch)

    def _damaged(self, source: int, row: int) -> ValueError:
        shards = slice(self._first_shard[source], self._first_shard[source + 1])
        shard = shards.start + int(np.searchsorted(self._first_row[shards], row, "right")) - 1
        return ValueError(
            f"{self._files[shard]}: doc_lengths: row {row - self._first_row[shard]} does not add to "
            f"{self.plan.seq_len} tokens, so its documents cannot be told apart, or it has a token id that is not "
            f"below {self.plan.vocabulary_size}. The file was changed after mix.build wrote it: delete it and run "
            "mix.build again."
        )


def ahead(items: Iterator[Item], count: int) -> Generator[Item, None, None]:
    """The items of an iterator that runs on a thread, at most `count` of them before they are asked for.

    An error of the iterator is raised here, after the items before it. The thread ends with the iterator, and when
    this generator is closed or dropped, or the process exits.
    """
    wanted: SimpleQueue[None] = SimpleQueue()
    ready: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
    stopped = Event()

    def work() -> None:
        while True:
            wanted.get()
            if stopped.is_set():
                return
            try:
                ready.put((next(items), None))
            except BaseException as error:  # whatever it is, the consumer waits for an answer
                ready.put((None, error))
                return

    def stop() -> None:
        stopped.set()
        wanted.put(None)
        thread.join()

    thread = Thread(target=work, name="loader", daemon=True)
    for _ in range(count):
        wanted.put(None)
    thread.start()
    atexit.register(stop)
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            wanted.put(None)
            yield item
    finally:
        atexit.unregister(stop)
        stop()


def _open(plan: Plan, folder: Path) -> tuple[list[Path], list[Shard], np.ndarray, np.ndarray]:
    """Files and shards, first shard of each source [sources + 1], first row of each shard in its source [shards]."""
    files: list[Path] = []
    shards: list[Shard] = []
    first_shard, first_row = [0], []
    for pool, source in plan.sources:
        row = 0
        for file in source.shards:
            path = folder / file.file
            shard = read_shard(path, plan.tokenizer, plan.seq_len)
            _check(path, shard, {"pool": pool.name, "source": source.name, "vocabulary_size": plan.vocabulary_size})
            if shard.rows != file.rows:
                raise ValueError(
                    f"{path}: has {shard.rows} rows, but mixture.json says {file.rows}, so it is not the shard that "
                    "was planned with. Run mix.build again."
                )
            files.append(path)
            shards.append(shard)
            first_row.append(row)
            row += shard.rows
        assert row == source.rows
        first_shard.append(len(shards))
    return files, shards, np.array(first_shard, np.int64), np.array(first_row, np.int64)


def _check(path: Path, shard: Shard, wanted: dict[str, str | int]) -> None:
    for key, value in wanted.items():
        found = getattr(shard.header, key)
        if found != value:
            raise ValueError(
                f"{path}: {key}: the shard was made for {found}, but mixture.json has {value} here, so it is not the "
                "shard that was planned with. Run mix.build again."
            )
