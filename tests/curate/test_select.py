"""select: the most domain-like share of a crawl is kept, to the byte, and nothing else is touched."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curate import novelty
from curate.selection import Select, _rank
from tests.curate.corpus import corpus, curate, kept, ledger, sentences, write_lines
from tests.curate.test_classify import recipe


def crawl(root: Path, documents: int = 100) -> Path:
    """notes (domain), and news (replay) in which every tenth document is of the domain's kind."""
    corpus(root, 60)
    news = [{"id": f"r{k}", "text": recipe(k) if k % 10 else sentences(5000 + k, 8)} for k in range(documents)]
    write_lines(root / "general" / "news.jsonl.gz", news)
    return root


@pytest.mark.parametrize("by", ["moore_lewis", "classifier"])
def test_hidden_domain_documents_are_kept(tmp_path: Path, by: str) -> None:
    root = crawl(tmp_path / "data")
    curate(root, tmp_path / "run", [{"select": {"keep": 0.13, "by": by}}], **{"eval.held_out": 0})
    news = {one for one in kept(tmp_path / "run") if one.startswith("news/")}
    assert news >= {f"news/r{k}" for k in range(0, 100, 10)} and len(news) <= 14
    assert sum(one.startswith("notes/") for one in kept(tmp_path / "run")) == 60


@pytest.mark.parametrize("by", ["moore_lewis", "classifier"])
def test_hidden_abstracts_are_found_in_real_text(real_data: Path, tmp_path: Path, by: str) -> None:
    read = lambda name, count: pl.read_ndjson(real_data / name, schema={"text": pl.String})["text"].head(count)  # noqa: E731
    abstracts, general = read("domain/abstracts.jsonl.gz", 1600), read("general/gov_web.jsonl.gz", 400)
    write_lines(tmp_path / "data" / "domain" / "known.jsonl", [{"text": text} for text in abstracts[:1500]])
    crawl = [{"id": f"web{k}", "text": text} for k, text in enumerate(general)]
    crawl += [{"id": f"hidden{k}", "text": text} for k, text in enumerate(abstracts[1500:])]
    random.Random(0).shuffle(crawl)
    write_lines(tmp_path / "data" / "general" / "crawl.jsonl", crawl)
    share = sum(len(one["text"].encode()) for one in crawl if one["id"].startswith("hidden"))
    keep = share / sum(len(one["text"].encode()) for one in crawl)
    curate(tmp_path / "data", tmp_path / "run", [{"select": {"keep": keep, "by": by}}], **{"eval.held_out": 0})
    chosen = [one for one in kept(tmp_path / "run") if one.startswith("crawl/")]
    assert np.mean([one.startswith("crawl/hidden") for one in chosen]) > 0.97 and len(chosen) > 95


def test_kept_bytes_reach_the_share_and_pass_it_by_one_document_at_most(tmp_path: Path) -> None:
    root = crawl(tmp_path / "data")
    curate(root, tmp_path / "run", [{"select": {"keep": 0.3}}], **{"eval.held_out": 0})
    sizes = {f"news/r{k}": len((recipe(k) if k % 10 else sentences(5000 + k, 8)).encode()) for k in range(100)}
    taken = sorted(sizes[one] for one in kept(tmp_path / "run") if one in sizes)
    assert 0.3 * sum(sizes.values()) <= sum(taken) < 0.3 * sum(sizes.values()) + max(taken)
    removed = ledger(tmp_path / "run").filter(stage="select")
    assert removed["reason"].unique().to_list() == ["not_selected"]
    for evidence in map(json.loads, removed["detail"]):
        assert (
            evidence["moore_lewis"] <= evidence["threshold"] and len(taken) < evidence["rank"] <= evidence["of"] == 100
        )


def test_equal_scores_rank_by_order_and_wordless_documents_last() -> None:
    score = pl.Series([0.5, None, 0.5, 0.9, 0.5])
    ranks, count, threshold = _rank(score, np.array([10, 10, 10, 10, 10]), 0.55)
    assert ranks.tolist() == [1, 4, 2, 0, 3] and count == 3 and threshold == 0.5
    assert _rank(score, np.full(5, 10), 1.0)[1:] == (5, None)
    assert _rank(score.head(0), np.zeros(0), 0.5)[1:] == (0, None)


def test_only_the_sources_named_are_ranked(tmp_path: Path) -> None:
    root = crawl(tmp_path / "data")
    write_lines(root / "domain" / "web.jsonl.gz", [{"id": f"r{k}", "text": sentences(900 + k, 6)} for k in range(30)])
    stage = {"select": {"keep": 0.5, "among": "web", "negative": "replay", "by": "classifier"}}
    curate(root, tmp_path / "run", [stage], **{"eval.held_out": 0})
    removed = ledger(tmp_path / "run").filter(stage="select")
    assert set(removed["source"]) == {"web"} and 14 <= removed.height <= 15
    scores = pl.read_parquet(sorted((tmp_path / "run" / "documents").rglob("*.parquet"))).select("source", "scores")
    for source, score in scores.iter_rows():
        assert (score.get("select_classifier") is not None) == (source == "web")


def test_novelty_keeps_what_the_domain_does_not_hold(tmp_path: Path) -> None:
    root = corpus(tmp_path / "data", 60)
    draw = random.Random(1)
    covered = [" ".join("x" if draw.random() < 0.03 else word for word in sentences(k, 8).split()) for k in range(60)]
    notes = [{"id": f"r{k}", "text": sentences(k, 8)} for k in range(60)]
    news = [{"id": f"r{k}", "text": recipe(k) if k % 6 == 0 else covered[k]} for k in range(60)]
    write_lines(root / "domain" / "notes.jsonl.gz", notes)
    write_lines(root / "general" / "news.jsonl.gz", news)
    curate(root, tmp_path / "run", [{"select": {"keep": 0.12, "by": "novelty"}}], **{"eval.held_out": 0})
    chosen = [int(one.removeprefix("news/r")) for one in kept(tmp_path / "run") if one.startswith("news/")]
    assert len(chosen) >= 8 and all(k % 6 == 0 for k in chosen)


def test_novelty_is_the_share_of_unseen_ngrams(tmp_path: Path) -> None:
    novelty.build([pl.Series(["one two three four five six seven"])], 10_000, tmp_path / "seen.npy")
    texts = [
        "One, two: three four five six!",
        "one two three four five other",
        "quite other words altogether here",
        "",
        "one",
    ]
    assert novelty.scores(tmp_path / "seen.npy", pl.Series(texts)).to_list() == [0.0, 0.5, 1.0, None, 1.0]


def test_workers_and_the_size_of_parts_change_nothing(tmp_path: Path) -> None:
    root = crawl(tmp_path / "data")
    stages = [{"select": {"keep": 0.3, "reference_bytes": 9000}}]
    curate(root, tmp_path / "one", stages)
    curate(root, tmp_path / "two", stages, **{"curate.executor.workers": 2, "curate.part_rows": 7})
    assert kept(tmp_path / "one") == kept(tmp_path / "two")
    one, two = (ledger(tmp_path / run).select("id", "detail").sort("id") for run in ("one", "two"))
    assert one.equals(two)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"among": "crawl"}, r"select.among: there is no pool or source crawl"),
        ({"among": "notes", "positive": "notes"}, r"select.positive: notes is also in among"),
        ({"keep": 0.0}, r"select.keep: 0.0 cannot be used"),
        ({"among": "domain"}, r"select.positive: all of domain is in among"),
    ],
)
def test_keys_that_cannot_be_used_are_named(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    root = corpus(tmp_path / "data", documents=4)
    with pytest.raises(ValueError, match=message):
        curate(root, tmp_path / "run", [{"select": {"keep": 0.5} | keys}])


def test_keep_has_no_default() -> None:
    with pytest.raises(ValueError, match="keep"):
        Select()  # type: ignore[call-arg]
