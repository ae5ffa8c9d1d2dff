"""The report on spikes: each with its evidence, what was done, the documents of its batch, and how to trace it."""

import shlex
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from eval.report_data import Run
from eval.report_events import done, findings, spike
from eval.report_html import EMPTY, documents, html, join, section
from mix.spikes import FEWEST, Spike, spikes

MOST = 20
"""Spikes shown, the strongest; the section says how many there are."""


@dataclass
class Trouble:
    """A step that stood out."""

    step: int
    found: list[str] = field(default_factory=list)
    """What, a sentence each."""
    done: str = ""
    documents: list[str] | None = None
    """Ids of the documents of its batch; None where the journal does not name them."""
    figures: set[str] = field(default_factory=set)
    """loss, grad_norm"""
    score: float = 0.0
    """Robust deviations of its strongest figure; infinite where it was no number."""
    given_up: bool = False
    """Whether a roll-back gave the step up, so that mix.trace shows it no more."""


def spikes_section(run: Run) -> Markup:
    """The spikes that training noticed, and those that stand in its metrics."""
    title = "Spikes"
    about = (
        f"Steps whose loss or gradient norm stands more than {run.pipeline.train.spike_threshold:g} robust standard "
        f"deviations above the {run.pipeline.train.spike_window} steps before, or is no number. Text that does not "
        "belong in the corpus is often found this way."
    )
    if not run.steps:
        return section("spikes", title, about, html('<p class="missing">No training yet.</p>'))
    found = troubles(run)
    if not found:
        return section("spikes", title, about, html("<p>None.</p>"))
    shown = sorted(sorted(found, key=lambda one: -one.score)[:MOST], key=lambda one: one.step)
    more = EMPTY
    if len(found) > len(shown):
        command = _command(run, "--spike")
        text = '<p class="about">The {} strongest of {}. All of them: <code>{}</code></p>'
        more = html(text, len(shown), len(found), command)
    return section("spikes", title, about, more, join(_shown(run, one) for one in shown))


def in_metrics(run: Run) -> list[Spike]:
    """The spikes of the steps that stand, by the keys the run was trained with."""
    keys = run.pipeline.train
    return spikes(run.steps, keys.spike_threshold, keys.spike_window) if len(run.steps) > FEWEST else []


def troubles(run: Run) -> list[Trouble]:
    """Steps with a finding of health in the journal, or a spike in the metrics, by step; a step once each time it was
    made."""
    noticed = [(place, event) for place, event in enumerate(run.journal) if event.get("by") == "health"]
    found = [_of_event(run, place, event) for place, event in noticed]
    known, unnoticed = {one.step for one in found if not one.given_up}, dict[int, Trouble]()
    for one in in_metrics(run):
        if one.step not in known:
            trouble = unnoticed.setdefault(
                one.step, Trouble(one.step, done="nothing; found in the metrics afterwards.")
            )
            trouble.found.append(spike(one.figure, one.value, one.median, one.score))
            trouble.figures.add(one.figure)
            trouble.score = max(trouble.score, one.score)
    return sorted([*found, *unnoticed.values()], key=lambda one: one.step)


def _of_event(run: Run, place: int, event: dict[str, Any]) -> Trouble:
    figures = [pair for found in event.get("found", []) for pair in found.get("figures", {}).items()]
    scores = [float(of["score"]) if "score" in of else float("inf") for _, of in figures]
    later = [one for one in run.journal[place:] if one["event"] == "roll_back"]
    given_up = any(one["to"] < event["step"] <= one["step"] for one in later)
    named = event.get("documents")
    names = {name for name, _ in figures}
    return Trouble(event["step"], findings(event), done(event), named, names, max(scores, default=0.0), given_up)


def _shown(run: Run, trouble: Trouble) -> Markup:
    folded = EMPTY
    if trouble.documents:
        ids = join(html("<li>{}</li>", one) for one in trouble.documents)
        heading = f"{documents(len(trouble.documents))} in its batch"
        folded = html('<details><summary>{}</summary><ul class="id">{}</ul></details>', heading, ids)
    where = html("Text of its documents: <code>{}</code>", _command(run, f"--step {trouble.step}"))
    if trouble.given_up:
        where = html("A roll-back gave this step up, so mix.trace does not show it; the journal has its documents.")
    return html(
        '<div class="example"><strong>Step {}</strong><p class="close">{}</p><p class="close">Done: {}</p>'
        '<p class="close">{}</p>{}</div>',
        f"{trouble.step:,}",
        " ".join(trouble.found),
        trouble.done,
        where,
        folded,
    )


def _command(run: Run, option: str) -> str:
    folder, training = shlex.quote(str(run.pipeline.folder)), shlex.quote(run.pipeline.train.run)
    return f"python -m mix.trace {folder} --train {training} {option}"
