"""Running a pipeline: every document accounted for, resuming, nothing done twice, nothing depending on the workers."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import multiprocess
import polars as pl
import pytest

from curate import explain, run
from curate.curation import run_curation, run_only
from curate.files import alone
from tests.conftest import REPO
from tests.curate.corpus import bytes_of, corpus, curate, curate_in_group, kept, ledger, pipeline, resolve, write_lines

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


def test_killed_with_two_workers_and_run_again_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
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
    time.sleep(2.4)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    subprocess.run(command, env=environment, check=True, timeout=120)
    assert bytes_of(tmp_path / "run") == bytes_of(tmp_path / "whole")
    assert not list((tmp_path / "run").rglob(".*.tmp"))


def test_killed_twenty_times_at_random_gives_the_same_kept_ids_and_bytes(root: Path, tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    stages = [*STAGES, "near_dedup", {"substring_dedup": {"min_words": 12}}]
    curate(root, whole, stages)
    context = multiprocess.get_context("forkserver")
    context.set_forkserver_preload(["tests.curate.corpus", "curate.stages"])
    seed = time.time_ns()
    draw, kills, longest = random.Random(seed), 0, 0.0
    while kills < 20:
        started = time.monotonic()
        running = context.Process(target=curate_in_group, args=(root, run, stages))
        running.start()
        running.join(draw.uniform(0, longest) if longest else None)
        if running.is_alive():
            with contextlib.suppress(ProcessLookupError):  # not yet the leader of its group
                os.killpg(running.pid, signal.SIGKILL)
            running.kill()
            running.join()
            kills += 1
        else:  # finished before it was killed: begin anew, so that every kill hits work
            assert running.exitcode == 0
            longest = max(longest, time.monotonic() - started)
            shutil.rmtree(run)
    curate(root, run, stages)
    assert kept(run) == kept(whole) and bytes_of(run) == bytes_of(whole), f"killed at the moments of seed {seed}"


def test_explain_names_what_runs_again_and_why(root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    before = explain.reasons(resolve(root, run, STAGES))
    assert [why for _, _, why in before] == ["nothing has run here yet"] + ["follows read"] * 4
    curation = resolve(root, run, STAGES)
    explain.remember(curation)
    run_curation(curation)
    assert not any(runs for _, runs, _ in explain.reasons(resolve(root, run, STAGES)))
    changed = [STAGES[0], {"heuristics": {"min_words": 90}}, "exact_dedup", "near_dedup"]
    told = {name: (runs, why) for name, runs, why in explain.reasons(resolve(root, run, changed))}
    assert told["normalize"] == (False, "its results are on disk")
    assert told["heuristics"] == (True, "min_words: 20 is now 90")
    assert told["exact_dedup"] == (True, "follows heuristics")
    assert told["near_dedup"] == (True, "new in this pipeline")
    write_lines(root / "general" / "news.jsonl.gz", [{"id": "only", "text": "One sentence stands here. " * 30}])
    told = {name: (runs, why) for name, runs, why in explain.reasons(resolve(root, run, STAGES))}
    assert told["read"] == (True, "file replay/general/news.jsonl.gz changed")


def test_one_stage_alone(root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(ValueError, match="stages before it have no results on disk"):
        run_only(resolve(root, run, STAGES), "exact_dedup")
    curate(root, run, STAGES)
    changed = [STAGES[0], {"heuristics": {"min_words": 90}}, "exact_dedup"]
    assert "too_few_words" in run_only(resolve(root, run, changed), "heuristics")["reason"].to_list()
    assert [step.stage.name for step in resolve(root, run, changed).todo] == ["exact_dedup", "held_out"]
    curate(root, run, changed)
    curate(root, tmp_path / "fresh", changed)
    assert bytes_of(run) == bytes_of(tmp_path / "fresh")


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


def test_a_pipeline_changed_and_changed_back_gives_its_own_bytes(root: Path, tmp_path: Path) -> None:
    one, other = ["normalize", "exact_dedup"], ["exact_dedup", {"heuristics": {"min_words": 90}}]
    curate(root, tmp_path / "whole", one)
    for stages in (one, other, one):
        manifest = curate(root, tmp_path / "run", stages)
    assert bytes_of(tmp_path / "run") == bytes_of(tmp_path / "whole")
    assert manifest["stages"] and kept(tmp_path / "run") == kept(tmp_path / "whole")


def test_a_stage_at_the_head_that_is_not_done_is_read_again(root: Path, tmp_path: Path) -> None:
    stages = ["normalize", {"redact": {}}, "exact_dedup"]
    write_lines(root / "domain" / "blank.jsonl", [{"text": "  "}, {"text": "Seen on 03/14/2004 by a@b.org."}])
    curate(root, tmp_path / "whole", stages)
    run = tmp_path / "run"
    curate(root, run, stages)
    for done in run.glob("work/*/complete.json"):  # as a kill between the marks of normalize and redact leaves it
        if not done.parent.name.endswith(("-normalize",)):
            done.unlink()
    (run / "manifest.json").unlink()
    curate(root, run, stages)
    assert bytes_of(run) == bytes_of(tmp_path / "whole")
    assert list((run / "edited" / "redact").glob("*.parquet"))


@pytest.mark.parametrize("name", ["a[b]", "a*", "x" * 200])
def test_a_name_that_stands_for_others_is_refused(root: Path, tmp_path: Path, name: str) -> None:
    write_lines(root / "domain" / f"{name}.jsonl", [{"text": "One text."}])
    with pytest.raises(ValueError, match="Rename it"):
        curate(root, tmp_path / "run", [])


def test_a_second_command_in_the_same_run_is_refused(root: Path, tmp_path: Path) -> None:
    made, file = pipeline(root, tmp_path / "run", ["exact_dedup"])
    with alone(made.folder), pytest.raises(ValueError, match="another command is writing to this run"):
        run.main([str(file), "--output", str(made.folder)])
    with alone(made.folder):
        pass  # let go of when the first ended


def test_repeated_ids_stay_apart(root: Path, tmp_path: Path) -> None:
    lines = [{"id": name, "text": f"Text {number}."} for number, name in enumerate(["a#2", "a", "a", "a#2#2"])]
    write_lines(root / "domain" / "ids.jsonl", lines)
    curate(root, tmp_path / "run", [], **{"eval.held_out": 0})
    ids = [one for one in kept(tmp_path / "run") if one.startswith("ids/")]
    assert len(ids) == len(set(ids)) == 4


def test_unreadable_records_show_nothing_where_identifiers_are_redacted(root: Path, tmp_path: Path) -> None:
    write_lines(root / "domain" / "bad.jsonl", [b'{"text": "SSN 123-45-6789', {"text": "One text."}])
    curate(root, tmp_path / "run", ["redact"])
    assert ledger(tmp_path / "run").filter(stage="read")["excerpt"].to_list() == [None]


def test_stop_is_not_satisfied_by_what_quarantine_read(root: Path, tmp_path: Path) -> None:
    write_lines(root / "domain" / "bad.jsonl", [b"{", {"text": "One text."}])
    curate(root, tmp_path / "run", [])
    with pytest.raises(ValueError, match="on_bad_record is stop"):
        curate(root, tmp_path / "run", [], **{"curate.on_bad_record": "stop"})


@pytest.mark.parametrize("entry", [{"heuristics": {1: 2}}, {1: {"a": 2}}, "held_out"])
def test_what_is_no_stage_is_refused(root: Path, tmp_path: Path, entry: object) -> None:
    with pytest.raises(ValueError, match=r"curate\.stages\[0\]"):
        curate(root, tmp_path / "run", [entry])
