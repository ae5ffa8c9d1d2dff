"""What a training run's journal says about its rows: which decisions stand, and where the rows of each step begin.

Rows are consumed once. A roll-back {"event": "roll_back", "step": s, "to": t, "first_row": r} takes the step counter
back to t, but step t + 1 is then made with the rows from r on: those that steps t + 1 to s had are skipped. What was
decided after step t and before the roll-back is void.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROLL_BACK = "roll_back"
JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class Rows:
    """Where the rows of each step that stands begin."""

    global_batch: int
    """Rows of a step."""
    spans: tuple[tuple[int, int], ...] = ((1, 0),)
    """(first step, first row) of the steps between two roll-backs; both rise."""

    def first(self, step: int) -> int:
        """The first row of a step (from 1 on), which is also the number of rows consumed or skipped before it."""
        begin, row = [span for span in self.spans if span[0] <= step][-1]
        return row + (step - begin) * self.global_batch

    def step(self, row: int) -> int | None:
        """The step that has a row; None where it was skipped by a roll-back."""
        number = bisect_right([first for _, first in self.spans], row) - 1
        begin, first = self.spans[number]
        step = begin + (row - first) // self.global_batch
        skipped = number + 1 < len(self.spans) and step >= self.spans[number + 1][0]
        return None if skipped else step


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl or journal.jsonl; a last line that a kill cut off is left out.

    Raises ValueError where the file is missing, or another line is damaged.
    """
    try:
        *lines, _ = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        raise ValueError(f"{path}: is not there, so it is not known what the training run did. Train first.") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(json.loads(line))
            problem = _problem(found[-1], path.name == JOURNAL)
        except (ValueError, RecursionError) as error:
            problem = str(error)
        if problem:
            raise ValueError(
                f"{path}: line {number} is damaged ({problem}), so it is not known what the training run did. Restore "
                "the file."
            )
    return found


def _problem(line: Any, is_event: bool) -> str:
    """What a line lacks that is read from it; empty where nothing."""
    if not isinstance(line, dict) or not _count(line.get("step")):
        return "it is no object with a step"
    if not is_event:
        return ""
    event = line.get("event")
    if not isinstance(event, str):
        return "its event has no name"
    if event == ROLL_BACK and not (_count(line.get("to"), line["step"]) and _count(line.get("first_row"))):
        return "its roll-back does not say to which step and row"
    if event == "ratio" and not (_count(line.get("first_row")) and isinstance(line.get("shares"), dict)):
        return "its change of the ratio does not say which, and from which row on"
    if event == "learning_rate" and not isinstance(line.get("multiplier"), int | float):
        return "its change of the learning rate does not say which"
    return ""


def _count(value: Any, most: int = 1 << 62) -> bool:
    return isinstance(value, int) and 0 <= value <= most


def rows(events: Iterable[dict[str, Any]], global_batch: int) -> Rows:
    """The rows of the steps, from the journal's events in its order."""
    spans = [(1, 0)]
    for event in events:
        if event["event"] == ROLL_BACK:
            spans = [span for span in spans if span[0] <= event["to"]] + [(event["to"] + 1, event["first_row"])]
    return Rows(global_batch, tuple(spans))


def holds_from(event: dict[str, Any]) -> int:
    """The step at whose end a decision is made; of a roll-back the one it goes back to."""
    return int(event["to"] if event["event"] == ROLL_BACK else event["step"])


def standing(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The decisions that no later roll-back made void, in the journal's order; roll-backs are among them."""
    kept: list[dict[str, Any]] = []
    for event in events:
        if event["event"] == ROLL_BACK:
            kept = [one for one in kept if holds_from(one) <= event["to"]]
        kept.append(event)
    return kept
