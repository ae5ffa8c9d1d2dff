"""A pilot's arms as a table in the terminal and as one self-contained HTML file with its curves."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup

    from train.pilot import Outcome

HEADINGS = ("rate", "replay", "domain", "gain %", "general", "rise %", "loss", "verdict")
"""Of the table: domain and general are bits per byte, the loss is in nats a token."""
STYLE = """
body { margin: 0 auto; max-width: 1060px; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; color: #1d1f24; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #e2dfd7; text-align: left; vertical-align: top; }
.n { text-align: right; }
"""


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
    """Write the page, plotly.js inside; it needs no network."""
    from plotly.offline import get_plotlyjs

    from curate.files import write_text
    from eval.report_html import html, join, table

    rows = [cells(one, best, bound) for one in outcomes]
    text = html(
        "<h1>{}: pilot</h1><p>Recommended: <b>{}</b>. Rule: {}.</p>{}<p>Domain and general: held-out bits per byte; "
        "at step 0 {:.4f} and {:.4f}. Loss: nats a token.</p>{}",
        name,
        best.name if best else "none",
        rule,
        table(HEADINGS, rows, range(len(HEADINGS) - 1)),
        outcomes[0].domain[0],
        outcomes[0].general[0],
        join(html("<p>{} stopped at {}.</p>", *stop) for stop in stops(outcomes)),
    )
    page = html(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{}: pilot</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><style>{}</style>',
        name,
        _trusted(STYLE),
    )
    script = f"<script>{get_plotlyjs()}</script></head><body>"
    write_text(path, f"{page}{script}{text}{_charts(outcomes, best, bound)}</body></html>\n")


def _charts(outcomes: list["Outcome"], best: "Outcome | None", bound: float) -> str:
    """Two plots: where the arms end, and both tracks over the steps."""
    import plotly.graph_objects as go

    ends = go.Figure()
    for replay in dict.fromkeys(one.replay for one in outcomes):
        same = [one for one in outcomes if one.replay == replay]
        ends.add_scatter(
            x=[one.gain for one in same],
            y=[one.rise for one in same],
            text=[f"{one.learning_rate:g}{' (stopped)' if one.stopped else ''}" for one in same],
            textposition="top center",
            mode="lines+markers+text",
            name=f"replay {replay:g}",
        )
    if best:
        ring = {"size": 20, "symbol": "circle-open", "color": "black", "line": {"width": 2}}
        ends.add_scatter(x=[best.gain], y=[best.rise], mode="markers", marker=ring, name="chosen")
    ends.add_hline(y=bound, line_dash="dash", annotation_text=f"bound {bound:g} %")
    ends.update_layout(
        title="Where each arm ends (labels: learning rate)",
        xaxis_title="domain gain, % of bits per byte at step 0",
        yaxis_title="general rise, %",
    )
    curves = [_curve(outcomes, pool, bound) for pool in ("domain", "general")]
    options: dict[str, Any] = {"full_html": False, "include_plotlyjs": False, "config": {"responsive": True}}
    return "".join(figure.to_html(div_id=f"chart-{number}", **options) for number, figure in enumerate((ends, *curves)))


def _curve(outcomes: list["Outcome"], pool: str, bound: float) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    for one in outcomes:
        values = getattr(one, pool)
        changes = [100 * (value / values[0] - 1) for value in values]
        name = f"{one.learning_rate:g}, replay {one.replay:g}"
        figure.add_scatter(x=one.evaluated, y=changes, mode="lines+markers", name=name)
    if pool == "general":
        figure.add_hline(y=bound, line_dash="dash", annotation_text=f"bound {bound:g} %")
    title = f"Held-out {pool} text: change of bits per byte since step 0"
    return figure.update_layout(title=title, xaxis_title="step", yaxis_title="%", showlegend=True)


def _trusted(text: str) -> "Markup":
    from markupsafe import Markup

    return Markup(text)
