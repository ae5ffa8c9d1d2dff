"""Sources read by datatrove readers by name, and what the reading pass promises for any source."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.curate.corpus import bytes_of, corpus, curate, ledger, sentences, write_lines

CSV = {"files": "tables/*.csv", "reader": "datatrove.pipeline.readers.CSVReader"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = corpus(tmp_path / "data", documents=5)
    (root / "tables").mkdir()
    rows = [f"c{number},{sentences(number, 3)}" for number in range(4)]
    (root / "tables" / "cases.csv").write_text("\n".join(["case,note", *rows, "c4"]) + "\n")
    return root


def run(root: Path, output: Path, entry: Any) -> pl.DataFrame:
    curate(root, output, [], domain=["domain/*", entry], **{"eval.held_out": 0})
    return pl.read_parquet(sorted((output / "documents").rglob("*.parquet")))


def test_a_csv_through_its_reader_with_the_bad_row_in_the_ledger(root: Path, tmp_path: Path) -> None:
    documents = run(root, tmp_path / "run", CSV | {"arguments": {"text_key": "note", "id_key": "case"}})
    cases = documents.filter(source="cases")
    assert cases["id"].to_list() == [f"cases/c{number}" for number in range(4)]
    assert cases["text"].to_list() == [sentences(number, 3) for number in range(4)]
    assert cases["origin"].to_list() == [f"tables/cases.csv#{number}" for number in range(4)]
    removed = ledger(tmp_path / "run")
    assert removed.select("origin", "stage", "reason").rows() == [("tables/cases.csv#4", "read", "unreadable_record")]


def test_what_a_reader_skips_is_in_the_ledger(root: Path, tmp_path: Path) -> None:
    broken = write_lines(root / "other" / "log.json", [{"text": "One text."}, b"{broken", {"text": "Another."}])
    entry = {"files": f"other/{broken.name}", "reader": "datatrove.pipeline.readers.JsonlReader"}
    documents = run(root, tmp_path / "run", entry).filter(source="log")
    assert documents["text"].to_list() == ["One text.", "Another."]
    [detail] = ledger(tmp_path / "run")["detail"]
    assert "is skipped by datatrove.pipeline.readers.JsonlReader" in detail


def test_other_arguments_read_again(root: Path, tmp_path: Path) -> None:
    first = run(root, tmp_path / "run", CSV | {"arguments": {"text_key": "note"}})
    second = run(root, tmp_path / "run", CSV | {"arguments": {"text_key": "case"}})
    assert first.filter(source="cases")["text"][0] != second.filter(source="cases")["text"][0] == "c0"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (CSV | {"reader": "datatrove.pipeline.readers.HuggingFaceDatasetReader"}, "is not a reader of files"),
        (CSV | {"reader": "csv.reader"}, "csv.reader is of neither datatrove nor this project"),
        ("tables/*.csv", "no known format"),
        (CSV | {"key": 1}, "domain"),
    ],
)
def test_what_cannot_be_read_with_is_refused(root: Path, tmp_path: Path, entry: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        run(root, tmp_path / "run", entry)


def test_html_without_extract_is_refused(root: Path, tmp_path: Path) -> None:
    (root / "tables" / "page.html").write_text("<html><body><p>One text.</p></body></html>")
    with pytest.raises(ValueError, match="Put `- extract` first"):
        run(root, tmp_path / "run", "tables/*.html")


def test_more_sources_than_tasks(root: Path, tmp_path: Path) -> None:
    curate(root, tmp_path / "each", ["normalize"])
    curate(root, tmp_path / "two", ["normalize"], **{"curate.executor.tasks": 2})
    assert bytes_of(tmp_path / "two") == bytes_of(tmp_path / "each")
