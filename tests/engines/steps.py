"""A pass to try executors with: a step that writes a file an item."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep


class WriteItems(PipelineStep):
    """Writes the rank and the number of tasks into a file for each of its items, or fails at the item `bad`.

    At the item `deadly` its process is killed, the first time.
    """

    type, name = "TEST", "write items"

    def __init__(self, folder: Path, items: int, bad: int | None = None, deadly: int | None = None):
        super().__init__()
        self.folder, self.items, self.bad, self.deadly = folder, items, bad, deadly

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        self.folder.mkdir(parents=True, exist_ok=True)
        for item in range(rank, self.items, world_size):
            if item == self.bad:
                raise ValueError(f"item {item} is bad")
            killed = self.folder / "killed"
            if item == self.deadly and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            (self.folder / str(item)).write_text(f"{rank} of {world_size}")
        yield from ()
