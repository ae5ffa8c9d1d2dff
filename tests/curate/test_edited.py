"""Stages that edit: applied for whoever comes later, recorded for documents that stay, whatever the passes."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl
import pytest

from curate.edits import EDITS
from curate.stage import Stage, Verdicts
from tests.curate.corpus import bytes_of, corpus, curate, sentences, write_lines


class CutNames(Stage, name="cut_names"):
    """Cuts the made-up names out of `corpus`, and drops every tenth document."""

    edits = True

    def judge(self, documents: pl.DataFrame) -> Verdicts:
        drop = documents["row"] % 10 == 3
        spans = [
            (at, match.start(), match.end(), "name", "{}", "NN")
            for at, text in enumerate(documents["text"])
            if not drop[at]
            for match in re.finditer(r"\b[A-Z][a-z]{5}\b", text)
        ]
        reason = pl.select(pl.when(drop).then(pl.lit("tenth"))).to_series()
        return Verdicts(reason, reason, edits=pl.DataFrame(spans, schema=EDITS, orient="row"))


class CutHeads(Stage, name="cut_heads"):
    """Cuts the first three bytes of each document, decided globally."""

    is_global = True
    edits = True

    def measure(self, documents: pl.DataFrame) -> pl.DataFrame:
        return documents.select(pl.col("text").str.starts_with("The").alias("the"))

    def decide(self, measured: Iterable[pl.DataFrame]) -> Iterator[Verdicts]:
        for frame in measured:
            none = pl.Series([None] * frame.height, dtype=pl.String)
            spans = [(at, 0, 3, "head", "{}", "") for at in frame["the"].arg_true()]
            yield Verdicts(none, none, edits=pl.DataFrame(spans, schema=EDITS, orient="row"))


def texts_of(output: Path) -> list[tuple[str, str]]:
    frame = pl.read_parquet(sorted([*(output / "documents").rglob("*.parquet"), *(output / "held_out").rglob("*.p*")]))
    return frame.select("id", "text").rows()


def edited(output: Path) -> pl.DataFrame:
    return pl.read_parquet(sorted((output / "edited").rglob("*.parquet")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return corpus(tmp_path / "data")


@pytest.mark.parametrize("before", [[], ["exact_dedup"]])  # at the head of the pipeline and behind a barrier
def test_edits_are_applied_in_order_and_recorded(root: Path, tmp_path: Path, before: list[str]) -> None:
    plain, run = tmp_path / "plain", tmp_path / "run"
    curate(root, plain, before)
    manifest = curate(
        root, run, [*before, "cut_names", {"heuristics": {"rules": ["c4"], "min_sentences": 7}}, "cut_heads"]
    )
    original, changed, spans = dict(texts_of(plain)), dict(texts_of(run)), edited(run)
    assert spans["stage"].unique().sort().to_list() == ["cut_heads", "cut_names"]
    assert set(spans["id"]) == set(changed) and 60 < len(changed) < 140
    for name, text in changed.items():
        wanted = re.sub(r"\b[A-Z][a-z]{5}\b", "NN", original[name])
        assert text == (wanted[3:] if wanted.startswith("The") else wanted)
    assert set(spans.filter(stage="cut_heads")["before"]) == {"The"}
    assert spans.filter(stage="cut_names")["before"].str.contains(r"^[A-Z][a-z]{5}$").all()
    [cut] = [stage for stage in manifest["stages"] if stage["name"] == "cut_names"]
    names = spans.filter(stage="cut_names")
    assert cut["edits"] == {"name": names.height} and cut["bytes_cut"] == 4 * names.height
    assert cut["documents_edited"] == names["id"].n_unique()


def test_global_stages_that_edit_stand_next_to_each_other(root: Path, tmp_path: Path) -> None:
    shared = sentences(99, 8)
    texts = [f"{sentences(number, 4)}\n\n{shared}\n\n{sentences(number + 500, 4)}" for number in range(5)]
    texts += [f"{sentences(number, 3)} {sentences(77, 12)} {sentences(number + 500, 3)}" for number in range(20, 24)]
    write_lines(root / "domain" / "long.jsonl", [{"id": str(k), "text": text} for k, text in enumerate(texts)])
    stages = ["paragraph_dedup", "substring_dedup", "near_dedup"]
    curate(root, tmp_path / "run", stages, **{"eval.held_out": 0})
    left = [text for name, text in texts_of(tmp_path / "run") if name.startswith("long/")]
    assert sum(shared in text for text in left) == 1 == sum(sentences(77, 12) in text for text in left)
    spans = edited(tmp_path / "run").filter(source="long")
    assert spans.group_by("stage").len().sort("stage").rows() == [("paragraph_dedup", 4), ("substring_dedup", 3)]


def test_what_an_earlier_pipeline_edited_does_not_stay(root: Path, tmp_path: Path) -> None:
    curate(root, tmp_path / "run", ["cut_names"])
    curate(root, tmp_path / "run", ["normalize"])
    curate(root, tmp_path / "fresh", ["normalize"])
    assert not list((tmp_path / "run" / "edited").rglob("*.parquet"))
    assert bytes_of(tmp_path / "run") == bytes_of(tmp_path / "fresh")
