"""What the controller decides: a pure function of the evaluations so far, the keys, and what was done before.

The pressure of an evaluation is the largest of its general changes since step 0, each as a share of its threshold:

    (general bits per byte / that of step 0 - 1) * 100 / threshold in percent
    (accuracy at step 0 - accuracy) / threshold in points          for every general task that got worse

A task got worse where the interval of its paired differences lies below 0 (eval.statistics), so that with few items the
interval's edge is the threshold. A task that an evaluation did not measure counts as last measured.

Above 1 it is a breach, which lasts until the pressure is below `controller_clear` (a Schmitt trigger). In a breach one
intervention is made, and after the cool-down another one, until the breach is over or `controller_most` are made.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from eval.keys_controller import ControllerKeys

BITS = "general_bits_per_byte"
TASKS = "general/"
"""How the names of general tasks begin; their figures are accuracies in percent."""
BY = "controller"
"""What its events in the journal have under `by`."""

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Limits:
    """How much may be forgotten."""

    percent: float
    """Rise of general bits per byte in percent of step 0."""
    points: float
    """Fall of a general task's accuracy in points."""


@dataclass(frozen=True)
class Evaluation:
    """The figures of metrics.jsonl's `eval` after a step."""

    step: int
    figures: Mapping[str, float]
    unsure: frozenset[str] = frozenset()
    """Tasks measured here whose change may be chance."""


@dataclass(frozen=True)
class Now:
    """What the run is at, which the controller may change."""

    step: int
    replay: Fraction
    """Share of the replay pool in the next batch."""
    multiplier: float
    """Of the schedule's learning rates."""
    ewc: float
    """Strength of elastic weight consolidation, 0 where it is off."""


@dataclass(frozen=True)
class Pressure:
    """The measure that is nearest to its threshold, or furthest past it."""

    measure: str
    base: float
    """Its value at step 0."""
    value: float
    change: float
    """In percent (bits per byte) or points (a task), above 0 where it got worse."""
    threshold: float

    @property
    def share(self) -> float:
        """The change as a share of the threshold: above 1 is a breach."""
        if self.threshold:
            return self.change / self.threshold
        return math.inf if self.change > 0 else 0.0


@dataclass(frozen=True)
class Action:
    """A decision to be made: name and details of an event."""

    event: str
    details: dict[str, Any]


def act(
    history: Sequence[Evaluation], keys: ControllerKeys, limits: Limits, now: Now, done: Sequence[Event]
) -> Action | None:
    """What to do after the last evaluation of `history`, None for nothing.

    `history` begins at step 0; `done` are the decisions of the run so far, in the journal's order.
    """
    if keys.controller == "none" or len(history) < 2 or not _may_act(keys, now, done):
        return None
    pressures = measure(history, limits)
    breach, worst = breaches(pressures, keys.controller_clear), pressures[-1]
    if breach[-1]:
        assert worst is not None
        good = [one.step for one, bad in zip(history, breach, strict=True) if one.step and not bad]
        return _against_breach(keys, now, worst, good[-1] if good else None)
    if worst is None or worst.share < keys.controller_clear:
        return _lower_replay(history, keys, now, worst)
    return None


def follow_up(done: Sequence[Event]) -> Action | None:
    """What was to follow a roll-back and has not yet, to be done at the first step after it."""
    mine = [event for event in done if event.get("by") == BY]
    if not mine or mine[-1]["event"] != "roll_back":
        return None
    details = dict(mine[-1]["then"])
    return Action(details.pop("event"), details | {"by": BY, "after_roll_back": True})


def measure(history: Sequence[Evaluation], limits: Limits) -> list[Pressure | None]:
    """The pressure of each evaluation; None where nothing general is measured."""
    base, latest, unsure = history[0].figures, dict[str, float](), frozenset[str]()
    pressures = []
    for evaluation in history:
        latest |= evaluation.figures
        unsure = unsure - evaluation.figures.keys() | evaluation.unsure
        found = []
        if BITS in base and BITS in latest:
            rise = 100 * (latest[BITS] / base[BITS] - 1)
            found.append(Pressure(BITS, base[BITS], latest[BITS], rise, limits.percent))
        for name in sorted(base.keys() & latest.keys() - unsure):
            if name.startswith(TASKS):
                found.append(Pressure(name, base[name], latest[name], base[name] - latest[name], limits.points))
        pressures.append(max(found, key=lambda one: one.share, default=None))
    return pressures


def breaches(pressures: Sequence[Pressure | None], clear: float) -> list[bool]:
    """Whether a breach has begun and is not over, after each evaluation."""
    found, breach = [], False
    for one in pressures:
        share_of_threshold = one.share if one else 0.0
        breach = share_of_threshold > 1 or (breach and share_of_threshold >= clear)
        found.append(breach)
    return found


def _may_act(keys: ControllerKeys, now: Now, done: Sequence[Event]) -> bool:
    """Whether interventions are left, and the last one was long enough ago."""
    mine = [event for event in done if event.get("by") == BY]
    if sum("after_roll_back" not in event for event in mine) >= keys.controller_most:
        return False
    return not mine or now.step - mine[-1].get("to", mine[-1]["step"]) >= keys.controller_cooldown


def _against_breach(keys: ControllerKeys, now: Now, worst: Pressure, good: int | None) -> Action | None:
    """The action that the keys name, after a roll-back to the step `good` where they say so."""
    action = _respond(keys, now)
    if action is None:
        return None
    told = {"by": BY, "evidence": _evidence(now, worst)}
    if keys.controller_roll_back and good is not None and action.event != "stop":
        return Action("roll_back", {"to": good, "then": {"event": action.event, **action.details}, **told})
    return Action(action.event, action.details | told)


def _respond(keys: ControllerKeys, now: Now) -> Action | None:
    """The action that the keys name, None where it is used up."""
    match keys.controller:
        case "raise_replay":
            replay = _millionths(now.replay)
            raised = min(replay + _millionths(keys.controller_replay_step), _millionths(keys.controller_replay_cap))
            return _ratio(raised) if raised > replay else None
        case "lower_learning_rate":
            return Action("learning_rate", {"multiplier": now.multiplier * keys.controller_learning_rate})
        case "ewc":
            strength = keys.controller_ewc
            return Action("ewc", {"strength": strength}) if strength > now.ewc else None
        case _:
            return Action("stop", {})


def _lower_replay(
    history: Sequence[Evaluation], keys: ControllerKeys, now: Now, worst: Pressure | None
) -> Action | None:
    """Less replay, where the domain stands still."""
    domain = [one.figures["domain_bits_per_byte"] for one in history if "domain_bits_per_byte" in one.figures]
    before, recent = domain[: -keys.controller_patience], domain[-keys.controller_patience :]
    if not keys.controller_lower_replay or not before or min(recent) < min(before):
        return None
    replay = _millionths(now.replay)
    lowered = max(replay - _millionths(keys.controller_lower_replay), _millionths(keys.controller_replay_floor))
    if lowered >= replay:
        return None
    evidence = {"measure": "domain_bits_per_byte", "lowest": min(before), "since": recent, "step": now.step}
    if worst:
        evidence["general"] = _evidence(now, worst)
    return Action("ratio", _ratio(lowered).details | {"by": BY, "evidence": evidence})


def _ratio(replay: Fraction) -> Action:
    return Action("ratio", {"shares": {"domain": str(1 - replay), "replay": str(replay)}})


def _millionths(part: Fraction | float) -> Fraction:
    """Shares in millionths: those of a ramp may have more digits than a plan takes."""
    return Fraction(round(part * 1_000_000), 1_000_000)


def _evidence(now: Now, worst: Pressure) -> dict[str, Any]:
    return {
        "measure": worst.measure,
        "at_step_0": worst.base,
        "value": worst.value,
        "change": worst.change,
        "threshold": worst.threshold,
        "unit": "percent" if worst.measure == BITS else "points",
        "step": now.step,
    }
