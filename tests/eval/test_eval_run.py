"""python -m eval.run: what it writes, and what it says where something is missing."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from eval import held_out, hugging_face
from eval import run as eval_run
from pipelines import config
from tests.eval import small_run

REPO = Path(eval_run.__file__).parents[1]


def test_scores_of_both_models(trained_run: Path, models_folder: Path) -> None:
    eval_run.main([str(trained_run)])
    scores = json.loads((trained_run / "eval" / "scores.json").read_text())
    for name in ("base", "trained"):
        folder = models_folder / name
        windows = held_out.load(trained_run, folder, 64)
        expected = held_out.bits_per_byte(windows, hugging_face.nll(hugging_face.load(folder)))
        assert {key: scores[name][key] for key in expected} == pytest.approx(expected, rel=1e-5)
        assert scores[name]["groups"]["domain"]["bytes"] == windows.bytes["domain"]
    groups = ["domain", "domain/notes", "domain/trials", "general", "general/books"]
    assert list(scores["trained"]["groups"]) == list(scores["base"]["groups"]) == list(scores["difference"]) == groups
    assert scores["held_out"]["documents"] == {"domain": 24, "general": 12}
    assert scores["base"]["identity"] != scores["trained"]["identity"]
    for name, change in scores["difference"].items():
        after, before = scores["trained"]["groups"][name], scores["base"]["groups"][name]
        assert change["change"] == pytest.approx(after["bits_per_byte"] - before["bits_per_byte"])


def test_the_table_fits_a_terminal_of_80_columns(trained_run: Path) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    scores = eval_run.score(config.load(trained_run / "pipeline.yaml"))
    scores["difference"]["domain/notes"] |= {"low": None, "high": None, "verdict": "too few documents"}
    console.print(eval_run.table(scores))
    text = console.export_text()
    assert "…" not in text and "too few" in text and f"{scores['trained']['general_bits_per_byte']:.3f}" in text


def test_the_same_model_twice_is_no_change(trained_run: Path, tmp_path: Path) -> None:
    shutil.rmtree(trained_run / "train" / "main" / "export")
    shutil.copytree(tmp_path / "base", trained_run / "train" / "main" / "export")
    scores = eval_run.score(config.load(trained_run / "pipeline.yaml"))
    assert {change["verdict"] for change in scores["difference"].values()} == {"no change"}


def test_two_runs_write_the_same_bytes(trained_run: Path) -> None:
    pipeline = config.load(trained_run / "pipeline.yaml")
    eval_run.score(pipeline)
    first = (trained_run / "eval" / "scores.json").read_bytes()
    eval_run.score(pipeline)
    assert (trained_run / "eval" / "scores.json").read_bytes() == first


def test_a_model_from_scratch_has_no_base(trained_run: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "base")
    scores = eval_run.score(small_run.pipeline(trained_run, tmp_path, init="scratch"))
    assert scores["base"] is None and scores["difference"] is None
    assert scores["trained"]["domain_bits_per_byte"] > 0
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(eval_run.table(scores))
    assert "from scratch" in console.export_text()


def failing(run: Path) -> str:
    """What the command prints where it ends with an error for the user."""
    done = subprocess.run([sys.executable, "-m", "eval.run", str(run)], capture_output=True, text=True, cwd=REPO)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    return done.stderr


def test_no_export_names_the_command_that_trains(run: Path) -> None:
    assert "torchrun -m train.launch" in failing(run)


def test_no_held_out_documents_name_the_key(trained_run: Path) -> None:
    shutil.rmtree(trained_run / "held_out")
    assert "eval.held_out" in failing(trained_run)


def test_help_is_quick_to_import() -> None:
    code = """
import sys, runpy
sys.argv = ["eval.run", "--help"]
try:
    runpy.run_module("eval.run", run_name="__main__")
except SystemExit as end:
    assert end.code == 0
slow = {"torch", "transformers", "polars", "numba", "plotly"} & set(sys.modules)
assert not slow, slow
"""
    for command in ("eval.run", "eval.report"):
        one = code.replace("eval.run", command)
        subprocess.run([sys.executable, "-c", one], check=True, cwd=REPO, capture_output=True)
