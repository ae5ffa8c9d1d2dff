"""The datatrove steps around the stages, and how a pass over all parts is run.

A pass is one datatrove pipeline: read or load parts, some stages, perhaps the final write. A task is a source (when
reading) or a share of the parts; datatrove marks finished tasks, so a killed pass goes on where it stopped.
"""

import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from datatrove.pipeline.base import PipelineStep

from curate.config import Executor
from curate.executors import execute, execute_here
from curate.files import read_json, write_json
from curate.parts import Batch, Part, save_ledger, write_frame
from curate.progress import Done, Tally, progress
from curate.records import read
from curate.sources import Source
from curate.stage import detail

PART_BYTES = 16_000_000
"""Bytes of text after which a part is closed, however few its documents."""


class ReadSources(PipelineStep):
    """Reads a source a task into parts; unreadable records go to the ledger of the stage `read`."""

    type, name = "CURATE", "read"

    def __init__(
        self, sources: list[Source], folder: Path, part_rows: int, stop_on_bad: bool, hide_bad: bool, tally: Tally
    ):
        """`hide_bad` keeps the beginnings of unreadable records, which nothing has redacted, out of the ledger."""
        super().__init__()
        self.hide_bad = hide_bad
        self.sources, self.folder, self.part_rows, self.stop_on_bad = sources, folder, part_rows, stop_on_bad
        self.tally = tally

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
        for index in range(rank, len(self.sources), world_size):
            yield from self._read(index, rank)

    def _read(self, index: int, rank: int) -> Iterator[Batch]:
        source = self.sources[index]
        documents = size = 0
        frames = self._frames(source)
        for number in itertools.count():
            with self.track_time():
                if (frame := next(frames, None)) is None:
                    break
                part = Part(source.pool, source.name, number, self.folder)
                bad = frame.filter(pl.col("reason").is_not_null())
                if self.hide_bad:
                    bad = bad.with_columns(excerpt=pl.lit(None, pl.String))
                save_ledger(self.folder, part, bad)
                good = frame.filter(pl.col("reason").is_null())
                documents, size = documents + frame.height, size + int(frame["bytes"].sum())
                batch = Batch(part, good.select("row", "id", "text", "pool", "source", "origin", "bytes"))
            yield batch
            self.tally.add(rank, frame.height, int(frame["bytes"].sum()), 0)
        self.tally.add(rank, 0, 0, source.bytes)
        counts = {"pool": source.pool, "source": source.name, "path": source.path, "identity": source.identity}
        write_json(self.folder / "counts" / f"{index:05d}.json", counts | {"documents": documents, "bytes": size})

    def _frames(self, source: Source) -> Iterator[pl.DataFrame]:
        ids: set[str] = set()
        rows: list[tuple[Any, ...]] = []
        size = first = 0
        for document in read(source):
            record, problem = document.metadata["record"], document.metadata.get("problem")
            if problem and self.stop_on_bad:
                raise ValueError(
                    f"{source.root}/{source.path}: record {record} {problem}, and curate.on_bad_record is stop. "
                    "Mend the record, or set on_bad_record: quarantine to drop it with a ledger entry."
                )
            unique = document.id
            while unique in ids:
                unique = f"{unique}#{record}"
            ids.add(unique)
            reason, evidence = (None, None)
            if problem:
                at = {"offset": document.metadata["offset"]} if "offset" in document.metadata else {}
                reason, evidence = "unreadable_record", detail(problem=problem, **at)
            origin = f"{source.path}#{record}"
            rows.append((f"{source.name}/{unique}", document.text, origin, reason, evidence))
            size += len(document.text)
            if len(rows) >= self.part_rows or size >= PART_BYTES:
                yield _frame(source, rows, first)
                first, rows, size = first + len(rows), [], 0
        if rows:
            yield _frame(source, rows, first)


class SaveParts(PipelineStep):
    """Writes the texts of each part, the one copy that later passes read."""

    type, name = "CURATE", "save parts"

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
        for batch in data:
            with self.track_time():
                write_frame(batch.part.path, batch.documents.drop("pool", "source"))
            yield batch


class LoadParts(PipelineStep):
    """Reads the rows that are left of this task's parts."""

    type, name = "CURATE", "load parts"

    def __init__(self, parts: list[Part], tally: Tally):
        super().__init__()
        self.parts, self.tally = parts, tally

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
        for part in self.parts[rank::world_size]:
            with self.track_time():
                batch = Batch(part, part.documents())
            yield batch
            self.tally.add(rank, batch.documents.height, int(batch.documents["bytes"].sum()), 1)


class _Once(PipelineStep):
    """Runs a function, in one task."""

    type = "CURATE"

    def __init__(self, label: str, work: Callable[[], None]):
        self.name = label
        super().__init__()
        self.work = work

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
        with self.track_time():
            self.work()
        yield from ()


@dataclass
class Runner:
    """Runs passes under one of datatrove's executors."""

    logs: Path
    """Folder of datatrove's logs, statistics and completion markers, a folder a pass."""
    engine: Executor
    used: list[str] = field(default_factory=list)
    """Names of the passes run or found finished."""

    def parts(self, name: str, tasks: int, steps: list[PipelineStep], whole: int) -> Done:
        """Run one pass of `tasks` tasks; what an earlier, killed run finished is not done again.

        `whole` is what the shares add up to that the first step counts.
        """
        self.used.append(name)
        with progress(name.split("-", 1)[-1], self.tally(name).folder, whole) as done:
            execute(self.engine, steps, min(tasks, self.engine.tasks), self.logs / name, ["curate.stages"])
        return done

    def tally(self, name: str) -> Tally:
        """Counts what a task of the pass has done."""
        return Tally(self.logs / name / "progress")

    def once(self, name: str, label: str, work: Callable[[], None]) -> None:
        """Run one function as a pass of one task, in this process; its time counts for the stage `label`."""
        self.used.append(name)
        execute_here([_Once(label, work)], self.logs / name)

    def forget(self, name: str) -> None:
        """Drop the completion markers of a pass, so that it runs again."""
        shutil.rmtree(self.logs / name, ignore_errors=True)

    def seconds(self, label: str) -> float:
        """Seconds all tasks together spent in one stage, from datatrove's statistics of the passes used."""
        total = 0.0
        for name in self.used:
            for path in sorted((self.logs / name / "stats").glob("*.json")):
                for step in read_json(path):
                    if step["name"].rsplit(": ", 1)[-1] == label:
                        total += step["time_stats"]["total"]
        return total


def mark_complete(folder: Path, seconds: float) -> None:
    """Say that everything in a stage's folder is there, and how long it took."""
    write_json(folder / "complete.json", {"seconds": round(seconds, 3)})


def is_complete(folder: Path) -> bool:
    """Whether `mark_complete` was reached for this folder."""
    return (folder / "complete.json").exists()


def parts_in(folder: Path, sources: Iterable[Source]) -> list[Part]:
    """The parts that `read` wrote, in global order."""
    parts = []
    for source in sources:
        number = 0
        while (part := Part(source.pool, source.name, number, folder)).path.exists():
            parts.append(part)
            number += 1
    return parts


def _frame(source: Source, rows: list[tuple[Any, ...]], first: int) -> pl.DataFrame:
    schema = {"id": pl.String, "text": pl.String, "origin": pl.String, "reason": pl.String, "detail": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_row_index("row", first).with_columns(
        pool=pl.lit(source.pool),
        source=pl.lit(source.name),
        bytes=pl.col("text").str.len_bytes().cast(pl.Int64),
    )
