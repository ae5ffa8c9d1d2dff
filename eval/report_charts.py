"""Plotly figures in plain JSON for the report; colours are names that the page turns into its theme's."""

from collections.abc import Iterable, Sequence
from typing import Any

MOST_POINTS = 1500
"""Points per line; a longer run is thinned evenly, its last step kept."""
MOST_NAMED = 8
"""Steps with events of the journal whose names stand at their lines; with more only the lines are drawn."""
LONGEST_NAME = 30
"""Characters of a name at a line."""

Line = tuple[str, str, list[Any], list[Any]]
"""Name, colour (domain, general, plain; empty: plotly's choice), steps, values."""


def figure(lines: Sequence[Line], unit: str, span: list[float] | None = None, x: str = "step") -> dict[str, Any]:
    """Lines over steps, with what the value is written at the axis."""
    drawn = [line for line in lines if any(value is not None for value in line[3])]
    few = max((len(line[2]) for line in drawn), default=0) <= 60
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers" if few else "lines",
            "name": plain(name),
            "x": steps,
            "y": values,
            "line": coloured(colour, width=2 if few else 1.2),
            "marker": {"size": 5},
        }
        for name, colour, steps, values in drawn
    ]
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": x}, "zeroline": False},
        "yaxis": {"title": {"text": unit}, "zeroline": False},
        "showlegend": len(traces) > 1,
    }
    if span:
        layout["yaxis"]["range"] = span
    return {"data": traces, "layout": layout}


def add_points(
    chart: dict[str, Any],
    name: str,
    colour: str,
    points: Sequence[tuple[float, float, str]],
    joined: bool = False,
    named: bool = True,
) -> dict[str, Any]:
    """Draw points (x, y, label), joined by a line where asked for; returns their trace, to be added to."""
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "+".join(part for part, on in (("lines", joined), ("markers", True), ("text", named)) if on),
        "name": plain(name),
        "x": [x for x, _, _ in points],
        "y": [y for _, y, _ in points],
        "text": [plain(label) for _, _, label in points],
        "textposition": "top center",
        "textfont": {"size": 11},
        "cliponaxis": False,
        "line": coloured(colour, width=1.5),
        "marker": coloured(colour, size=8),
    }
    chart["data"].append(trace)
    return trace


def coloured(colour: str, **keys: Any) -> dict[str, Any]:
    """A line or marker of a colour's name; an empty one leaves the choice to plotly."""
    return {"color": colour, **keys} if colour else keys


def plane(x: str, y: str) -> dict[str, Any]:
    """A chart without anything drawn yet, its axes named."""
    axes = {"xaxis": {"title": {"text": x}, "zeroline": False}, "yaxis": {"title": {"text": y}, "zeroline": True}}
    return {"data": [], "layout": {**axes, "hovermode": "closest", "showlegend": True}}


def add_bound(chart: dict[str, Any], name: str, points: Sequence[tuple[float, float]]) -> None:
    """Draw a dashed threshold through points of a chart; it changes right after the earlier of two points."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    line = {"color": "bad", "width": 1.5, "dash": "dash", "shape": "vh"}
    trace = {"type": "scatter", "mode": "lines", "name": plain(name), "x": xs, "y": ys, "line": line}
    chart["data"].append(trace)
    chart["layout"]["showlegend"] = True


def add_marks(chart: dict[str, Any], name: str, colour: str, symbol: str, points: Sequence[tuple[float, Any]]) -> None:
    """Draw single points, nothing where there are none."""
    if not points:
        return
    xs, ys = [x for x, _ in points], [y for _, y in points]
    marker = {"color": colour, "symbol": symbol, "size": 8}
    trace = {"type": "scatter", "mode": "markers", "name": plain(name), "x": xs, "y": ys, "marker": marker}
    chart["data"].append(trace)
    chart["layout"]["showlegend"] = True


def mark_events(charts: Iterable[dict[str, Any]], events: list[tuple[int, str]], named: bool = True) -> None:
    """Draw a vertical line at the step of each journal event, with its name where asked for and there is room."""
    steps: dict[int, list[str]] = {}
    for step, name in events:
        steps.setdefault(step, []).append(name)
    named = named and len(steps) <= MOST_NAMED
    for chart in charts:
        chart["layout"]["shapes"] = [
            {
                "type": "line",
                "x0": step,
                "x1": step,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": "event", "width": 1, "dash": "dot"},
            }
            for step in steps
        ]
        chart["layout"]["annotations"] = [_name(step, ", ".join(names)) for step, names in steps.items() if named]


def _name(step: int, name: str) -> dict[str, Any]:
    place = {"x": step, "yref": "paper", "y": 1, "textangle": -90, "xanchor": "right", "yanchor": "top"}
    return {**place, "text": plain(name[:LONGEST_NAME]), "showarrow": False, "font": {"size": 11, "color": "event"}}


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


def thin(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most MOST_POINTS of the steps, evenly, the last one among them."""
    every = max(1, -(-len(steps) // MOST_POINTS))
    return steps[::-1][::every][::-1]


def plain(text: str) -> str:
    """Text that plotly shows as it stands: it takes some tags in names and notes for markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;")
