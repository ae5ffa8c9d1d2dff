"""The report on checkpoints: ranked on both tracks, the Pareto front drawn, the best named (eval/select.py)."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from eval import select
from eval.control import BITS
from eval.report_charts import add_bound, add_marks, add_points, plane
from eval.report_data import Run
from eval.report_events import measure
from eval.report_html import EMPTY, Figure, chart_places, count, html, missing, section, size, table
from eval.report_tracks import OFF, measured
from eval.select import Candidate

CHART = "Every evaluated step: domain gain against general rise"
MOST_NAMED = 25
"""Steps named in the chart; with more of them only those of the front are."""


def selection(run: Run) -> tuple[Markup, dict[str, Any]]:
    """The section, and the chart it shows by name."""
    title = "Which checkpoint"
    about = (
        "Each evaluation of the training run against step 0. First come those within the general thresholds, by domain "
        "gain, then the others, the least past them first. On the Pareto front no other is better in gain and "
        "forgetting both. Score: domain gain less "
        f"{run.pipeline.eval.select_weight:g} times the general rise."
    )
    if not _comparable(run):
        none = missing("No evaluation of both tracks after step 0.", "torchrun -m train.launch")
        return section("selection", title, about, none, _kept(run)), {}
    by = run.selection["by"] if run.selection else "gain"
    ranked = select.rank(select.candidates(run.pipeline), by)
    there = [one for one in ranked if one.kept]
    best = there[0] if there else None
    chart = _chart(run, ranked, best)
    parts = (_told(run, ranked, best, by), chart_places([CHART]), _table(ranked, best), _kept(run))
    return section("selection", title, about, *parts), {CHART: chart}


def _comparable(run: Run) -> bool:
    """Whether step 0 and a later one measured both tracks, with numbers throughout."""
    both = [{step for step, _ in measured(run.evaluations, name)} for name in (select.DOMAIN, BITS)]
    named = [line for line in run.evaluations if select.DOMAIN in line["eval"] and BITS in line["eval"]]
    return 0 in both[0] and len(named) > 1 and {line["step"] for line in named} <= both[0] & both[1]


def _told(run: Run, ranked: Sequence[Candidate], best: Candidate | None, by: str) -> Markup:
    if best is None:
        text = "Step {} ranks first, but none of these steps has a checkpoint any more (train.keep_checkpoints)."
        return html("<p>{}</p>", text.format(ranked[0].step))
    parts = [_best(ranked, best)]
    folder = f"train/{run.pipeline.train.run}/{select.BEST}"
    written = [one for one in run.exports if one["folder"] == folder]
    if not run.selection:
        parts.append(missing("Not exported yet.", "python -m eval.select"))
    elif written and written[0]["step"] == best.step:
        parts.append(html("<p>Exported to <code>{}</code>, chosen by {}.</p>", folder, by))
    else:
        text = "eval.select chose step {} when it ran; what stands there now is ranked below."
        parts.append(html('<p class="about">{}</p>', text.format(run.selection["best"])))
    return Markup().join(parts)


def _best(ranked: Sequence[Candidate], best: Candidate) -> Markup:
    """The best one that is kept, and what speaks against it."""
    change = f"domain {-best.domain_gain:+.2f} %, general {best.general_rise:+.2f} % bits per byte"
    told = html("<p><strong>Best: step {}</strong>, {}.", best.step, change)
    if not best.within:
        text = (
            " It is beyond the thresholds, as are all others that are kept: {} changed by {:.1f} times its threshold."
        )
        told += html(text, measure(best.measure), best.pressure)
    if best != ranked[0]:
        told += html(" Step {} ranks first, but its checkpoint is not kept (train.keep_checkpoints).", ranked[0].step)
    return told + Markup("</p>")


def _chart(run: Run, ranked: Sequence[Candidate], best: Candidate | None) -> dict[str, Any]:
    front = sorted((one for one in ranked if one.pareto), key=lambda one: one.domain_gain)
    others = [one for one in ranked if not one.pareto]
    chart = plane("domain gain: bits per byte saved, %", "general rise, %")
    _add_points(chart, "Pareto front", "domain", front, joined=True)
    if others:
        _add_points(chart, "other steps", "plain", others, named=len(ranked) <= MOST_NAMED)
    if best:
        add_marks(chart, f"best: step {best.step}", "good", "star", [(best.domain_gain, best.general_rise)])
        chart["data"][-1]["marker"]["size"] = 15
    bound = run.pipeline.eval.thresholds.bits_per_byte_percent
    gains = [0.0, *(one.domain_gain for one in ranked)]
    if bound < OFF:
        add_bound(chart, "threshold", [(min(gains), bound), (max(gains), bound)])
    return chart


def _add_points(chart: dict[str, Any], name: str, colour: str, found: Sequence[Candidate], **how: bool) -> None:
    points = [(one.domain_gain, one.general_rise, str(one.step)) for one in found]
    trace = add_points(chart, name, colour, points, **how)
    trace["hovertemplate"] = "step %{text}: gain %{x:.2f} %, rise %{y:.2f} %<extra></extra>"


def _table(ranked: Sequence[Candidate], best: Candidate | None) -> Markup:
    rows = []
    for place, one in enumerate(ranked, 1):
        step = html("<strong>{} (best)</strong>", one.step) if one == best else str(one.step)
        worst = "" if one.pressure <= 0 else measure(one.measure)
        rows.append(
            (
                count(place),
                Figure(one.step, step),
                Figure(-one.domain_gain, f"{-one.domain_gain:+.2f} %"),
                Figure(one.general_rise, f"{one.general_rise:+.2f} %"),
                Figure(one.pressure, f"{one.pressure:.2f}"),
                worst,
                Figure(one.score, f"{one.score:.2f}"),
                "front" if one.pareto else "",
                "kept" if one.kept else "",
            )
        )
    headings = ("rank", "step", "domain", "general", "times threshold", "of measure", "score", "Pareto", "checkpoint")
    return table(headings, rows, (0, 1, 2, 3, 4, 6))


def _kept(run: Run) -> Markup:
    """The checkpoints on disk and the models written out."""
    if not run.checkpoints:
        return EMPTY
    rows = [
        (count(one["step"]), size(one["bytes"]), html("<code>{}</code>", one["identity"])) for one in run.checkpoints
    ]
    about = html('<p class="about">{}.</p>', _policy(run))
    body = table(("step", "size", "identity"), rows, (0, 1))
    written = EMPTY
    if run.exports:
        of = [(html("<code>{}</code>", one["folder"]), count(one["step"]), one["holds"]) for one in run.exports]
        written = html("<h3>Models written out</h3>{}", table(("folder", "of step", "holds"), of, (1,)))
    return html("<h3>Checkpoints kept</h3>{}{}{}", about, body, written)


def _policy(run: Run) -> str:
    """How often, and which stay: the first two parts of what training says of it."""
    often, _, rest = run.pipeline.train.describe_checkpoints(False).partition("; ")
    return f"{often.capitalize()}; {rest.partition('; ')[0]}"
