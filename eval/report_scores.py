"""The report on scores: bits per byte and tasks of the base and the trained model, and what is beyond its threshold."""

from typing import Any

from markupsafe import Markup

from eval.report_data import Run
from eval.report_html import EMPTY, Figure, bullets, count, html, missing, section, size, table, words

ABOUT = (
    "All held-out documents. The change is trained minus base; its 95 % interval is a paired bootstrap over "
    "documents, and a change whose interval holds 0 is called no change."
)


def scores(run: Run) -> Markup:
    """What eval.run measured."""
    if not run.scores:
        command = f"python -m eval.run --train.run {run.pipeline.train.run}"
        return section("scores", "Scores", ABOUT, missing("This training run is not measured yet.", command))
    note = '<p class="about">The model was trained from scratch, so there is no base.</p>'
    notes = EMPTY if run.scores["base"] else html(note)
    parts = (_breaches(run.scores), notes, _bits(run.scores), _tasks(run.scores), _contamination(run.scores))
    return section("scores", "Scores", ABOUT, *parts)


def verdict(change: dict[str, Any]) -> Markup:
    """better, worse, no change, ... in its colour."""
    return html('<span class="verdict {}">{}</span>', change["verdict"].replace(" ", "-"), change["verdict"])


def signed(change: dict[str, Any]) -> str:
    """The change in percent."""
    return f"{change['percent']:+.1f} %"


def interval(change: dict[str, Any], form: str = "+.4f") -> str:
    """The edges of the interval, nothing where there is none."""
    return "" if change["low"] is None else f"{change['low']:{form}} to {change['high']:{form}}"


def _bits(found: dict[str, Any]) -> Markup:
    """Bits per byte per pool and source with the interval of the change."""
    base, trained, difference = found["base"], found["trained"], found["difference"]
    rows = []
    for name, group in trained["groups"].items():
        shown = name if "/" in name else html("<strong>{}</strong>", name)
        row: list[Any] = [shown, Figure(group["bits_per_byte"], f"{group['bits_per_byte']:.4f}")]
        if base:
            before, change = base["groups"][name]["bits_per_byte"], difference[name]
            row.insert(1, Figure(before, f"{before:.4f}"))
            row += [Figure(change["percent"], signed(change)), verdict(change)]
            row += [Figure(change["change"], f"{change['change']:+.4f}"), interval(change)]
        rows.append([*row, count(group["documents"]), size(group["bytes"])])
    compared = ("base", "trained", "in %", "verdict", "change", "95 % interval") if base else ("trained",)
    right = (1, 2, 3, 5, 6, 7, 8) if base else (1, 2, 3)
    return table(("held-out text", *compared, "documents", "bytes"), rows, right)


def _breaches(found: dict[str, Any]) -> Markup:
    """Whether the thresholds hold, in a sentence each."""
    limits = found.get("settings", {}).get("thresholds")
    if not limits or not found["base"]:
        return EMPTY
    asked = (
        f"at most {limits['bits_per_byte_percent']:g} % more general bits per byte, at most "
        f"{limits['task_points']:g} points less on a general task"
    )
    if not found["breaches"]:
        return html('<p><span class="verdict better">Within the thresholds</span>: {}.</p>', asked)
    told = [
        f"{words(one['what'])}: {one['base']:.3f} became {one['now']:.3f}, the limit is {one['limit']:.3f}"
        for one in found["breaches"]
    ]
    head = '<p><span class="verdict worse">Beyond the thresholds</span> ({}):</p>{}'
    return html(head, asked, bullets(told))


def _tasks(found: dict[str, Any]) -> Markup:
    """Percent points of each task with the paired verdict."""
    if not found.get("tasks"):
        return EMPTY
    rows = []
    for name, task in found["tasks"].items():
        base = Figure(task["base"], "" if task["base"] is None else f"{task['base']:.1f}")
        row: list[Any] = [name, count(task["items"]), base, Figure(task["trained"], f"{task['trained']:.1f}")]
        changed = task["change"] is not None
        row.append(Figure(task["change"], f"{task['change']:+.1f}" if changed else ""))
        row += [interval(task, "+.1f"), verdict(task)] if changed else ["", ""]
        rows.append(row)
    headings = ("task", "items", "base", "trained", "change", "95 % interval", "verdict")
    about = (
        "Percent of items right (for some tasks a score of 0 to 100), higher is better. The interval is a paired "
        "bootstrap over the same items."
    )
    body = table(headings, rows, range(1, 6))
    return html('<h3>Tasks of both tracks</h3><p class="about">{}</p>{}', about, body)


def _contamination(found: dict[str, Any]) -> Markup:
    """Whether the text the model saw was cleared of the tasks' items."""
    if not found.get("contamination"):
        return EMPTY
    rows = [
        (
            name,
            count(one["items"]),
            count(one["items"] - one["not_asked"]),
            count(one["removed"]),
            count(one["not_asked"]),
            count(one["held"]),
        )
        for name, one in found["contamination"].items()
    ]
    headings = ("task", "items", "looked for", "documents removed", "not looked for", "still in the text")
    about = (
        "Items that stand in the training text measure memory. Looked for: items that curation was asked to remove; "
        "of the others, those found in the text, which should be 0."
    )
    return html('<h3>Contamination</h3><p class="about">{}</p>{}', about, table(headings, rows, range(1, 6)))
