"""A pilot's arms as a table in the terminal and as one self-contained HTML file with its curves."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from train.pilot import Outcome

HEADINGS = ("rate", "replay", "domain", "gain %", "general", "rise %", "loss", "verdict")
"""Of the table: domain and general are bits per byte, the loss is in nats a token."""
ENDS = "Where each arm ends; labels: learning rate"
CURVES = {pool: f"Held-out {pool} text: change of bits per byte since step 0" for pool in ("domain", "general")}


def verdict(outcome: "Outcome", best: "Outcome | None", bound: float) -> str:
    """A word or two about an arm."""
    if outcome.stopped:
        return f"stopped, step {outcome.steps}"
    about = "no domain gain" if outcome.gain <= 0 else "within the bound" if outcome.rise <= bound else "over the bound"
    if outcome is best:
        return "chosen" if outcome.rise <= bound else f"chosen, {about}"
    return about


def cells(outcome: "Outcome", best: "Outcome | None", bound: float) -> list[str]:
    """A row of the table."""
    return [
        f"{outcome.learning_rate:g}",
        f"{outcome.replay:g}",
        f"{outcome.domain[-1]:.4f}",
        f"{outcome.gain:+.2f}",
        f"{outcome.general[-1]:.4f}",
        f"{outcome.rise:+.2f}",
        "-" if outcome.loss is None else f"{outcome.loss:.4f}",
        verdict(outcome, best, bound),
    ]


def show(outcomes: list["Outcome"], best: "Outcome | None", rule: str, bound: float) -> None:
    """Print the arms, and what is recommended by which rule."""
    from rich.console import Console
    from rich.table import Table

    first = outcomes[0]
    start = f"pilot: bits per byte at step 0: domain {first.domain[0]:.4f}, general {first.general[0]:.4f}"
    table = Table(title=start, title_justify="left", box=None)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == HEADINGS[-1] else "right")
    for one in outcomes:
        table.add_row(*cells(one, best, bound), style="bold" if one is best else None)
    console = Console(soft_wrap=True, highlight=False)
    console.print(table)
    console.print(f"bound on the rise: {bound:g} %")
    for name, why in stops(outcomes):
        console.print(f"{name} stopped at {why}")
    console.print(f"recommended: {best.name if best else 'none'}: {rule}")


def stops(outcomes: list["Outcome"]) -> list[tuple[str, str]]:
    """Arms that ended early: name, step and reason."""
    return [(one.name, one.stopped) for one in outcomes if one.stopped]


def write(path: Path, name: str, outcomes: list["Outcome"], best: "Outcome | None", rule: str, bound: float) -> None:
    """Write the page; it needs no network."""
    from curate.files import write_text
    from eval.report_html import bullets, chart_places, html, section, table
    from eval.report_page import page

    header = html(
        '<header><p class="kicker">A pilot of Palimpsest</p><h1>{}</h1>'
        '<p class="lede">Recommended: <b>{}</b>. Rule: {}.</p></header>',
        name,
        best.name if best else "none",
        rule,
    )
    first = outcomes[0]
    about = (
        f"Domain and general: held-out bits per byte; at step 0 {first.domain[0]:.4f} and {first.general[0]:.4f}. "
        "Loss: nats a token."
    )
    rows = [cells(one, best, bound) for one in outcomes]
    ended = bullets(f"{arm} stopped at {why}." for arm, why in stops(outcomes))
    charts = {ENDS: _ends(outcomes, best, bound)}
    charts |= {title: _curve(outcomes, pool, bound) for pool, title in CURVES.items()}
    arms = section("arms", "Arms", about, table(HEADINGS, rows, range(len(HEADINGS) - 1)), ended, chart_places(charts))
    write_text(path, page(f"{name}, pilot", header, [("arms", "Arms", arms)], charts))


def _ends(outcomes: list["Outcome"], best: "Outcome | None", bound: float) -> dict[str, Any]:
    """Gain and rise of each arm that has them, a line an equal replay share."""
    from eval.report_charts import add_bound, add_marks, add_points, plane

    chart = plane("domain gain, % of bits per byte at step 0", "general rise, %")
    drawn = [one for one in outcomes if math.isfinite(one.gain) and math.isfinite(one.rise)]
    for replay in dict.fromkeys(one.replay for one in drawn):
        points = [
            (one.gain, one.rise, f"{one.learning_rate:g}{' (stopped)' if one.stopped else ''}")
            for one in drawn
            if one.replay == replay
        ]
        add_points(chart, f"replay {replay:g}", "", points, joined=True)
    if best:
        add_marks(chart, "chosen", "ink", "circle-open", [(best.gain, best.rise)])
        chart["data"][-1]["marker"] |= {"size": 20, "line": {"width": 2}}
    gains = [0.0, *(one.gain for one in drawn)]
    add_bound(chart, f"bound {bound:g} %", [(min(gains), bound), (max(gains), bound)])
    return chart


def _curve(outcomes: list["Outcome"], pool: str, bound: float) -> dict[str, Any]:
    """A pool's change of bits per byte over the steps, a line an arm."""
    from eval.report_charts import add_bound, figure

    lines = []
    for one in outcomes:
        values = getattr(one, pool)
        changes = [100 * (value / values[0] - 1) if math.isfinite(value) else None for value in values]
        lines.append((f"{one.learning_rate:g}, replay {one.replay:g}", "", one.evaluated, changes))
    chart = figure(lines, "%")
    if pool == "general":
        add_bound(chart, f"bound {bound:g} %", [(0, bound), (max(one.evaluated[-1] for one in outcomes), bound)])
    return chart
