"""What a training run writes down: metrics.jsonl (a line a step) and journal.jsonl (what happened to the run).

A killed run leaves metrics beyond its newest checkpoint. Those steps are done again, so their lines go first; the file
then equals that of a run that was never killed, except for the two timing fields.
"""

import json
from pathlib import Path
from typing import Any

from curate.files import aside

TIMING = ("tokens_per_second", "data_wait_share")
"""Fields of metrics.jsonl that differ from run to run."""


class Records:
    """The two files of a run; only one rank may have one."""

    def __init__(self, folder: Path):
        self._metrics, self._journal = folder / "metrics.jsonl", folder / "journal.jsonl"

    def rewind(self, step: int) -> None:
        """Drop metrics after `step`, and a last line that was cut off."""
        if not self._metrics.exists():
            return
        kept = [line for line in self._metrics.read_text(encoding="utf-8").splitlines() if _step(line) <= step]
        with aside(self._metrics) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def metrics(self, **values: Any) -> None:
        """Add a line to metrics.jsonl."""
        _append(self._metrics, values)

    def event(self, name: str, step: int, **details: Any) -> None:
        """Add a line to journal.jsonl: start, resume, finish."""
        _append(self._journal, {"event": name, "step": step, **details})


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl or journal.jsonl; a last line that was cut off is left out."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if _whole(line)]


def _append(path: Path, values: dict[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(values, allow_nan=False) + "\n")


def _whole(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _step(line: str) -> float:
    return json.loads(line)["step"] if _whole(line) else float("inf")
