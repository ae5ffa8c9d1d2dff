"""What a training run writes down: metrics.jsonl (a line a step) and journal.jsonl (what happened to the run).

A killed run leaves metrics beyond its newest checkpoint. Those steps are done again, so their lines go first; the file
then equals that of a run that was never killed, except for the two timing fields.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

from curate.files import write_text

TIMING = ("tokens_per_second", "data_wait_share")
"""Fields of metrics.jsonl that differ from run to run."""

COURSE = ("start", "resume", "finish", "checkpoint_damaged", "checkpoint_unfinished", "archive_failed")
"""Events that are no decisions."""


class Records:
    """The two files of a run; only one rank may have one."""

    def __init__(self, folder: Path):
        self._metrics, self.journal = folder / "metrics.jsonl", folder / "journal.jsonl"

    def rewind(self, step: int) -> None:
        """Drop metrics after `step`, and a last line of either file that was cut off.

        A run that begins again at 0 measures the base again, so that line goes as well.
        """
        for path, last in ((self._metrics, step or -1), (self.journal, math.inf)):
            if path.exists():
                lines = [json.dumps(line) + "\n" for line in read(path) if line["step"] <= last]
                write_text(path, "".join(lines))

    def metrics(self, **values: Any) -> None:
        """Add a line to metrics.jsonl."""
        _append(self._metrics, values)

    def event(self, name: str, step: int, **details: Any) -> None:
        """Add a line to journal.jsonl, on disk when this returns: the run's course, or a decision made after `step`."""
        _append(self.journal, {"event": name, "step": step, **details}, sync=True)


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl or journal.jsonl; a last line that was cut off is left out."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if _whole(line)]


def _append(path: Path, values: dict[str, Any], sync: bool = False) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(values, allow_nan=False) + "\n")
        if sync:
            file.flush()
            os.fsync(file.fileno())


def _whole(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
