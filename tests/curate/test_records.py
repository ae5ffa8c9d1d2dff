"""Bad input: a named error or a ledger entry, never a silent skip."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from tests.curate.corpus import corpus, curate, kept, ledger, sentences, write_lines


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return corpus(tmp_path / "data", documents=4)


def test_unreadable_records_go_to_the_ledger(root: Path, tmp_path: Path) -> None:
    good = {"id": "good", "text": sentences(1, 6)}
    records = [
        good,
        b"{not json",
        b'{"text": "caf\xe9"}',
        {"id": "no text"},
        {"text": 7},
        b"[1]",
        b"",
        {"text": sentences(2, 6)},
    ]
    write_lines(root / "domain" / "bad.jsonl", records)
    manifest = curate(root, tmp_path / "run", [], **{"eval.held_out": 0})
    bad = ledger(tmp_path / "run").filter(source="bad")
    assert bad["reason"].to_list() == ["unreadable_record"] * 5 and set(bad["stage"]) == {"read"}
    assert bad["origin"].to_list() == [f"domain/bad.jsonl#{number}" for number in (1, 2, 3, 4, 5)]
    for part, said in zip(["JSON", "UTF-8", "no text", "int", "list"], bad["detail"], strict=True):
        assert part in said
    assert manifest["stages"][0]["documents_in"] == 12 + 7
    assert len([one for one in kept(tmp_path / "run") if one.startswith("bad/")]) == 2


def test_stop_names_the_record(root: Path, tmp_path: Path) -> None:
    path = write_lines(root / "domain" / "bad.jsonl", [{"text": "fine"}, b"{"])
    with pytest.raises(ValueError, match=rf"{path}: record 1 is not JSON.*on_bad_record"):
        curate(root, tmp_path / "run", [], **{"curate.on_bad_record": "stop"})


def test_a_truncated_gzip_is_an_error(root: Path, tmp_path: Path) -> None:
    path = root / "domain" / "notes.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(
        ValueError, match=r"notes.jsonl.gz: cannot be read past record \d+ .* unknown number of documents"
    ):
        curate(root, tmp_path / "run", [])


def test_corrupt_gzip_bytes_are_an_error(root: Path, tmp_path: Path) -> None:
    path = root / "domain" / "notes.jsonl.gz"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match=r"notes.jsonl.gz: cannot be read past record \d+"):
        curate(root, tmp_path / "run", [])


@pytest.mark.parametrize("content", [b"", gzip.compress(b"")])
def test_a_source_without_records_is_an_error(root: Path, tmp_path: Path, content: bytes) -> None:
    (root / "domain" / "empty.jsonl.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"empty.jsonl.gz.*(0 bytes|no record)"):
        curate(root, tmp_path / "run", [])


def test_a_glob_that_matches_nothing_is_an_error(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"domain\[1\]: 'absent/\*' matches no file"):
        curate(root, tmp_path / "run", [], domain=["domain/*", "absent/*"])


def test_two_sources_of_one_name_are_an_error(root: Path, tmp_path: Path) -> None:
    write_lines(root / "general" / "notes.jsonl", [{"text": "again"}])
    with pytest.raises(ValueError, match="both called 'notes'"):
        curate(root, tmp_path / "run", [])


def test_an_unknown_format_is_an_error(root: Path, tmp_path: Path) -> None:
    (root / "domain" / "table.xlsx").write_bytes(b"x")
    with pytest.raises(ValueError, match="table.xlsx is of no known format"):
        curate(root, tmp_path / "run", [])


def test_ids_are_unique_and_stable(root: Path, tmp_path: Path) -> None:
    write_lines(
        root / "domain" / "ids.jsonl", [{"id": "a", "text": "one"}, {"id": "a", "text": "two"}, {"text": "three"}]
    )
    curate(root, tmp_path / "run", [], **{"eval.held_out": 0})
    ids = [one for one in kept(tmp_path / "run") if one.startswith("ids/")]
    assert ids[:2] == ["ids/a", "ids/a#1"] and len(set(ids)) == 3 and len(ids[2].split("/")[1]) == 16


def test_parquet_and_text_files_are_read(root: Path, tmp_path: Path) -> None:
    pl.DataFrame({"id": ["p", None], "text": ["from parquet", "again"]}).write_parquet(
        root / "domain" / "table.parquet"
    )
    (root / "domain" / "letter.txt").write_text("a whole file\nis one document")
    curate(root, tmp_path / "run", [], **{"eval.held_out": 0})
    texts = pl.read_parquet(sorted((tmp_path / "run" / "documents").rglob("*.parquet")))["text"].to_list()
    assert {"from parquet", "again", "a whole file\nis one document"} <= set(texts)


def test_parquet_without_text_is_an_error(root: Path, tmp_path: Path) -> None:
    pl.DataFrame({"body": ["x"]}).write_parquet(root / "domain" / "table.parquet")
    with pytest.raises(ValueError, match="has no column 'text'"):
        curate(root, tmp_path / "run", [])
