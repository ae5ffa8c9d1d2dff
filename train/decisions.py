"""Decisions made during a run: in the journal before they count, and made again on resume as they were first made.

A decision is an event of journal.jsonl that is not of the run's course: {"event": name, "step": s, ...}. It is made at
the end of step s and holds from step s + 1 on. A run that goes on from a checkpoint makes the journal's decisions again
when it comes to their steps, also those after the checkpoint, and judges no step anew that has one: at another number
of ranks it might judge otherwise.
"""

from collections.abc import Iterable
from typing import Any

import torch.distributed as dist

from train.records import COURSE, Records, read


class Decisions:
    """What was decided at which step; the same on every rank."""

    def __init__(self, records: Records):
        """Every rank must call it: the first one reads the journal for all."""
        found: list[list[dict[str, Any]]] = [[]]
        if dist.get_rank() == 0 and records.journal.exists():
            found = [[event for event in read(records.journal) if event["event"] not in COURSE]]
        if dist.get_world_size() > 1:
            dist.broadcast_object_list(found)
        self._records, self.events = records, found[0]
        self.settled = frozenset(event["step"] for event in self.events)
        """Steps that an earlier start has decided at; nothing is added to them."""

    def at(self, step: int) -> list[dict[str, Any]]:
        """The decisions of a step, in order."""
        return [event for event in self.events if event["step"] == step]

    def until(self, step: int) -> Iterable[dict[str, Any]]:
        """The decisions of the steps up to `step`, in order."""
        return [event for event in self.events if event["step"] <= step]

    def add(self, name: str, step: int, details: dict[str, Any]) -> dict[str, Any]:
        """Write a decision to the journal, then return it."""
        event = {"event": name, "step": step, **details}
        if dist.get_rank() == 0:
            self._records.event(name, step, **details)
        self.events.append(event)
        return event
