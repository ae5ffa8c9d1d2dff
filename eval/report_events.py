"""Events of a training run's journal in words: what was decided, and on what evidence."""

from typing import Any

from markupsafe import Markup

from eval.report_html import EMPTY, bullets, html, join, number, pairs, words

_TOLD = frozenset(
    ("event", "step", "by", "found", "documents", "evidence", "why", "reason", "to", "first_row", "then", "shares")
    + ("multiplier", "strength", "signal", "was", "now", "used", "after_roll_back")
    + ("versions",)  # told under what the run was made with
)
"""Fields that the sentences below tell; others are shown as they are."""
_FIXED = {
    "start": "Training began.",
    "finish": "The last step was made.",
    "warn": "Only noted here; training went on.",
    "skip": "No update was made with this batch.",
    "stopped": "The run was ended.",
    "stop": "The run was ended.",
    "pilot_stop": "The arm of the pilot was ended.",
    "archive_failed": "A checkpoint could not be moved to the archive.",
    "thresholds": "The thresholds were set anew.",
}
"""Event -> what was done, where it is the same each time."""


def done(event: dict[str, Any]) -> str:
    """What the event did, a sentence."""
    name, step = event["event"], event["step"]
    match event:
        case {"event": "resume"}:
            return f"Training went on from the checkpoint of step {step:,}."
        case {"event": "signal", "signal": signal}:
            return f"Ended by {signal}, with a checkpoint of this step."
        case {"event": "learning_rate", "multiplier": multiplier}:
            return f"From the next step on the learning rate is {number(multiplier)} times the schedule's."
        case {"event": "ratio", "shares": dict(shares)}:
            parts = " and ".join(f"{_percent(share)} {pool}" for pool, share in shares.items())
            return f"From the next batch on the mixture is {parts}."
        case {"event": "ewc", "strength": strength}:
            return f"From the next step on elastic weight consolidation has strength {number(strength)}."
        case {"event": "roll_back", "to": to, "then": dict(then)}:
            return f"{_went_back(event, to)} Then: {done({**then, 'step': to})}"
        case {"event": "roll_back", "to": to}:
            return _went_back(event, to)
        case {"event": "rolled_back"}:
            return f"The roll-back was done; step {step + 1:,} was made again, with other rows."
        case {"event": "checkpoint_damaged" | "checkpoint_unfinished", "used": used}:
            what = "damaged" if name == "checkpoint_damaged" else "not finished"
            return f"The checkpoint of this step was {what}; training went on from step {used}."
    return _FIXED.get(name, f"{words(name).capitalize()}.")


def evidence(event: dict[str, Any]) -> Markup:
    """Why, in sentences; fields that no sentence tells follow as names and values."""
    told = [*findings(event), *_judged(event.get("evidence")), *_thresholds(event)]
    told += [str(event[key]) for key in ("why", "reason") if event.get(key)]
    others = {key: value for key, value in event.items() if key not in _TOLD}
    documents = event.get("documents")
    link = html('<a href="#spikes">The {} documents of its batch.</a>', len(documents)) if documents else EMPTY
    lines = [*(html("{}", sentence) for sentence in told), *([link] if link else [])]
    text = bullets(lines) if len(lines) > 1 else join(lines)
    return join([text, pairs(others)]) if others else text


def findings(event: dict[str, Any]) -> list[str]:
    """What health found wrong with a step, or a checkpoint, a sentence each."""
    sentences = []
    for found in event.get("found") or []:
        if isinstance(found, dict) and "kind" in found:
            sentences += [_finding(found["kind"], name, of) for name, of in found.get("figures", {}).items()]
        else:
            sentences.append(str(found))
    return sentences


def spike(figure: str, value: float, median: float, score: float) -> str:
    """A spike in words."""
    return (
        f"The {NAMES.get(figure, figure)} was {number(value)}, {score:.1f} robust standard deviations above the "
        f"{number(median)} of the steps before."
    )


NAMES = {"loss": "loss", "grad_norm": "gradient norm"}
"""Figure of metrics.jsonl -> in words."""


def _finding(kind: str, figure: str, of: dict[str, Any]) -> str:
    match kind:
        case "spike":
            return spike(figure, of["value"], of["median"], of["score"])
        case "non_finite":
            return f"The {NAMES.get(figure, figure)} was {of['value']}, not a finite number."
        case "unrecovered":
            return (
                f"The {NAMES.get(figure, figure)}, which spiked at step {number(int(of['step']))}, was still "
                f"{number(of['value'])}; below {number(of['below'])} it would have recovered."
            )
    return f"{words(kind)}: {NAMES.get(figure, figure)} {number(of)}."


def _judged(found: Any) -> list[str]:
    """The controller's evidence."""
    match found:
        case {"measure": name, "value": value, "at_step_0": base, "change": change, "threshold": bound, **rest}:
            unit = "%" if rest.get("unit") == "percent" else "points"
            worse = "worse" if change > 0 else "better"
            by = f"{abs(change):.2f} {unit} {worse} than the {number(base)} of step 0"
            when = f" at step {rest['step']:,}" if "step" in rest else ""
            return [
                f"{_begin(measure(name))} was {number(value)}{when}, {by}; the threshold is {number(bound)} {unit}."
            ]
        case {"measure": name, "lowest": lowest, "since": list(since), **rest}:
            values = ", ".join(number(value) for value in since)
            first = f"{_begin(measure(name))} fell no further: {number(lowest)} before, {values} since."
            return [first, *_judged(rest.get("general"))]
    return [number(found)] if found else []


def _thresholds(event: dict[str, Any]) -> list[str]:
    was, now = event.get("was"), event.get("now")
    if not isinstance(was, dict) or not isinstance(now, dict):
        return []
    return [
        f"{words(key)}: {number(was.get(key))} before, {number(now[key])} now."
        for key in now
        if was.get(key) != now[key]
    ]


def _went_back(event: dict[str, Any], to: int) -> str:
    text = f"Steps {to + 1:,} to {event['step']:,} were given up; training went back to step {to:,}"
    return f"{text} and on with row {event['first_row']:,}." if "first_row" in event else f"{text}."


def measure(name: str) -> str:
    """A figure of an evaluation as a reader calls it; tasks keep their names."""
    return name if "/" in name else words(name)


def _begin(text: str) -> str:
    return text if "/" in text else text.capitalize()


def _percent(share: Any) -> str:
    """A share, as a number or a fraction in text, in percent."""
    from fractions import Fraction

    return f"{float(100 * Fraction(share)):.4g} %"
