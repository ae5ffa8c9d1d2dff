"""Running a pipeline: every document accounted for, resuming, nothing done twice, nothing depending on the workers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import REPO
from tests.curate.corpus import bytes_of, corpus, curate, kept, ledger, resolve, write_lines

STAGES = ["normalize", {"heuristics": {"min_words": 20}}, "exact_dedup"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return corpus(tmp_path / "data")


def test_every_document_is_kept_held_out_or_in_the_ledger(root: Path, tmp_path: Path) -> None:
    manifest = curate(root, tmp_path / "run", STAGES)
    removed, ids = ledger(tmp_path / "run"), kept(tmp_path / "run")
    assert len(ids) + removed.height == 180 == len(set(ids) | set(removed["id"]))
    assert removed.filter(stage="exact_dedup")["id"].to_list() == ["notes/r59", "papers/r59", "news/r59"]
    held_out = pl.read_parquet(sorted((tmp_path / "run" / "held_out").rglob("*.parquet")))
    assert set(held_out["id"]) == set(removed.filter(stage="held_out")["id"]) and 5 < held_out.height < 40
    for before, after in zip(manifest["stages"], manifest["stages"][1:], strict=False):
        assert before["documents_kept"] == after["documents_in"] and before["bytes_kept"] == after["bytes_in"]


def test_documents_keep_their_order_and_origin(root: Path, tmp_path: Path) -> None:
    curate(root, tmp_path / "run", STAGES)
    files = sorted((tmp_path / "run" / "documents" / "domain" / "notes").glob("*.parquet"))
    documents = pl.read_parquet(files)
    numbers = [int(one.removeprefix("notes/r")) for one in documents["id"]]
    assert len(files) == 3 and numbers == sorted(numbers)
    assert documents["origin"].to_list() == [f"domain/notes.jsonl.gz#{number}" for number in numbers]
    assert documents.columns == ["id", "text", "pool", "source", "origin", "scores"]


def test_the_result_does_not_depend_on_the_workers(root: Path, tmp_path: Path) -> None:
    curate(root, tmp_path / "one", STAGES)
    curate(root, tmp_path / "two", STAGES, **{"curate.executor": {"workers": 2}})
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_a_changed_stage_runs_again_with_what_follows_and_nothing_before(root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    curate(root, run, STAGES)
    assert resolve(root, run, STAGES).todo == []
    changed = [STAGES[0], {"heuristics": {"min_words": 90}}, "exact_dedup"]
    assert [step.stage.name for step in resolve(root, run, changed).todo] == ["heuristics", "exact_dedup", "held_out"]
    curate(root, run, changed)
    curate(root, tmp_path / "fresh", changed)
    assert bytes_of(run) == bytes_of(tmp_path / "fresh")
    assert "too_few_words" in ledger(run).filter(stage="heuristics")["reason"].to_list()


def test_a_changed_source_is_read_again(root: Path, tmp_path: Path) -> None:
    curate(root, tmp_path / "run", STAGES)
    write_lines(root / "general" / "news.jsonl.gz", [{"id": "only", "text": "One sentence stands here. " * 30}])
    manifest = curate(root, tmp_path / "run", [])
    assert manifest["stages"][0]["documents_in"] == 121


def test_deleted_documents_are_written_again(root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    curate(root, run, STAGES)
    before = bytes_of(run)
    for _ in range(2):
        next((run / "documents").rglob("*.parquet")).unlink()
        curate(root, run, STAGES)
        assert bytes_of(run) == before


@pytest.mark.parametrize("delay", [0.6, 1.6, 2.4])
def test_killed_and_run_again_gives_the_same_bytes(root: Path, tmp_path: Path, delay: float) -> None:
    curate(root, tmp_path / "whole", STAGES)
    script = f"""
from tests.curate.corpus import curate
from pathlib import Path
if __name__ == "__main__":
    curate(Path({str(root)!r}), Path({str(tmp_path / "run")!r}), {STAGES!r}, **{{"curate.executor": {{"workers": 2}}}})
"""
    (tmp_path / "main.py").write_text(script)
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    command = [sys.executable, str(tmp_path / "main.py")]
    running = subprocess.Popen(command, env=environment, start_new_session=True)
    time.sleep(delay)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    subprocess.run(command, env=environment, check=True, timeout=120)
    assert bytes_of(tmp_path / "run") == bytes_of(tmp_path / "whole")
    assert not list((tmp_path / "run").rglob(".*.tmp"))


def test_a_document_missing_from_the_ledger_stops_the_run(root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    curate(root, run, STAGES)
    (run / "manifest.json").unlink()
    verdicts = next(run.glob("work/*-exact_dedup/verdicts/*.parquet"))
    counts = next(run.glob("work/*-read/counts/*.json"))
    counts.write_text(counts.read_text().replace('"documents": 60', '"documents": 61'))
    with pytest.raises(RuntimeError, match="does not account for every"):
        curate(root, run, STAGES)
    assert not (run / "manifest.json").exists() and verdicts.exists()
