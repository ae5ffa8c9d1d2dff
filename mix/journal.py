"""What a training run's journal says about its rows: which decisions stand, and where the rows of each step begin.

Rows are consumed once. A roll-back {"event": "roll_back", "step": s, "to": t, "first_row": r} takes the step counter
back to t, but step t + 1 is then made with the rows from r on: those that steps t + 1 to s had are skipped. What was
decided after step t and before the roll-back is void.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

ROLL_BACK = "roll_back"


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
