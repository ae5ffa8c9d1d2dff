"""The report on both tracks: measures over the steps with their thresholds drawn, and texts written by the model."""

from typing import Any

from markupsafe import Markup

from eval.config import Thresholds
from eval.report_charts import add_bound, add_marks, figure
from eval.report_data import Run
from eval.report_events import measure
from eval.report_html import EMPTY, Figure, chart_places, count, html, join, missing, percent, section, table
from eval.statistics import Verdict

TRACKS = ("domain", "general")
BITS = "general_bits_per_byte"
OFF = 100
"""A threshold of so many percent or points, or more, is not drawn: it is how one is turned off."""
Points = list[tuple[int, float]]


def tracks(run: Run) -> tuple[Markup, dict[str, Any]]:
    """The section, and the charts it shows by name."""
    title = "Both tracks over the steps"
    limits = run.pipeline.eval.thresholds
    about = (
        "Domain is what was to be gained, general what may be forgotten; step 0 is the model as it came. Thresholds "
        f"declared before training: {limits.bits_per_byte_percent:g} % more general bits per byte, "
        f"{limits.task_points:g} points less on a general task (where the interval of the change lies below 0 too)."
    )
    if not run.evaluations:
        return section("tracks", title, about, missing("No evaluation yet.", "torchrun -m train.launch")), {}
    bits = {f"{track} text: bits per byte": _bits(run, f"{track}_bits_per_byte") for track in TRACKS}
    tasks = {name: _task(run, name) for name in _task_names(run)}
    bits, tasks = ({name: chart for name, chart in charts.items() if chart["data"]} for charts in (bits, tasks))
    parts = [chart_places(bits)]
    if tasks:
        parts += [
            html("<h3>Tasks: % right, with the 95 % interval of the change since step 0; dashed: the threshold</h3>")
        ]
        parts += [chart_places(tasks, small=True)]
    return section("tracks", title, about, *parts, _by_step(run)), bits | tasks


def measured(lines: list[dict[str, Any]], name: str) -> Points:
    """(step, value) of a figure in evaluations."""
    values = ((line["step"], line["eval"].get(name)) for line in lines if "eval" in line)
    return [(step, value) for step, value in values if value is not None]


def thresholds_at(run: Run, step: int) -> Thresholds:
    """The thresholds that held at a step: a resumed run may have set them anew, which is in its journal."""
    for event in run.journal:
        if event["event"] == "thresholds" and event["step"] >= step:
            return Thresholds(**event["was"])
    return run.pipeline.eval.thresholds


def limit(run: Run, name: str, step: int, base: float) -> float | None:
    """The value of a general measure that counts as too much forgotten at a step; None where there is none."""
    found = thresholds_at(run, step)
    if name == BITS:
        return base * (1 + found.bits_per_byte_percent / 100) if found.bits_per_byte_percent < OFF else None
    return base - found.task_points if name.startswith("general/") and found.task_points < OFF else None


def _bits(run: Run, name: str) -> dict[str, Any]:
    points = measured(run.evaluations, name)
    track = name.partition("_")[0]
    chart = figure([("measured", track, *_columns(points))], "bits per byte, lower is better")
    _finish(run, chart, name, points)
    return chart


def _task(run: Run, name: str) -> dict[str, Any]:
    points = measured(run.evaluations, name)
    chart = figure([("measured", name.partition("/")[0], *_columns(points))], "% right")
    changes = {line["step"]: line["changes"][name] for line in run.evaluations if name in line.get("changes", {})}
    edges = [_edges(changes.get(step)) for step, _ in points]
    for trace in chart["data"]:
        above, below = [high for _, high in edges], [low for low, _ in edges]
        bars = {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
        trace["error_y"] = {**bars, "color": "plain", "thickness": 1, "width": 3}
    _finish(run, chart, name, points)
    chart["layout"]["showlegend"] = False
    return chart


def _finish(run: Run, chart: dict[str, Any], name: str, points: Points) -> None:
    """Draw the threshold, and what was measured on steps that were given up."""
    add_marks(chart, "rolled back", "plain", "x", measured(run.rolled_back, name))
    if not points:
        return
    limits = [(step, limit(run, name, step, points[0][1])) for step, _ in points]
    drawn = [(step, value) for step, value in limits if value is not None]
    if drawn:
        add_bound(chart, "threshold", drawn)


def _edges(change: dict[str, Any] | None) -> tuple[float, float]:
    """How far the interval goes below and above the measured change."""
    if change is None or change["low"] is None:
        return 0.0, 0.0
    return change["change"] - change["low"], change["high"] - change["change"]


def _columns(points: Points) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]


def _task_names(run: Run) -> list[str]:
    names = dict.fromkeys(name for line in run.evaluations for name in line["eval"] if "/" in name)
    return sorted(names, key=lambda name: (TRACKS.index(name.partition("/")[0]), name))


def _by_step(run: Run) -> Markup:
    """Each measure at step 0 and at its last evaluation, and how near to its threshold it came."""
    rows = []
    for name in [*(f"{track}_bits_per_byte" for track in TRACKS), *_task_names(run), "repetition"]:
        points = measured(run.evaluations, name)
        if len(points) < 2:
            continue
        (_, base), (step, now) = points[0], points[-1]
        form, bound = "{:.1f}" if "/" in name else "{:.4f}", limit(run, name, step, base)
        changed: dict[str, Any] = next(
            (line["changes"] for line in run.evaluations[::-1] if name in line.get("changes", {})), {}
        )
        verdict: Verdict | str = changed.get(name, {}).get("verdict", "")
        past = bound is not None and (now > bound if name == BITS else now < bound and verdict == "worse")
        told = "" if bound is None else "beyond" if past else "within"
        shown = html('<span class="verdict {}">{}</span>', "worse" if past else "better", told)
        cells = (Figure(value, "" if value is None else form.format(value)) for value in (base, now, bound))
        rows.append((measure(name), count(step), *cells, verdict, shown))
    headings = ("measure", "last at step", "step 0", "last", "threshold", "change", "")
    return html("<h3>Step 0 and the last evaluation</h3>{}", table(headings, rows, range(1, 5))) if rows else EMPTY


def generations(run: Run) -> Markup:
    """The texts after each prompt, first and last step side by side, folded by track."""
    about = (
        "What the model goes on with after the same prompts, greedily, to be read by hand; not picked. Repetition is "
        "the share of 4-token pieces that stood in the text before."
    )
    title = "Texts written by the model"
    if not run.generations:
        none = missing("None were written: eval.generated_tokens is 0, or training has not begun.")
        return section("generations", title, about, none)
    steps = sorted({min(run.generations), max(run.generations)})
    texts = [run.generations[step] for step in steps]
    repeated = [f"{percent(_mean(found))} at step {step:,}" for step, found in zip(steps, texts, strict=True)]
    body = [html("<p>Repetition: {}.</p>", ", ".join(repeated))]
    of_prompt = [{one["prompt"]: one for one in found} for found in texts]
    for track in dict.fromkeys(one["track"] for one in texts[0]):
        prompts = [one["prompt"] for one in texts[0] if one["track"] == track]
        pairs = join(
            _texts(prompt, [(step, found.get(prompt)) for step, found in zip(steps, of_prompt, strict=True)])
            for prompt in prompts
        )
        counted = f"{track}: {len(prompts)} prompt{'' if len(prompts) == 1 else 's'}"
        body.append(html("<details><summary>{}</summary>{}</details>", counted, pairs))
    return section("generations", title, about, *body)


def _mean(texts: list[dict[str, Any]]) -> float:
    return sum(one["repetition"] for one in texts) / max(1, len(texts))


def _texts(prompt: str, written: list[tuple[int, dict[str, Any] | None]]) -> Markup:
    """A prompt and what each of the steps wrote after it."""
    sides = join(
        html(
            '<div><div class="id">step {}, repetition {}</div><blockquote>{}</blockquote></div>',
            f"{step:,}",
            percent(one["repetition"]),
            one["text"],
        )
        for step, one in written
        if one is not None
    )
    return html('<div class="example"><strong>{}</strong><div class="two">{}</div></div>', prompt, sides)
