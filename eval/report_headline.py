"""The head of the report: what the run was, what the domain gained, what general text lost."""

from typing import Any

from markupsafe import Markup

from eval.report_curation import pools_kept
from eval.report_data import Run
from eval.report_html import EMPTY, html, join, missing
from eval.report_scores import interval, signed, verdict

ABOUT_BITS = (
    "Bits per byte: how many bits the model needs to write down one byte of text it has never seen. Lower is better; "
    "it can be compared between models with different tokenizers."
)
POOLS = ("domain", "general")
NOTICEABLE = 0.02
"""Difference between the share of domain text asked for and trained on that the first sentence tells."""


def headline(run: Run) -> Markup:
    """Name, a sentence on what came of it, a card for each track, the figures of text and training."""
    cards = [_card(run, pool) for pool in POOLS]
    body = html('<div class="cards">{}</div>', join(cards)) if any(cards) else _no_scores(run)
    flow = [*pools_kept(run), *_trained(run)]
    items = join(html("<li><b>{}</b>{}</li>", figure, caption) for figure, caption in flow)
    return html(
        '<header><p class="kicker">Palimpsest run</p><h1>{}</h1></header><p class="lede">{}</p>{}'
        '<p class="about">{}</p><ul class="flow">{}</ul>{}',
        run.pipeline.name,
        _lede(run),
        body,
        ABOUT_BITS,
        items,
        _beside(run),
    )


def _lede(run: Run) -> Markup:
    keys = run.pipeline
    scratch = keys.train.init == "scratch"
    asked = run.mixture["asked"] if run.mixture else {"domain": keys.mix.domain, "replay": keys.mix.replay}
    text = html(
        "{} <code>{}</code>, trained on {:.0f}&nbsp;% domain text and {:.0f}&nbsp;% replay of general text. ",
        "A model from scratch with the shape of" if scratch else "The base model",
        keys.model,
        100 * asked["domain"],
        100 * asked.get("replay", 0),
    )
    got = sum(step["domain_share"] for step in run.steps) / len(run.steps) if run.steps else asked["domain"]
    if abs(got - asked["domain"]) > NOTICEABLE:
        text += html(
            "Decisions during training changed that: <strong>{:.0f}&nbsp;%</strong> was domain text. ", 100 * got
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
    measured = [line["eval"][name] for line in run.evaluations if line["eval"].get(name) is not None]
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
    edges = html("<p>95 % interval {}</p>", interval(change)) if change["low"] is not None else EMPTY
    return html(
        '<div class="card {0}"><h3>{0} text, bits per byte</h3><div class="big">{1:.3f} → {2:.3f}</div>'
        '<p>{3:+.3f} ({4}) {5}</p>{6}<p class="about">on {7}</p></div>',
        pool,
        change["before"],
        change["after"],
        change["change"],
        signed(change),
        verdict(change),
        edges,
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


def _beside(run: Run) -> Markup:
    """Links to other pages of the run folder."""
    links = join((html('<a href="{}">{}</a>', path, name) for path, name in run.pages), ", ")
    return html('<p class="about">Beside this page: {}.</p>', links) if run.pages else EMPTY
