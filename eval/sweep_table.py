"""What a sweep came to: a table, a JSON file, a plot."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eval.control import BITS
from eval.select import DOMAIN, score
from eval.sweep_arms import CONTROLLED, FULL, GENERATED, PROVOKED, REFERENCE, RESCUED, Arm
from pipelines.config import Pipeline

HEADINGS = ("arm", "seeds", "domain", "general", "gain kept", "rise avoided", "score", "")
CHART = "Up is learned, right is forgotten"
KEPT, RISE = 0.93, 0.5
"""A point in front of plain replay: at least this share of FULL's gain, at most this share of REFERENCE's rise."""


@dataclass(frozen=True)
class Result:
    """One arm and seed."""

    arm: str
    seed: int
    plain: bool
    domain: float
    """Change of domain bits per byte since step 0; below 0 is a gain."""
    general: float
    """Change of general bits per byte; above 0 is forgetting."""
    percent: float
    """The same in percent of step 0."""
    score: float
    """As eval.select weighs the two, in percent."""

    @classmethod
    def of(
        cls, arm: Arm, seed: int, before: Mapping[str, float], after: Mapping[str, float], weight: float
    ) -> "Result":
        """From the figures at step 0 and at the end."""
        domain, general = (after[name] - before[name] for name in (DOMAIN, BITS))
        percent = 100 * general / before[BITS]
        points = score(-100 * domain / before[DOMAIN], percent, weight)
        return cls(arm.name, seed, arm.plain, domain, general, percent, points)


@dataclass(frozen=True)
class Mean:
    """A mean over seeds, and half the width of its 95 % interval; None with one seed."""

    value: float
    half: float | None

    @classmethod
    def over(cls, values: Sequence[float]) -> "Mean":
        """Student's t interval."""
        from scipy.stats import t

        if len(values) < 2:
            return cls(values[0], None)
        quantile = float(t.ppf(0.975, len(values) - 1))
        return cls(statistics.mean(values), quantile * statistics.stdev(values) / math.sqrt(len(values)))

    def text(self, form: str = "+.4f") -> str:
        """The mean, and its interval where there is one."""
        return f"{self.value:{form}}" + ("" if self.half is None else f" ± {self.half:{form.lstrip('+')}}")


def rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A row an arm: means over its seeds; shares of FULL's gain and rise seed by seed, where FULL has that seed."""
    of_full = {one.seed: one for one in results if one.arm == FULL}
    limit = [one.general for one in results if one.arm == REFERENCE]
    found = []
    for name in dict.fromkeys(one.arm for one in results):
        mine = [one for one in results if one.arm == name]
        pairs = [(one, of_full[one.seed]) for one in mine if one.seed in of_full]
        kept = Mean.over([one.domain / full.domain for one, full in pairs]) if pairs else None
        avoided = Mean.over([1 - one.general / full.general for one, full in pairs]) if pairs else None
        means = {
            key: Mean.over([getattr(one, key) for one in mine]) for key in ("domain", "general", "percent", "score")
        }
        in_front = kept and limit and kept.value >= KEPT and means["general"].value <= RISE * statistics.mean(limit)
        row = {"arm": name, "plain": mine[0].plain, "seeds": [one.seed for one in mine], **means}
        found.append(row | {"kept": kept, "avoided": avoided, "in_front": bool(in_front)})
    return found


def verdicts(results: Sequence[Result], threshold: float) -> list[str]:
    """What was asked of the sweep and whether it holds, in sentences; `threshold` as eval.thresholds, in percent."""
    table = {row["arm"]: row for row in rows(results)}
    plain = [row for row in table.values() if row["plain"]]
    told = []
    if len(plain) > 1:
        # Most domain first: so must be the rise.
        ordered = sorted(plain, key=lambda row: row["domain"].value)
        falling = all(a["general"].value > b["general"].value for a, b in zip(ordered, ordered[1:], strict=False))
        names = ", ".join(row["arm"] for row in ordered)
        told.append(f"less gain goes with less forgetting at every fixed ratio ({names}): {_yes(falling)}")
    if CONTROLLED in table and plain:
        best = max(plain, key=lambda one: one["score"].value)
        share = table[CONTROLLED]["score"].value / best["score"].value
        told.append(f"{CONTROLLED} has {share:.0%} of the score of the best fixed ratio, {best['arm']}")
    if PROVOKED in table and RESCUED in table:
        without, rescued = (table[name]["percent"] for name in (PROVOKED, RESCUED))
        told.append(
            f"forgetting provoked: {PROVOKED} ends {without.text('+.1f')} % above the base in general bits per byte, "
            f"{rescued.text('+.1f')} % with the controller; under the threshold of {threshold:g} %: "
            f"{_yes(rescued.value <= threshold)}"
        )
    if GENERATED in table and REFERENCE in table and table[GENERATED]["avoided"]:
        share = table[GENERATED]["avoided"].value / table[REFERENCE]["avoided"].value
        told.append(f"{GENERATED} has {share:.0%} of the protection (rise avoided) of {REFERENCE}'s real replay")
    if FULL in table and REFERENCE in table:
        front = [name for name, row in table.items() if row["in_front"]]
        what = f"at least {KEPT:.0%} of {FULL}'s gain and at most {RISE:.0%} of {REFERENCE}'s rise"
        told.append(f"{what}: {', '.join(front) or 'no arm'}")
    return told


def show(pipeline: Pipeline, results: Sequence[Result]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="change of bits per byte since step 0", title_justify="left", box=None, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in ("arm", "") else "right")
    for row in rows(results):
        table.add_row(*_cells(row))
    console = Console(soft_wrap=True)
    console.print(table)
    for sentence in verdicts(results, pipeline.eval.thresholds.bits_per_byte_percent):
        console.print(sentence, highlight=False)


def _cells(row: Mapping[str, Any]) -> list[str]:
    """A row of the table."""
    shares = ["" if row[key] is None else row[key].text(".0%") for key in ("kept", "avoided")]
    means = [row["domain"].text(), row["general"].text(), *shares, row["score"].text(".2f")]
    return [row["arm"], str(len(row["seeds"])), *means, "in front" if row["in_front"] else ""]


def write(pipeline: Pipeline, results: Sequence[Result]) -> None:
    """eval/replay_sweep.json (every result, the rows, what holds) and eval/replay_sweep.html in the run folder."""
    from curate.files import write_json, write_text

    table = [
        {key: asdict(value) if isinstance(value, Mean) else value for key, value in row.items()}
        for row in rows(results)
    ]
    budget = {key: getattr(pipeline.train, key) for key in ("steps", "global_batch", "peak")}
    values = {"budget": budget, "results": [asdict(one) for one in results], "rows": table}
    folder, told = pipeline.folder / "eval", verdicts(results, pipeline.eval.thresholds.bits_per_byte_percent)
    write_json(folder / "replay_sweep.json", values | {"verdicts": told})
    write_text(folder / "replay_sweep.html", plot(pipeline.name, results, told))


def plot(name: str, results: Sequence[Result], told: Sequence[str]) -> str:
    """The page of a pipeline's sweep: what holds (`verdicts`), the table, and every arm in one chart."""
    from eval.report_html import bullets, chart_places, html, section, table
    from eval.report_page import page

    header = html('<header><p class="kicker">A replay sweep of Palimpsest</p><h1>{}</h1></header>', name)
    about = "Change of held-out bits per byte since step 0; ±: 95 % interval over seeds."
    cells = table(HEADINGS, [_cells(row) for row in rows(results)], range(1, len(HEADINGS) - 1))
    arms = section("arms", "Arms", about, bullets(told), chart_places([CHART]), cells)
    return page(f"{name}, replay sweep", header, [("arms", "Arms", arms)], {CHART: _chart(results)})


def _chart(results: Sequence[Result]) -> dict[str, Any]:
    """General change to the right, domain gain upwards, a line through the fixed ratios."""
    from eval.report_charts import add_points, plane

    chart = plane("rise of general bits per byte", "fall of domain bits per byte")
    table = sorted(rows(results), key=lambda row: row["general"].value)
    for name, colour, plain in (("fixed ratios", "domain", True), ("others", "event", False)):
        drawn = [row for row in table if row["plain"] == plain]
        if drawn:
            points = [(row["general"].value, -row["domain"].value, row["arm"]) for row in drawn]
            trace = add_points(chart, name, colour, points, joined=plain)
            trace["error_x"] = {"array": [row["general"].half or 0 for row in drawn]}
            trace["error_y"] = {"array": [row["domain"].half or 0 for row in drawn]}
            trace["textposition"] = "bottom right"
    return chart


def _yes(holds: bool) -> str:
    return "holds" if holds else "does not hold"
