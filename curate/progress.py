"""How far a pass is: each task counts what it has done into a small file, one bar adds them up."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


@dataclass
class Done:
    """What a pass, or a task of it, has been through."""

    documents: int = 0
    bytes: int = 0
    share: int = 0
    """Of the pass's whole: parts, or bytes of the source files."""
    seconds: float = 0.0


class Tally:
    """Counts one task's work. Lives in the task's own process; see `progress` for the sum over tasks."""

    def __init__(self, folder: Path):
        self.folder, self.done = folder, Done()

    def add(self, rank: int, documents: int, size: int, share: int) -> None:
        """Count some documents of `size` bytes, which are `share` of the whole, for the task `rank`."""
        done = self.done
        done.documents, done.bytes, done.share = done.documents + documents, done.bytes + size, done.share + share
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / str(rank)).write_text(f"{done.documents} {done.bytes} {done.share}")


@contextlib.contextmanager
def progress(label: str, folder: Path, whole: int) -> Iterator[Done]:
    """Shows documents/s, MB/s and the time left while a pass runs, on a terminal only; gives what was done inside."""
    before, started, result = _sum(folder), time.monotonic(), Done()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as bar:
        shown, stop = bar.add_task(label, total=whole, completed=before.share, rate=""), threading.Event()

        def look() -> None:
            now = _sum(folder)
            result.documents, result.bytes = now.documents - before.documents, now.bytes - before.bytes
            result.seconds = time.monotonic() - started
            bar.update(shown, completed=now.share, rate=rate(result))

        def watch() -> None:
            while not stop.wait(0.5):
                look()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield result
        finally:
            stop.set()
            watcher.join()
            look()


def rate(done: Done) -> str:
    """Documents/s and MB/s of what was done."""
    seconds = max(done.seconds, 1e-9)
    return f"{done.documents / seconds:,.0f} documents/s, {done.bytes / seconds / 1e6:.1f} MB/s"


def _sum(folder: Path) -> Done:
    total = Done()
    for path in folder.glob("*") if folder.exists() else ():
        counts = path.read_text().split()
        if len(counts) == 3:  # a file just being written has none
            total.documents += int(counts[0])
            total.bytes += int(counts[1])
            total.share += int(counts[2])
    return total
