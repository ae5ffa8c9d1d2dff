"""The report on text: what went in, what was dropped and why, near-duplicates, tokenizer and mixture."""

import json
from typing import Any

from markupsafe import Markup

from eval.report_data import Run
from eval.report_html import (
    EMPTY,
    count,
    documents,
    excerpt,
    html,
    human_bytes,
    join,
    missing,
    pairs,
    percent,
    section,
    share,
    size,
    table,
    words,
)

HELD_OUT = "held_out"
"""The stage whose documents are not dropped but set aside."""


def funnel(run: Run) -> Markup:
    """Documents and bytes from the sources to what was kept, stage by stage."""
    about = "Every document that was read is either kept, set aside for evaluation, or in the ledger with its reason."
    if not run.manifest or not run.manifest["stages"]:
        return section("funnel", "What went in", about, missing("No curation has finished.", "python -m curate.run"))
    stages = run.manifest["stages"]
    first = stages[0]["documents_in"]
    bars = [_bar(stage, first) for stage in stages]
    key = html(
        '<p class="about"><span class="key kept"></span>left after the stage '
        '<span class="key gone"></span>removed by it '
        '<span class="key aside"></span>set aside; a full bar is {} documents ({}).</p>',
        count(first).text,
        human_bytes(stages[0]["bytes_in"]),
    )
    rows = [
        (
            words(stage["name"]),
            count(stage["documents_in"]),
            count(stage["documents_removed"]),
            share(stage["documents_removed"], stage["documents_in"]),
            count(stage["documents_kept"]),
            size(stage["bytes_in"] - stage["bytes_kept"]),
            size(stage["bytes_kept"]),
        )
        for stage in stages
    ]
    headings = ("stage", "documents in", "removed", "share", "left", "bytes removed", "bytes left")
    body = table(headings, rows, range(1, 7))
    return section("funnel", "What went in", about, key, join(bars), body, _sources(run))


def dropped(run: Run) -> Markup:
    """Each reason with its count and some of the documents it hit."""
    about = (
        "Each reason, how many documents it removed, and the first, middle and last of them with the evidence that the "
        "ledger keeps. Judge for yourself whether the rule is right for this text."
    )
    if not run.manifest or not run.manifest["stages"]:
        return section("dropped", "What was dropped, and why", about, missing("There is no ledger yet."))
    groups = [_stage_reasons(run, stage) for stage in run.manifest["stages"] if stage["reasons"]]
    body = join(groups) if groups else html('<p class="missing">No stage removed anything.</p>')
    return section("dropped", "What was dropped, and why", about, body)


def edited(run: Run) -> Markup:
    """What was changed inside documents that stay, with some of the places."""
    about = (
        "Spans that a stage cut or replaced in documents that stay, with the first, middle and last of each reason; "
        "edited/ holds them all; where a stage keeps the removed text out of the ledger, only what stands there now is "
        "shown."
    )
    stages = [stage for stage in run.manifest["stages"] if stage.get("edits")] if run.manifest else []
    if not stages:
        return section("edited", "What was edited", about, html('<p class="missing">No stage edited a document.</p>'))
    rows = [
        (
            words(stage["name"]),
            words(reason),
            count(spans),
            count(stage["documents_edited"]),
            size(stage["bytes_cut"]),
        )
        for stage in stages
        for reason, spans in sorted(stage["edits"].items(), key=lambda item: (-item[1], item[0]))
    ]
    headings = ("stage", "reason", "spans", "documents edited by the stage", "bytes cut by the stage")
    folded = join(
        html(
            "<details><summary>{}: {}</summary>{}</details>",
            words(stage["name"]),
            words(reason),
            join(_edit(row) for row in run.edits.filter(stage=stage["name"], reason=reason).iter_rows(named=True)),
        )
        for stage in stages
        for reason in sorted(stage["edits"])
    )
    return section("edited", "What was edited", about, table(headings, rows, range(2, 5)), folded)


def duplicates(run: Run) -> Markup:
    """Pairs of near-duplicates side by side."""
    about = "Pairs from the least to the most similar: the document that went, beside the one that was kept for it."
    if not run.duplicates:
        return section("duplicates", "Near-duplicates", about, missing("The ledger names no near-duplicates."))
    return section("duplicates", "Near-duplicates", about, join(_pair(pair) for pair in run.duplicates))


def _bar(stage: dict[str, Any], first: int) -> Markup:
    kept, removed = stage["documents_kept"], stage["documents_removed"]
    return html(
        '<div class="bar"><span class="name">{}</span><span class="track"><span class="kept" style="width:{:.3f}%">'
        '</span><span class="{}" style="width:{:.3f}%"></span></span><span class="value">{} left{}</span></div>',
        words(stage["name"]),
        100 * kept / max(first, 1),
        "aside" if stage["name"] == HELD_OUT else "gone",
        100 * removed / max(first, 1),
        count(kept).text,
        f", −{removed:,}" if removed else "",
    )


def _sources(run: Run) -> Markup:
    """Documents and bytes read per source."""
    assert run.manifest
    sources = run.manifest.get("sources")
    if not sources:
        return EMPTY
    removed: dict[str, int] = {}
    for stage in run.manifest["stages"]:
        for source, gone in stage.get("removed_by_source", {}).items():
            if stage["name"] != HELD_OUT:
                removed[source] = removed.get(source, 0) + gone
    rows = [
        (
            source["pool"],
            source["source"],
            count(source["documents"]),
            size(source["bytes"]),
            count(removed.get(source["source"], 0)),
            share(removed.get(source["source"], 0), source["documents"]),
        )
        for source in sources
    ]
    body = table(("pool", "source", "documents read", "bytes read", "dropped", "share"), rows, range(2, 6))
    return html("<h3>By source</h3>{}", body)


def _stage_reasons(run: Run, stage: dict[str, Any]) -> Markup:
    if stage["name"] == HELD_OUT:
        return EMPTY
    reasons = sorted(stage["reasons"].items(), key=lambda item: (-item[1], item[0]))
    folded = join(_reason(run, stage, reason, removed) for reason, removed in reasons)
    return html("<h3>{}</h3>{}", words(stage["name"]), folded)


def _reason(run: Run, stage: dict[str, Any], reason: str, removed: int) -> Markup:
    examples = run.examples.filter(stage=stage["name"], reason=reason).iter_rows(named=True)
    return html(
        '<details><summary>{} <span class="count">{}, {} of those the stage saw</span></summary>{}</details>',
        words(reason),
        documents(removed),
        percent(removed / stage["documents_in"]),
        join(_example(row) for row in examples),
    )


def _example(row: dict[str, Any], text: str = "excerpt", after: Markup = EMPTY) -> Markup:
    evidence = json.loads(row["detail"] or "{}")
    return html(
        '<div class="example"><div class="id">{} <span class="origin">from {}</span></div>{}{}{}</div>',
        row["id"],
        row["origin"],
        pairs(evidence) if evidence else EMPTY,
        excerpt(row[text]),
        after,
    )


def _edit(row: dict[str, Any]) -> Markup:
    return _example(row, "before", html("<p>now: {}</p>", row["after"] or "nothing"))


def _pair(pair: dict[str, Any]) -> Markup:
    similarity = "" if pair["similarity"] is None else f"similarity {pair['similarity']:.2f}"
    one = html('<div><div class="id">removed: {}</div>{}</div>', pair["id"], _text(pair["excerpt"]))
    other = html('<div><div class="id">kept: {}</div>{}</div>', pair["other"], _text(pair["other_excerpt"]))
    return html('<div class="example"><strong>{}</strong><div class="two">{}{}</div></div>', similarity, one, other)


def _text(text: str | None) -> Markup:
    return excerpt(text) or html('<p class="about">its text is not in the run: a later stage removed it</p>')


def pools_kept(run: Run) -> list[tuple[str, str]]:
    """Figure and caption of the headline's numbers about text."""
    if not run.manifest or not run.manifest["stages"]:
        return []
    stages = [stage for stage in run.manifest["stages"] if stage["name"] != HELD_OUT]
    read, last = stages[0], stages[-1]
    aside = sum(pool["documents"] for pool in run.manifest.get("held_out", {}).values())
    kept_bytes = run.manifest["stages"][-1]["bytes_kept"]
    return [
        (count(read["documents_in"]).text, f"documents read, {human_bytes(read['bytes_in'])}"),
        (count(read["documents_in"] - last["documents_kept"]).text, "dropped, each with its reason"),
        (count(last["documents_kept"] - aside).text, f"kept for training, {human_bytes(kept_bytes)}"),
        (count(aside).text, "set aside for evaluation"),
    ]
