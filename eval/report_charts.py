"""The report's charts as plotly figures in plain JSON; colours are names that the page turns into its theme's."""

from typing import Any

MOST_POINTS = 1500
"""Points per line; a longer run is thinned evenly, its last step kept."""

Line = tuple[str, str, list[Any], list[Any]]
"""Name, colour (domain, general, plain), steps, values."""


def training(steps: list[dict[str, Any]], evaluations: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Name -> figure, for what a run has logged."""
    charts = {}
    if evaluations:
        charts["Held-out bits per byte: change since step 0"] = figure(_tracks(evaluations), "bits per byte", zero=True)
    if steps:
        shown = thin(steps)
        charts["Training loss by pool"] = figure(
            [
                _line(shown, "domain", "domain", "loss_domain"),
                _line(shown, "replay", "general", "loss_replay"),
                _line(shown, "all", "plain", "loss"),
            ],
            "nats per token",
        )
        charts["Learning rate"] = figure([_line(shown, "learning rate", "plain", "lr")], "learning rate")
        charts["Gradient norm (before clipping)"] = figure([_line(shown, "norm", "plain", "grad_norm")], "norm")
        charts["Domain share of each batch"] = figure(
            [_line(shown, "domain share", "domain", "domain_share")], "share of rows", span=[0, 1.02]
        )
    return charts


def terms_by_tokens(pools: dict[str, Any], extended: dict[str, Any] | None) -> dict[str, Any]:
    """Share of each pool's terms that take 1, 2, ... tokens; the last number counts all longer terms too."""
    drawn = [(pool, pool if pool == "domain" else "general", figures) for pool, figures in pools.items()]
    if extended:
        drawn = [(f"{pool}, base", "plain", figures) for pool, _, figures in drawn if pool == "domain"] + [
            (f"{pool}, extended", colour, extended[pool]) for pool, colour, _ in drawn
        ]
    lines = []
    for name, colour, figures in drawn:
        times = figures["terms_by_tokens"]
        whole = sum(times.values()) or 1
        lines.append((name, colour, [int(length) for length in times], [count / whole for count in times.values()]))
    longest = max(length for line in lines for length in line[2])
    chart = figure(lines, "share of terms", x=f"tokens in a term ({longest}: {longest} or more)")
    chart["layout"]["xaxis"]["dtick"] = 1
    return chart


def figure(
    lines: list[Line], unit: str, zero: bool = False, span: list[float] | None = None, x: str = "step"
) -> dict[str, Any]:
    """Lines over steps, with what the value is written at the axis; `zero` draws a line at 0."""
    drawn = [line for line in lines if any(value is not None for value in line[3])]
    few = max((len(line[2]) for line in drawn), default=0) <= 60
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers" if few else "lines",
            "name": name,
            "x": steps,
            "y": values,
            "line": {"color": colour, "width": 2 if few else 1.2},
            "marker": {"size": 5},
        }
        for name, colour, steps, values in drawn
    ]
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": unit}, "zeroline": zero},
        "showlegend": len(traces) > 1,
    }
    if span:
        layout["yaxis"]["range"] = span
    return {"data": traces, "layout": layout}


def mark_events(charts: dict[str, dict[str, Any]], events: list[tuple[int, str]]) -> None:
    """Draw a vertical line with its name at the step of each journal event."""
    for chart in charts.values():
        chart["layout"]["shapes"] = [
            {"type": "line", "x0": step, "x1": step, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": "event"}}
            for step, _ in events
        ]
        chart["layout"]["annotations"] = [
            {"x": step, "yref": "paper", "y": 1, "text": name, "showarrow": False, "textangle": -90, "xanchor": "right"}
            for step, name in events
        ]


def _tracks(evaluations: list[dict[str, Any]]) -> list[Line]:
    """Change of each pool's bits per byte against the first evaluation."""
    lines = []
    for pool in ("domain", "general"):
        name = f"{pool}_bits_per_byte"
        measured = [(line["step"], line["eval"][name]) for line in evaluations if name in line["eval"]]
        if measured:
            changes = [value - measured[0][1] for _, value in measured]
            lines.append((pool, pool, [step for step, _ in measured], changes))
    return lines


def _line(steps: list[dict[str, Any]], name: str, colour: str, key: str) -> Line:
    return name, colour, [step["step"] for step in steps], [step.get(key) for step in steps]


def thin(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most MOST_POINTS of the steps, evenly, the last one among them."""
    every = -(-len(steps) // MOST_POINTS)
    return steps[::-1][::every][::-1]
