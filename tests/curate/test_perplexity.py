"""perplexity: garbled documents go, thresholds hold per source, no model scores what it has seen."""

import json
import random
from pathlib import Path

import polars as pl
import pytest

from curate import kenlm_model
from curate.perplexity import Perplexity
from tests.curate.corpus import corpus, curate, ledger, resolve, sentences, write_lines


def shuffled(text: str) -> str:
    letters = [word[::-1] for word in text.split()]
    random.Random(3).shuffle(letters)
    return " ".join(letters)


def test_garbled_documents_go(tmp_path: Path) -> None:
    root = corpus(tmp_path / "data", documents=80)
    records = [{"id": f"r{k}", "text": sentences(k, 8)} for k in range(80)]
    for k in (7, 40):
        records[k]["text"] = shuffled(records[k]["text"])
    write_lines(root / "domain" / "notes.jsonl.gz", records)
    curate(root, tmp_path / "run", ["normalize", {"perplexity": {"max_percentile": {"notes": 97}, "order": 3}}])
    removed = ledger(tmp_path / "run").filter(stage="perplexity")
    assert removed["id"].to_list() == ["notes/r7", "notes/r40"]
    evidence = json.loads(removed["detail"][0])
    assert evidence["perplexity"] > evidence["threshold"]
    documents = pl.read_parquet(sorted((tmp_path / "run" / "documents").rglob("*.parquet")))
    assert all(row["perplexity"] > 1 for row in documents["scores"])


def test_the_percentile_holds_in_each_source(tmp_path: Path) -> None:
    root = corpus(tmp_path / "data", documents=40)
    curate(root, tmp_path / "run", [{"perplexity": {"max_percentile": 90, "order": 2}}])
    counts = ledger(tmp_path / "run").filter(stage="perplexity")["source"].value_counts()
    assert set(counts["count"]) <= {3, 4} and counts.height == 3


def test_perplexity_is_kenlms_own(tmp_path: Path) -> None:
    text = pl.Series([sentences(k, 5) for k in range(30)])
    lines = kenlm_model.normalized_lines(text)
    kenlm_model.train([lines], 2, tmp_path / "model.binary", "here")
    ours = list(kenlm_model.perplexities(tmp_path / "model.binary", lines.head(5)))
    model = kenlm_model.load(str(tmp_path / "model.binary"))
    assert ours == pytest.approx([model.perplexity(line) for line in lines.head(5)])
    assert list(kenlm_model.perplexities(tmp_path / "model.binary", pl.Series([""]))) == [None]


def test_an_unknown_reference_is_named(tmp_path: Path) -> None:
    root = corpus(tmp_path / "data", documents=4)
    with pytest.raises(
        ValueError, match=r"curate.stages\[0\].perplexity.reference: 'notez' is neither a pool nor a source"
    ):
        curate(root, tmp_path / "run", [{"perplexity": {"reference": "notez"}}])


def test_an_unknown_source_in_the_percentiles_is_named(tmp_path: Path) -> None:
    root = corpus(tmp_path / "data", documents=4)
    with pytest.raises(ValueError, match=r"max_percentile: there is no source notez"):
        curate(root, tmp_path / "run", [{"perplexity": {"max_percentile": {"notez": 90}}}])


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    root = corpus(tmp_path / "data", documents=4)
    with pytest.raises(ValueError, match=r"perplexity.model: absent.arpa is not there"):
        resolve(root, tmp_path / "run", [{"perplexity": {"model": "absent.arpa"}}])


def test_defaults() -> None:
    assert Perplexity().reference == "domain" and Perplexity().is_global
