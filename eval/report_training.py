"""The report on training: curves over the steps with the journal's events marked, and the journal in words."""

from typing import Any

from markupsafe import Markup

from eval.report_charts import add_marks, figure, mark_events, thin
from eval.report_data import Run
from eval.report_events import done, evidence
from eval.report_html import EMPTY, chart_places, count, html, missing, section, table, words
from eval.report_spikes import troubles
from train.keys.phases import in_turn
from train.keys.schedule import ScheduleKeys

LOSS, RATE, NORM = "Training loss by pool", "Learning rate", "Gradient norm (before clipping)"
SHARE, PENALTY = "Domain share of each batch", "Penalty for leaving the base's weights"
UNMARKED = ("start", "finish", "rolled_back")
"""Events that the charts do not mark: begin, end, and what follows a roll-back, which is marked itself."""
SHAPES = {
    "cosine": "half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983)",
    "linear": "a straight line (Bergsma et al. 2025, arXiv 2502.15938)",
    "wsd": "constant, then down by 1 - sqrt (WSD, Hägele et al. 2024, arXiv 2405.18392)",
    "cosine_restarts": "cosines with warm restarts (Loshchilov and Hutter 2017, arXiv 1608.03983)",
    "infinite": "cosine to a constant rate, held, then down (Ibrahim et al. 2024, arXiv 2403.08763)",
}
"""train.schedule -> the shape after the warm-up and its source."""


def training(run: Run) -> tuple[Markup, dict[str, Any]]:
    """The section, and the charts it shows by name."""
    about = "Every optimizer step of the run. Vertical lines are events of the journal, which follows below."
    charts = _charts(run) if run.steps else {}
    if not charts:
        return section("training", "Training", about, missing("No training yet.", "torchrun -m train.launch")), {}
    places = chart_places(charts, {name: note for name, note in _notes(run).items() if name in charts})
    return section("training", "Training", about, places, _journal(run)), charts


def events(run: Run) -> list[tuple[int, str]]:
    """Step and name of the events that charts mark, the beginnings of phases among them."""
    found = [(event["step"], words(event["event"])) for event in run.journal if event["event"] not in UNMARKED]
    phases = run.mixture.get("phases", []) if run.mixture else []
    return [*((phase["first_step"], f"phase {phase['name']}") for phase in phases), *found]


def mark(run: Run, charts: dict[str, Any]) -> None:
    """Mark the journal's events in charts over steps; the small ones of tasks have no room for names."""
    mark_events([chart for name, chart in charts.items() if "/" not in name], events(run))
    mark_events([chart for name, chart in charts.items() if "/" in name], events(run), named=False)


def _charts(run: Run) -> dict[str, Any]:
    shown = thin(run.steps)

    def line(name: str, colour: str, key: str) -> tuple[str, str, list[Any], list[Any]]:
        return name, colour, [step["step"] for step in shown], [step.get(key) for step in shown]

    losses = (("domain", "domain", "loss_domain"), ("replay", "general", "loss_replay"), ("all", "plain", "loss"))
    charts = {
        LOSS: figure([line(*one) for one in losses], "nats per token"),
        RATE: figure([line("learning rate", "plain", "lr")], "learning rate"),
        NORM: figure([line("norm", "plain", "grad_norm")], "norm"),
        SHARE: figure([line("domain share", "domain", "domain_share")], "share of rows", span=[0, 1.02]),
    }
    if any(step.get("penalty") is not None for step in run.steps):
        charts[PENALTY] = figure([line("penalty", "plain", "penalty")], "nats per token")
    for name, key in ((LOSS, "loss"), (NORM, "grad_norm")):
        given_up = [(step["step"], step[key]) for step in thin(run.rolled_back) if step.get(key) is not None]
        add_marks(charts[name], "rolled back", "plain", "x", given_up)
        of_spikes = {one.step for one in troubles(run) if key in one.figures and not one.given_up}
        found = [(step["step"], step[key]) for step in run.steps if step["step"] in of_spikes]
        add_marks(charts[name], "spike", "bad", "circle-open", found)
    mark(run, charts)
    return charts


def _notes(run: Run) -> dict[str, str]:
    """A sentence for below a chart."""
    keys, phases = run.pipeline.train, run.pipeline.phases
    rate = _rate(keys, f"step {keys.steps:,}")
    if phases:
        rates = zip(phases, in_turn(keys, phases), strict=True)
        rate = " ".join(f"Phase {phase.name}: {_rate(own, 'its last step')}" for phase, own in rates)
    held = [f"EWC of strength {keys.ewc:g} (arXiv 1612.00796)"] if keys.ewc else []
    held += [f"L2-SP of strength {keys.l2_sp:g} (arXiv 1802.01483)"] if keys.l2_sp else []
    return {RATE: rate, PENALTY: f"{' and '.join(held) or 'EWC, switched on during the run'}."}


def _rate(keys: ScheduleKeys, end: str) -> str:
    """The learning rate up to its `end` in a sentence."""
    return (
        f"{keys.schedule.replace('_', ' ').capitalize()}: warm-up over {keys.warmup_steps:,} steps to {keys.peak:g}, "
        f"then {SHAPES[keys.schedule]}, {keys.peak * keys.floor:g} on {end}."
    )


def _journal(run: Run) -> Markup:
    """What happened to the run beside its steps, and why."""
    if not run.journal:
        return EMPTY
    rows = [
        (count(event["step"]), words(event["event"]), event.get("by", ""), done(event), evidence(event))
        for event in run.journal
    ]
    about = "What happened to the run, what the tool decided by itself, and on what evidence, in this order."
    body = table(("step", "event", "by", "what was done", "why"), rows, (0,))
    return html('<h3 id="journal">Journal</h3><p class="about">{}</p>{}', about, body)
