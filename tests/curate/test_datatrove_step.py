"""datatrove's own filters and formatters as stages."""

from pathlib import Path

import polars as pl
import pytest

from tests.curate.corpus import corpus, curate, ledger, write_lines

FILTER = "datatrove.pipeline.filters.RegexFilter"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return corpus(tmp_path / "data")


def test_a_filter_by_its_dotted_name_drops_what_it_drops_in_datatrove(root: Path, tmp_path: Path) -> None:
    from datatrove.data import Document
    from datatrove.pipeline.filters import RegexFilter

    curate(root, tmp_path / "plain", [], **{"eval.held_out": 0})
    curate(root, tmp_path / "run", ["exact_dedup", {FILTER: {"regex_exp": "fracture"}}], **{"eval.held_out": 0})
    removed = ledger(tmp_path / "run").filter(stage="regex_filter")
    documents = pl.read_parquet(sorted((tmp_path / "plain" / "documents").rglob("*.parquet")))
    theirs = RegexFilter("fracture")
    dropped = [
        row[0]
        for row in documents.select("id", "text").iter_rows()
        if theirs.filter(Document(row[1], row[0])) is not True
    ]
    duplicates = ledger(tmp_path / "run").filter(stage="exact_dedup")["id"].to_list()
    assert removed["id"].to_list() == [one for one in dropped if one not in duplicates] and removed.height > 20
    assert removed["reason"].unique().to_list() == ["rejected"]


def test_a_filter_names_its_own_reason(root: Path, tmp_path: Path) -> None:
    manifest = curate(root, tmp_path / "run", ["datatrove.pipeline.filters.C4ParagraphFilter"])
    [stage] = [stage for stage in manifest["stages"] if stage["name"] == "c4_paragraph_filter"]
    assert stage["reasons"] == {"3_paragraphs": 180}


def test_a_formatters_change_is_recorded(root: Path, tmp_path: Path) -> None:
    write_lines(root / "domain" / "email.jsonl", [{"id": "a", "text": "Write to jane.roe@hospital.org or call."}])
    curate(root, tmp_path / "run", ["datatrove.pipeline.formatters.PIIFormatter"], **{"eval.held_out": 0})
    edited = pl.read_parquet(sorted((tmp_path / "run" / "edited").rglob("*.parquet"))).filter(id="email/a")
    text = pl.read_parquet(sorted((tmp_path / "run" / "documents" / "domain" / "email").glob("*.parquet")))["text"][0]
    assert edited["reason"].to_list() == ["rewritten"] and edited["before"][0] in "jane.roe@hospital.org"
    assert "jane.roe" not in text and text.startswith("Write to ") and text.endswith(" or call.")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("datatrove.pipeline.filters.GopherQualityFilter", "pip install spacy"),
        ("datatrove.pipeline.filters.NoSuchFilter", "cannot be loaded"),
        ("datatrove.pipeline.readers.JsonlReader", "is not a filter or formatter of datatrove"),
        ({FILTER: {"regex": "x"}}, "cannot be made from the keys given"),
        ("subprocess.run", "subprocess.run is of neither datatrove nor this project"),
    ],
)
def test_what_cannot_stand_there_is_refused(root: Path, tmp_path: Path, entry: object, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        curate(root, tmp_path / "run", [entry])
    assert "pipeline.yaml: curate.stages[0]" in str(refused.value)
