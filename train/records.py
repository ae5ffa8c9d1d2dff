"""What a training run writes down: metrics.jsonl (a line a step) and journal.jsonl (what happened to the run).

A killed run leaves metrics beyond its newest checkpoint. Those steps are done again, so their lines go first; the file
then equals that of a run that was never killed, except for the fields of TIMING. Lines of steps that were rolled back
are kept apart in metrics.rolled_back.jsonl. A figure that is not a finite number is written as null.
"""

import json
import math
import os
from pathlib import Path
from typing import Any, BinaryIO

from curate.files import write_text
from mix import journal

TIMING = ("tokens_per_second", "mfu", "data_wait_share", "memory_gib")
"""Fields of metrics.jsonl that differ from run to run: see ContinuedTrainer._figures."""

COURSE = (
    *("start", "resume", "finish", "signal", "rolled_back", "stopped"),
    *("checkpoint_damaged", "checkpoint_unfinished", "archive_failed"),
    "thresholds",
)
"""Events that are no decisions."""


class Records:
    """The two files of a run; only one rank may have one."""

    def __init__(self, folder: Path):
        self._metrics, self.journal = folder / "metrics.jsonl", folder / "journal.jsonl"
        self._apart = folder / "metrics.rolled_back.jsonl"

    def discard(self) -> None:
        """Forget all, for a run that begins anew with other settings."""
        for path in (self._metrics, self._apart, self.journal):
            path.unlink(missing_ok=True)

    def rewind(self, step: int) -> None:
        """Drop metrics after `step`, and a last line of either file that was cut off.

        A run that begins again at 0 measures the base again, so that line goes as well.
        """
        for path, last in ((self._metrics, step or -1), (self.journal, math.inf)):
            if path.exists():
                _write(path, [line for line in read(path) if line["step"] <= last])

    def set_apart(self, step: int, number: int) -> None:
        """Move metrics after `step` to metrics.rolled_back.jsonl, marked as those of roll-back `number`.

        A kill in between leaves them in both files; the next call then writes them once.
        """
        lines = read(self._metrics)
        gone = [line | {"roll_back": number} for line in lines if line["step"] > step]
        if gone:
            before = read(self._apart) if self._apart.exists() else []
            _write(self._apart, [line for line in before if line["roll_back"] != number] + gone)
            _write(self._metrics, [line for line in lines if line["step"] <= step])

    def metrics(self, **values: Any) -> None:
        """Add a line to metrics.jsonl."""
        _append(self._metrics, {name: _finite(value) for name, value in values.items()})

    def event(self, name: str, step: int, **details: Any) -> None:
        """Add a line to journal.jsonl, on disk when this returns: the run's course, or a decision made after `step`."""
        _append(self.journal, {"event": name, "step": step, **details}, sync=True)


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl or journal.jsonl; a last line that was cut off is left out.

    Raises ValueError where the file is missing, or another line is damaged.
    """
    return journal.read_lines(path)


def _write(path: Path, lines: list[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _append(path: Path, values: dict[str, Any], sync: bool = False) -> None:
    line = json.dumps(values, allow_nan=False) + "\n"
    with open(path, "ab+") as file:
        _drop_cut_line(file)
        file.write(line.encode())
        if sync:
            file.flush()
            os.fsync(file.fileno())


def _drop_cut_line(file: BinaryIO) -> None:
    """Cut off a last line without its end, which a kill left: the next one would be joined to it."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(end - 1, 0))
    if file.read(1) not in (b"", b"\n"):
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
