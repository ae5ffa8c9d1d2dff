"""Decisions made during a run: in the journal before they count, and made again on resume as they were first made.

A decision is an event of journal.jsonl that is not of the run's course: {"event": name, "step": s, ...}. It is made at
the end of step s and holds from step s + 1 on. A run that goes on from a checkpoint makes the journal's decisions again
when it comes to their steps, also those after the checkpoint. Who has decided at a step (`by`) judges it no more: at
another number of ranks it might judge otherwise.

A roll-back from step s to t makes the decisions after t void. A run that comes to step t again, having lost later
checkpoints, does not make the steps that were rolled back a second time: it skips their rows (mix/journal.py).
"""

from typing import Any

import torch.distributed as dist

from mix import journal
from train.records import COURSE, Records, read


class Decisions:
    """What was decided at which step; the same on every rank."""

    def __init__(self, records: Records):
        """Every rank must call it: the first one reads the journal for all."""
        found: list[list[dict[str, Any]]] = [[]]
        if dist.get_rank() == 0 and records.journal.exists():
            found = [read(records.journal)]
        if dist.get_world_size() > 1:
            dist.broadcast_object_list(found)
        self._records = records
        self.events = [event for event in found[0] if event["event"] not in COURSE]
        """All decisions, also void ones, in the journal's order."""
        self._settled = {(journal.holds_from(event), event.get("by")) for event in self._standing()}
        of_roll_backs = [event for event in found[0] if event["event"] in (journal.ROLL_BACK, "rolled_back")]
        last = of_roll_backs[-1] if of_roll_backs else None
        self.unfinished = last if last and last["event"] == journal.ROLL_BACK else None
        """A roll-back that a kill kept from being done."""

    def settled(self, step: int, by: str | None = None) -> bool:
        """Whether `by` has decided at a step in an earlier start; it decides nothing more there."""
        return (step, by) in self._settled

    @property
    def roll_backs(self) -> int:
        """Roll-backs decided since the run began."""
        return sum(event["event"] == journal.ROLL_BACK for event in self.events)

    def at(self, step: int) -> list[dict[str, Any]]:
        """The standing decisions of a step, in order."""
        return [event for event in self._standing() if journal.holds_from(event) == step]

    def until(self, step: int) -> list[dict[str, Any]]:
        """The standing decisions of the steps up to `step`, in order."""
        return [event for event in self._standing() if journal.holds_from(event) <= step]

    def rows(self, step: int, global_batch: int) -> int:
        """Rows of the plan consumed or skipped when step + 1 begins."""
        return journal.rows(self.events, global_batch).first(step + 1)

    def add(self, name: str, step: int, details: dict[str, Any]) -> dict[str, Any]:
        """Write a decision to the journal, then return it."""
        event = {"event": name, "step": step, **details}
        if dist.get_rank() == 0:
            self._records.event(name, step, **details)
        self.events.append(event)
        if name == journal.ROLL_BACK:
            self._settled = {one for one in self._settled if one[0] <= event["to"]}
        return event

    def _standing(self) -> list[dict[str, Any]]:
        return journal.standing(self.events)
