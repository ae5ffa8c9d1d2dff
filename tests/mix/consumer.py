"""A job that consumes a run's mixture as training does, until it is done or killed; test_restarts.py kills it.

    echo "ATTEMPT WORLD" | python tests/mix/consumer.py RUN FOLDER STEPS

WORLD processes share every global batch. Each writes what it was given to FOLDER/<attempt>-<rank>.jsonl, a line a row,
on disk before the step counts as done; every CHECKPOINT_EVERY steps the first one writes FOLDER/checkpoint.json, where
the next attempt goes on.
"""

import json
import multiprocessing
import os
import sys
import time
import zlib
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from curate.files import read_json, write_json
from mix.loader import Loader
from mix.plan import Plan
from mix.plan_file import read_plan
from mix.shards import Shard, read_shard

GLOBAL_BATCH = 24
MICRO_BATCH = 5
CHECKPOINT_EVERY = 3
STEP_SECONDS = 0.02


def main(run: Path, folder: Path, steps: int) -> None:
    """Start the attempts asked for, one after the other, as process groups of their own; say their pid and exit code.

    They are forked from here after everything is imported and compiled, which saves two seconds an attempt.
    """
    Loader(read_plan(run / "mixture.json"), run / "packed", GLOBAL_BATCH).batch(0, 1)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.setsid()
            os._exit(job(run, folder, steps, *map(int, line.split())))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def job(run: Path, folder: Path, steps: int, attempt: int, world: int) -> int:
    """One attempt: as many processes as ranks. Returns the worst exit code."""
    plan = read_plan(run / "mixture.json")
    documents = Documents(plan, run / "packed")
    context = multiprocessing.get_context("fork")
    together = context.Barrier(world)
    ranks = [
        context.Process(target=consume, args=(plan, run, folder, attempt, rank, world, steps, together, documents))
        for rank in range(world)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    return max(abs(rank.exitcode or 0) for rank in ranks)


def consume(
    plan: Plan,
    run: Path,
    folder: Path,
    attempt: int,
    rank: int,
    world: int,
    steps: int,
    together: Barrier,
    documents: "Documents",
) -> None:
    """One rank, from the checkpoint to the last step."""
    loader = Loader(plan, run / "packed", GLOBAL_BATCH, rank, world)
    checkpoint = folder / "checkpoint.json"
    rows = loader.resume(read_json(checkpoint)) if checkpoint.exists() else 0
    together.wait()
    batches = loader.batches(rows, MICRO_BATCH)
    with open(folder / f"{attempt}-{rank}.jsonl", "w") as log:
        for step in range(rows // GLOBAL_BATCH, steps):
            position = step * GLOBAL_BATCH + rank * loader.rows_per_rank
            end = position + loader.rows_per_rank
            while position < end:
                batch = next(batches)
                for index, (source, row, epoch) in enumerate(
                    zip(batch.source.tolist(), batch.row.tolist(), batch.epoch.tolist(), strict=True)
                ):
                    tokens = zlib.crc32(batch.input[index].tobytes())
                    line = [step, rank, position, source, row, epoch, tokens, list(documents.of(source, row))]
                    log.write(json.dumps(line) + "\n")
                    position += 1
            log.flush()
            os.fsync(log.fileno())
            time.sleep(STEP_SECONDS)
            together.wait()
            if rank == 0 and (step + 1) % CHECKPOINT_EVERY == 0:
                write_json(checkpoint, loader.state((step + 1) * GLOBAL_BATCH))
    batches.close()


class Documents:
    """The documents in a run's rows, as the shards say."""

    def __init__(self, plan: Plan, packed: Path) -> None:
        folders = [packed / pool.name / source.name for pool, source in plan.sources]
        self._shards: list[Shard] = [read_shard(folder / "00000.arrow") for folder in folders]
        assert all(len(source.shards) == 1 for _, source in plan.sources)
        self._ids: list[list[str]] = [
            pq.read_table(folder / "documents.parquet", columns=["id"], use_threads=False)["id"].to_pylist()
            for folder in folders
        ]

    def of(self, source: int, row: int) -> Iterator[tuple[str, int, int]]:
        """Id, first token and tokens of each segment of a row, padding left out."""
        shard = self._shards[source]
        for at in range(shard.segment_offsets[row], shard.segment_offsets[row + 1]):
            if shard.doc_rows[at] >= 0:
                document = self._ids[source][shard.doc_rows[at]]
                yield document, int(shard.doc_starts[at]), int(shard.doc_lengths[at])


def read_log(folder: Path, attempt: int, world: int) -> list[list[Any]]:
    """The lines of all ranks of an attempt in the order of steps and ranks; one that was cut off is left out."""
    lines = []
    for rank in range(world):
        path = folder / f"{attempt}-{rank}.jsonl"
        text = path.read_text() if path.exists() else ""
        lines += [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return sorted(lines, key=lambda line: line[:2])  # stable: within a rank's step the order stays as written


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
