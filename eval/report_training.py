"""The report on the model: the headline, training curves, scores, and what everything was made with."""

from typing import Any

import yaml
from markupsafe import Markup

from eval import report_charts
from eval.report_curation import pools_kept
from eval.report_data import Run
from eval.report_html import EMPTY, Figure, count, html, join, missing, pairs, section, size, table

ABOUT_BITS = (
    "Bits per byte: how many bits the model needs to write down one byte of text it has never seen. Lower is better; "
    "it can be compared between models with different tokenizers."
)
POOLS = ("domain", "general")


def headline(run: Run) -> Markup:
    """What the run was, what the domain gained, what general text lost."""
    cards = [_card(run, pool) for pool in POOLS]
    body = html('<div class="cards">{}</div>', join(cards)) if any(cards) else _no_scores(run)
    flow = [*pools_kept(run), *_trained(run)]
    items = join(html("<li><b>{}</b>{}</li>", figure, caption) for figure, caption in flow)
    return html(
        '<header><p class="kicker">Palimpsest run</p><h1>{}</h1></header><p class="lede">{}</p>{}'
        '<p class="about">{}</p><ul class="flow">{}</ul>',
        run.pipeline.name,
        _lede(run),
        body,
        ABOUT_BITS,
        items,
    )


def training(run: Run) -> tuple[Markup, dict[str, Any]]:
    """The curves as a section, and the figures it shows by name."""
    charts = report_charts.training(run.steps, run.evaluations)
    events = [(entry["step"], entry["event"]) for entry in run.journal if entry["event"] not in ("start", "finish")]
    report_charts.mark_events(charts, events)
    about = "Every optimizer step of the run; evaluations are on held-out text."
    if not charts:
        return section("training", "Training", about, missing("No training yet.", "torchrun -m train.launch")), {}
    drawn = join(
        html('<div class="chart"><h3>{0}</h3><div class="plot" data-chart="{0}"></div></div>', name) for name in charts
    )
    return section("training", "Training", about, html('<div class="charts">{}</div>', drawn), _journal(run)), charts


def scores(run: Run) -> Markup:
    """Bits per byte per pool and source with the interval of the change."""
    about = (
        "All held-out documents. The change is trained minus base; its 95 % interval is a paired bootstrap over "
        "documents, and a change whose interval holds 0 is called no change."
    )
    if not run.scores:
        return section("scores", "Scores", about, missing("Not measured yet.", "python -m eval.run"))
    base, trained, difference = run.scores["base"], run.scores["trained"], run.scores["difference"]
    rows = []
    for name, group in trained["groups"].items():
        shown = name if "/" in name else html("<strong>{}</strong>", name)
        row: list[Any] = [shown, Figure(group["bits_per_byte"], f"{group['bits_per_byte']:.4f}")]
        if base:
            before, change = base["groups"][name]["bits_per_byte"], difference[name]
            row.insert(1, Figure(before, f"{before:.4f}"))
            row += [Figure(change["percent"], _signed(change)), _verdict(change)]
            row += [Figure(change["change"], f"{change['change']:+.4f}"), _interval(change)]
        rows.append([*row, count(group["documents"]), size(group["bytes"])])
    compared = ("base", "trained", "in %", "verdict", "change", "95 % interval") if base else ("trained",)
    right = (1, 2, 3, 5, 6, 7, 8) if base else (1, 2, 3)
    body = table(("held-out text", *compared, "documents", "bytes"), rows, right)
    note = EMPTY if base else html('<p class="about">The model was trained from scratch, so there is no base.</p>')
    return section("scores", "Scores", about, note, body)


def provenance(run: Run) -> Markup:
    """Versions, identities and the pipeline as resolved."""
    about = "Equal identities mean equal inputs, keys and code version; equal weights have equal hashes."
    versions: dict[str, Any] = {}
    rows = []
    for stage in (run.manifest or {}).get("stages", []):
        versions |= {library: found for library, found in stage["versions"].items() if library != "stage"}
        seconds = Figure(stage["seconds"], f"{stage['seconds']:.1f}")
        rows.append((stage["name"], html("<code>{}</code>", stage["identity"]), seconds))
    hashes = {}
    if run.scores:
        versions |= run.scores["versions"]
        hashes["held-out documents"] = run.scores["held_out"]["identity"]
        hashes |= {f"{name} model": run.scores[name]["identity"] for name in ("base", "trained") if run.scores[name]}
    parts = [html("<h3>Versions</h3>{}", pairs(versions)) if versions else EMPTY]
    parts.append(html("<h3>Hashes</h3>{}", pairs(hashes)) if hashes else EMPTY)
    parts.append(html("<h3>Stages</h3>{}", table(("stage", "identity", "seconds"), rows, (2,))) if rows else EMPTY)
    resolved = yaml.safe_dump(run.pipeline.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    parts.append(html("<details><summary>pipeline.yaml as resolved</summary><pre>{}</pre></details>", resolved))
    return section("provenance", "Made with", about, *parts)


def _lede(run: Run) -> Markup:
    keys = run.pipeline
    scratch = keys.train.init == "scratch"
    text = html(
        "{} <code>{}</code>, trained on {:.0f}&nbsp;% domain text and {:.0f}&nbsp;% replay of general text. ",
        "A model from scratch with the shape of" if scratch else "The base model",
        keys.model,
        100 * keys.mix.domain,
        100 * keys.mix.replay,
    )
    domain, general = (_change(run, pool) for pool in POOLS)
    if domain is None or general is None:
        return text
    return text + html(
        "On held-out domain text it needs <strong>{} bits</strong> than {}, on general text <strong>{}</strong>.",
        _amount(domain),
        "before training" if scratch else "the base",
        _amount(general),
    )


def _amount(change: dict[str, Any]) -> str:
    if change["verdict"] == "no change":
        return f"as many ({change['percent']:+.1f} % is inside the interval of no change)"
    return f"{abs(change['percent']):.1f} % {'fewer' if change['change'] < 0 else 'more'}"


def _change(run: Run, pool: str) -> dict[str, Any] | None:
    """before, after, change, percent, low, high, verdict, where: from scores.json, else from the evaluations of the
    training run, else None."""
    name = f"{pool}_bits_per_byte"
    if run.scores and run.scores["base"]:
        documents = run.scores["held_out"]["documents"][pool]
        return {
            "before": run.scores["base"][name],
            "after": run.scores["trained"][name],
            "where": f"{documents:,} held-out documents",
            **run.scores["difference"][pool],
        }
    measured = [line["eval"][name] for line in run.evaluations if name in line["eval"]]
    if len(measured) < 2:
        return None
    before, after = measured[0], measured[-1]
    return {
        "before": before,
        "after": after,
        "change": after - before,
        "percent": 100 * (after / before - 1),
        "low": None,
        "verdict": "",
        "where": "the held-out documents measured during training",
    }


def _card(run: Run, pool: str) -> Markup:
    change = _change(run, pool)
    if change is None:
        return EMPTY
    interval = html("<p>95 % interval {}</p>", _interval(change)) if change["low"] is not None else EMPTY
    return html(
        '<div class="card {0}"><h3>{0} text, bits per byte</h3><div class="big">{1:.3f} → {2:.3f}</div>'
        '<p>{3:+.3f} ({4}) {5}</p>{6}<p class="about">on {7}</p></div>',
        pool,
        change["before"],
        change["after"],
        change["change"],
        _signed(change),
        _verdict(change),
        interval,
        change["where"],
    )


def _no_scores(run: Run) -> Markup:
    if run.scores:
        values = ", ".join(f"{run.scores['trained'][f'{pool}_bits_per_byte']:.3f} on {pool} text" for pool in POOLS)
        return html('<p class="lede">Bits per byte: {}.</p>', values)
    return missing("Nothing has been measured yet, so what was gained and lost is not known.", "python -m eval.run")


def _trained(run: Run) -> list[tuple[str, str]]:
    if not run.steps:
        return []
    last = run.steps[-1]
    return [(f"{last['step']:,}", "optimizer steps"), (f"{last['tokens']:,}", "tokens seen")]


def _interval(change: dict[str, Any]) -> str:
    return "" if change["low"] is None else f"{change['low']:+.4f} to {change['high']:+.4f}"


def _signed(change: dict[str, Any]) -> str:
    return f"{change['percent']:+.1f} %"


def _verdict(change: dict[str, Any]) -> Markup:
    return html('<span class="verdict {}">{}</span>', change["verdict"].replace(" ", "-"), change["verdict"])


def _journal(run: Run) -> Markup:
    """What happened to the run beside its steps."""
    if not run.journal:
        return EMPTY
    rows = []
    for entry in run.journal:
        others = {key: value for key, value in entry.items() if key not in ("event", "step")}
        rows.append((count(entry["step"]), entry["event"], pairs(others) if others else EMPTY))
    return html("<h3>Journal</h3>{}", table(("step", "event", "details"), rows, (0,)))
