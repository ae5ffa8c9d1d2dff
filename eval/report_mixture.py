"""The report on tokens: how the tokenizer cuts the text, before and after extension, and the mixture made of them."""

from typing import Any

from markupsafe import Markup

from eval.report_charts import terms_by_tokens
from eval.report_data import Run
from eval.report_html import (
    EMPTY,
    Figure,
    bullets,
    chart_places,
    count,
    html,
    missing,
    percent,
    section,
    share,
    table,
)

MOST_SPLIT = 12
"""Terms shown of the most split ones."""
NEW_TOKENS = 60
"""New tokens shown."""


def tokenizer(run: Run) -> tuple[Markup, dict[str, Any]]:
    """Fertility before and after, the rules that decided, the most split terms, the new tokens; and the figures shown.

    The figures are by name: how many terms take 1, 2, ... tokens.
    """
    about = (
        "How many tokens the base tokenizer needs for a word (fertility) and how many domain terms it breaks into four "
        "pieces or more; where tokens were added, the same afterwards. Fewer tokens make training and use cheaper."
    )
    title = "Tokenizer"
    if not run.fertility:
        none = missing("The tokenizer has not been analysed.", "python -m curate.run")
        return section("tokenizer", title, about, none), {}
    before, after = run.fertility["pools"], run.fertility.get("extended")
    rows = []
    for pool, figures in before.items():
        rows.append((pool, "base" if after else "as used", *_figures(figures)))
        if after:
            rows.append((pool, "extended", *_figures(after[pool])))
    headings = ("pool", "tokenizer", "tokens", "tokens per word", "bytes per token", "terms split in 4 or more")
    body = table(headings, rows, range(2, 6))
    charts = {"Terms by number of tokens": terms_by_tokens(before, after)}
    parts = (body, chart_places(charts), _most_split(before, bool(after)), _new_tokens(run))
    return section("tokenizer", title, about, _decision(run), *parts), charts


def _figures(figures: dict[str, Any]) -> tuple[Figure, ...]:
    return (
        count(figures["tokens"]),
        Figure(figures["fertility"], f"{figures['fertility']:.3f}"),
        Figure(figures["bytes_per_token"], f"{figures['bytes_per_token']:.2f}"),
        Figure(figures["heavily_split"], percent(figures["heavily_split"])),
    )


def _decision(run: Run) -> Markup:
    assert run.fertility
    added = len(run.extension["new_tokens"]) if run.extension else 0
    reasons = run.fertility.get("summary", {}).get("reasons", [])
    verdict = f"{added:,} tokens were added to the vocabulary." if added else "No tokens were added to the vocabulary."
    return html("<p>{}</p>{}", verdict, bullets(reasons))


def _most_split(pools: dict[str, Any], extended: bool) -> Markup:
    terms = pools.get("domain", {}).get("most_split", [])[:MOST_SPLIT]
    if not terms:
        return EMPTY
    rows = [(term["term"], count(term["count"]), count(term["tokens"]), " · ".join(term["pieces"])) for term in terms]
    shown = table(("term", "times", "tokens", "pieces"), rows, (1, 2))
    when = ", before extension" if extended else ""
    return html("<h3>Domain terms that cost the most tokens{}</h3>{}", when, shown)


def _new_tokens(run: Run) -> Markup:
    tokens = run.extension["new_tokens"] if run.extension else []
    if not tokens:
        return EMPTY
    shown = sorted(tokens, key=lambda token: (-token["count"], token["id"]))[:NEW_TOKENS]
    rows = [(html("<code>{}</code>", token["token"]), token["id"], count(token["count"])) for token in shown]
    heading = f"New tokens ({len(shown)} of {len(tokens):,}, most frequent first)"
    return html("<details><summary>{}</summary>{}</details>", heading, table(("token", "id", "times"), rows, (1, 2)))


def mixture(run: Run) -> Markup:
    """Shares, tokens and epochs per pool and source, asked and got."""
    title = "Mixture"
    if run.mixture is None:
        about = "What the batches were asked to hold, and what they hold."
        return section("mixture", title, about, missing("No mixture has been built.", "python -m mix.build"))
    plan, asked, got, budget = (run.mixture[name] for name in ("plan", "asked", "got", "budget"))
    about = (
        f"What the batches were asked to hold, and what the plan deals to {budget['steps']:,} steps of "
        f"{budget['global_batch']} rows of {plan['seq_len']} tokens. An epoch is one pass over all rows of a source; "
        "padding is room that no document filled; a cut document is longer than a row and goes on in another."
    )
    pools = [
        (
            pool,
            Figure(asked[pool], percent(asked[pool])),
            Figure(dealt["share"], percent(dealt["share"])),
            _trained_share(run, pool),
            count(dealt["rows"]),
            count(dealt["tokens"]),
            Figure(dealt["epochs"], f"{dealt['epochs']:.3f}"),
        )
        for pool, dealt in got.items()
    ]
    headings = ("pool", "asked", "planned", "trained on", "rows dealt", "tokens dealt", "epochs")
    sources = [
        _source(pool, source, got[pool]["sources"][source["name"]], plan["seq_len"])
        for pool, packed in plan["pools"].items()
        for source in packed
    ]
    columns = ("pool", "source", "documents", "cut", "tokens", "rows", "padding", "rows dealt", "epochs")
    by_source = html("<h3>By source</h3>{}", table(columns, sources, range(2, 9)))
    phases = [_phases(run)] if run.mixture.get("phases") else []
    told = (*phases, *_sentences("Rescaled", run.mixture["rescaled"]), *_sentences("Advice", run.mixture["advice"]))
    return section("mixture", title, about, table(headings, pools, range(1, 7)), *told, by_source)


def _phases(run: Run) -> Markup:
    """What each phase was asked to hold, and what the plan deals to it."""
    assert run.mixture
    rows = [
        (
            phase["name"],
            count(phase["first_step"]),
            count(phase["steps"]),
            pool,
            Figure(phase["asked"][pool], percent(phase["asked"][pool])),
            Figure(dealt["share"], percent(dealt["share"])),
            ", ".join(f"{name} {percent(one['weight'])}" for name, one in dealt["sources"].items() if one["weight"]),
        )
        for phase in run.mixture["phases"]
        for pool, dealt in phase["got"].items()
    ]
    headings = ("phase", "first step", "steps", "pool", "asked", "planned", "sources of the pool")
    return html("<h3>By phase</h3>{}", table(headings, rows, (1, 2, 4, 5)))


def _sentences(heading: str, found: list[str]) -> list[Markup]:
    return [html("<h3>{}</h3>{}", heading, bullets(found))] if found else []


def _source(pool: str, packed: dict[str, Any], dealt: dict[str, Any], seq_len: int) -> tuple[Any, ...]:
    room = packed["rows"] * seq_len
    return (
        pool,
        packed["name"],
        count(packed["documents"]),
        count(packed["cut"]),
        count(packed["tokens"]),
        count(packed["rows"]),
        share(room - packed["tokens"], room),
        count(dealt["rows"]),
        Figure(dealt["epochs"], f"{dealt['epochs']:.3f}"),
    )


def _trained_share(run: Run, pool: str) -> Figure:
    """The pool's share of all rows that the training run has seen so far, from its metrics."""
    if not run.steps:
        return Figure(None, "")
    domain = sum(step["domain_share"] for step in run.steps) / len(run.steps)
    got = domain if pool == "domain" else 1 - domain
    return Figure(got, percent(got))
