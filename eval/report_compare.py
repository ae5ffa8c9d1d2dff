"""Two runs side by side: scores, curves in one drawing, the keys that differ, text and mixture."""

from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from eval import report_charts
from eval.report_data import Run
from eval.report_events import done
from eval.report_html import EMPTY, Figure, chart_places, count, html, join, missing, percent, section, table, words
from eval.report_scores import verdict
from train.records import COURSE

COLOURS = ("domain", "general")
"""Of the first and the second run, in every drawing."""
Runs = tuple[tuple[str, Run], tuple[str, Run]]


def compare(runs: Runs) -> tuple[list[tuple[str, str, Markup]], dict[str, Any]]:
    """Sections (anchor, title, text) and charts by name of two runs, each with the name to call it by."""
    charts = _charts(runs)
    curves = chart_places(charts) if charts else missing("Neither run has trained.")
    about = "The first run is drawn blue, the second orange; both over their own steps."
    sections = [
        ("scores", "Scores", section("scores", "Scores", ABOUT_SCORES, _scores(runs))),
        ("training", "Training", section("training", "Training", about, curves, _events(runs))),
        ("keys", "Keys", section("keys", "Keys that differ", "As resolved; all other keys are equal.", _keys(runs))),
        ("text", "Text", section("text", "Text", "Documents that each stage removed.", _removed(runs))),
        ("mixture", "Mixture", section("mixture", "Mixture", "What the plans deal to the steps.", _mixture(runs))),
    ]
    return sections, charts


ABOUT_SCORES = (
    "Bits per byte on held-out text, lower is better. The runs can be held against each other where their held-out "
    "documents are the same; where they are not, that is said below the table."
)


def _scores(runs: Runs) -> Markup:
    found = [(name, run.scores) for name, run in runs if run.scores]
    if len(found) < 2:
        names = " and ".join(name for name, run in runs if not run.scores)
        return missing(f"Not measured yet: {names}.", "python -m eval.run")
    (one, first), (other, second) = found
    rows = []
    for group in dict.fromkeys([*first["trained"]["groups"], *second["trained"]["groups"]]):
        values = [_of(scores, "trained", group) for scores in (first, second)]
        bases = [_of(scores, "base", group) for scores in (first, second)]
        changes = [
            None if value is None or base is None else 100 * (value / base - 1)
            for value, base in zip(values, bases, strict=True)
        ]
        apart = None if None in values else values[1] - values[0]  # type: ignore[operator]
        shown = group if "/" in group else html("<strong>{}</strong>", group)
        rows.append((shown, *map(_bits, values), *map(_change, changes), Figure(apart, _signed(apart, "{:+.4f}"))))
    headings = ("held-out text", one, other, f"{one}, change from its base", f"{other}, change from its base", "apart")
    same = first["held_out"]["identity"] == second["held_out"]["identity"]
    told = "The held-out documents are the same." if same else "The held-out documents are NOT the same."
    return join([table(headings, rows, range(1, 6)), html('<p class="about">{}</p>', told), _tasks(found)])


def _tasks(found: Sequence[tuple[str, dict[str, Any]]]) -> Markup:
    """The tasks that both runs were scored on: % right and the paired verdict against each one's own base."""
    (one, first), (other, second) = ((name, scores.get("tasks", {})) for name, scores in found)
    rows = []
    for task in first.keys() & second.keys():
        both = [scores[task] for scores in (first, second)]
        values = [Figure(value["trained"], f"{value['trained']:.1f}") for value in both]
        verdicts = ["" if value["verdict"] is None else verdict(value) for value in both]
        rows.append((task, *values, *verdicts))
    headings = ("task, % right", one, other, f"{one}, change from its base", f"{other}, change from its base")
    return table(headings, sorted(rows, key=lambda row: row[0]), (1, 2)) if rows else EMPTY


def _of(scores: dict[str, Any], model: str, group: str) -> float | None:
    found = (scores[model] or {"groups": {}})["groups"].get(group)
    return None if found is None else found["bits_per_byte"]


def _bits(value: float | None) -> Figure:
    return Figure(value, "" if value is None else f"{value:.4f}")


def _change(value: float | None) -> Figure:
    return Figure(value, _signed(value, "{:+.1f} %"))


def _signed(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _charts(runs: Runs) -> dict[str, Any]:
    charts: dict[str, Any] = {}
    for pool in ("domain", "general"):
        key = f"{pool}_bits_per_byte"
        measured = [[(e["step"], e["eval"][key]) for e in run.evaluations if key in e["eval"]] for _, run in runs]
        charts[f"Held-out {pool} bits per byte"] = _both(runs, measured, "bits per byte")
    for title, key, unit in (
        ("Training loss", "loss", "nats per token"),
        ("Learning rate", "lr", "learning rate"),
        ("Domain share of each batch", "domain_share", "share of rows"),
    ):
        made = [[(step["step"], step[key]) for step in report_charts.thin(run.steps)] for _, run in runs]
        charts[title] = _both(runs, made, unit)
    return {name: chart for name, chart in charts.items() if chart["data"]}


def _both(runs: Runs, points: list[list[tuple[int, float]]], unit: str) -> dict[str, Any]:
    lines: list[report_charts.Line] = [
        (name, colour, [step for step, _ in found], [value for _, value in found])
        for (name, _), colour, found in zip(runs, COLOURS, points, strict=True)
    ]
    return report_charts.figure(lines, unit)


def _events(runs: Runs) -> Markup:
    rows = [
        (count(event["step"]), name, words(event["event"]), event.get("by", ""), done(event))
        for name, run in runs
        for event in run.journal
        if event["event"] not in COURSE
    ]
    shown = table(("step", "run", "decision", "by", "what was done"), sorted(rows, key=lambda row: row[0].order), (0,))
    return html("<h3>Decisions during training</h3>{}", shown) if rows else EMPTY


def _keys(runs: Runs) -> Markup:
    one, other = (dict(_flat(run.pipeline.model_dump(mode="json"))) for _, run in runs)
    rows = [
        (html("<code>{}</code>", key), str(one.get(key, "")), str(other.get(key, "")))
        for key in dict.fromkeys([*one, *other])
        if one.get(key) != other.get(key) and key != "output"
    ]
    return table(("key", *(name for name, _ in runs)), rows) if rows else html("<p>No key differs.</p>")


def _flat(values: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def _removed(runs: Runs) -> Markup:
    stages = [{stage["name"]: stage for stage in (run.manifest or {}).get("stages", [])} for _, run in runs]
    rows = [
        (words(name), *(count(found.get(name, {}).get("documents_removed")) for found in stages))
        for name in dict.fromkeys([*stages[0], *stages[1]])
    ]
    return table(("stage", *(name for name, _ in runs)), rows, (1, 2)) if rows else missing("No curation has finished.")


def _mixture(runs: Runs) -> Markup:
    rows: list[Sequence[Any]] = []
    for name, run in runs:
        for pool, dealt in (run.mixture or {}).get("got", {}).items():
            share = Figure(dealt["share"], percent(dealt["share"]))
            rows.append((name, pool, share, count(dealt["rows"]), Figure(dealt["epochs"], f"{dealt['epochs']:.3f}")))
    if not rows:
        return missing("No mixture has been built.", "python -m mix.build")
    return table(("run", "pool", "share", "rows dealt", "epochs"), rows, range(2, 5))
