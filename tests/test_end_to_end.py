"""The commands one after the other on the sample, as a user types them."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.conftest import REPO


def command(*arguments: str) -> str:
    """Run a module of the repo as a command; returns what it printed."""
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=REPO, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of pipelines/smoke.yaml through all commands."""
    folder = tmp_path_factory.mktemp("runs") / "smoke"
    said = command("curate.run", "pipelines/smoke.yaml", "--output", str(folder))
    assert "every document accounted for" in said
    command("mix.build", str(folder), "--domain", "0.8", "--replay", "0.2")
    command("torch.distributed.run", "--nproc-per-node", "2", "-m", "train.launch", str(folder))
    command("eval.run", str(folder))
    command("eval.report", str(folder))
    command("eval.cards", str(folder))
    return folder


def test_the_folder_is_as_promised(run: Path) -> None:
    expected = {"pipeline.yaml", "manifest.json", "documents", "held_out", "removed", "edited", "tokenizer", "packed"}
    expected |= {"mixture.json", "train", "eval", "report.html", "work", ".lock"}
    assert expected == {path.name for path in run.iterdir()}
    made = {path.name for path in (run / "train" / "main").iterdir()}
    assert {"metrics.jsonl", "journal.jsonl", "checkpoints", "export"} <= made


def test_planted_documents_go_to_the_stage_that_is_meant_for_them(run: Path) -> None:
    truth = [json.loads(line) for line in (REPO / "sample" / "truth.jsonl").open()]
    planted = Counter(one["kind"] for one in truth)
    removed = pl.read_parquet(sorted((run / "removed").rglob("*.parquet")))
    stage = dict(removed.select("id", "stage").iter_rows())
    found = Counter(kind["kind"] for kind in truth if stage.get(kind["id"]) == MEANT.get(kind["kind"]))
    for kind in ("exact_duplicate", "near_duplicate", "wrong_language", "leaked"):
        assert found[kind] >= 0.95 * planted[kind], (kind, found[kind], planted[kind])
    honest = {one["id"] for one in truth}
    wrongly = removed.filter(~pl.col("id").is_in(list(honest)) & (pl.col("stage") != "held_out"))
    assert wrongly.height <= 5, wrongly


MEANT = {
    "exact_duplicate": "exact_dedup",
    "near_duplicate": "near_dedup",
    "wrong_language": "language",
    "leaked": "decontaminate",
}


def test_nothing_held_out_was_trained_on(run: Path) -> None:
    held_out = set(pl.read_parquet(sorted((run / "held_out").rglob("*.parquet")))["id"])
    packed = set(pl.read_parquet(sorted((run / "packed").rglob("documents.parquet")))["id"])
    kept = set(pl.read_parquet(sorted((run / "documents").rglob("*.parquet")))["id"])
    assert held_out and not held_out & packed and packed == kept


def test_metrics_hold_every_step_and_the_domain_share(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "train" / "main" / "metrics.jsonl").open()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 9))
    assert all(abs(line["domain_share"] * 8 - 6.4) < 1 for line in steps)
    assert [line["step"] for line in lines if "eval" in line] == [0, 4, 8]


def test_scores_and_report_tell_of_both_sides(run: Path) -> None:
    scores = json.loads((run / "eval" / "scores.json").read_text())
    assert {"base", "trained"} <= set(scores)
    report = (run / "report.html").read_text()
    assert "near duplicate" in report and "domain" in report


def test_both_folders_have_a_card(run: Path) -> None:
    for folder in (run / "documents", run / "train" / "main" / "export"):
        card = (folder / "README.md").read_text()
        assert card.startswith("---\n") and "near duplicate" in card and "## Not checked" in card


def test_the_export_generates_text(run: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = run / "train" / "main" / "export"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    assert model.get_input_embeddings().weight.shape[0] >= len(tokenizer)
    made = model.generate(**tokenizer("The patient", return_tensors="pt"), max_new_tokens=5, do_sample=False)
    assert made.shape[1] > 5


@pytest.mark.parametrize("name", ["curate.run", "mix.build", "train.launch", "eval.run", "eval.report", "eval.cards"])
def test_help_comes_without_torch(name: str) -> None:
    script = f"import sys, runpy; sys.argv = ['x', '--help']\ntry: runpy.run_module({name!r}, run_name='__main__')\n"
    script += "except SystemExit: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("False\n") and "default" in done.stdout, done.stderr


def test_an_error_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((REPO / "pipelines" / "smoke.yaml").read_text().replace("seq_len", "seqlen"))
    command_line = [sys.executable, "-m", "curate.run", str(wrong)]
    done = subprocess.run(command_line, cwd=REPO, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.fullmatch(r"error: .*wrong.yaml: mix.seqlen: there is no such key. Known here: .*\n", done.stderr)
