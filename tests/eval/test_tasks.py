"""Task files on local items: which items, what prompts, refusals; programs that a model wrote; generated texts."""

import gzip
import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from eval import benchmarks, contamination, generations
from eval.answers import Answers
from eval.config import EvalConfig
from eval.tasks import items, programs
from eval.tracks import due
from pipelines import config
from tests.eval import trainable
from tests.train import small

needs_lm_eval = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None, reason="lm-eval (extra `eval`) is not installed"
)
NAMED = (
    "hellaswag mmlu arc_easy arc_challenge gsm8k humaneval piqa winogrande boolq lambada truthfulqa medqa medmcqa "
    "pubmedqa bioasq legalbench tatqa"
).split()
SAMPLE = ["med_facts", "med_vignettes", "story_endings", "world_facts"]


@pytest.fixture
def bench(tmp_path: Path) -> list[str]:
    """Files of made-up items."""
    trainable.write_items(tmp_path / "bench")
    return sorted(str(path) for path in (tmp_path / "bench").iterdir())


def test_every_benchmark_has_a_task_file() -> None:
    assert {path.stem for path in benchmarks.FOLDER.glob("*.yaml")} == {*NAMED, *SAMPLE}


@needs_lm_eval
def test_every_task_loads_from_the_real_items(real_data: Path) -> None:
    files = sorted(str(path) for path in (real_data / "bench").iterdir())
    suite = benchmarks.load(NAMED, files, 3, True, "file")
    for name, task in suite.tasks.items():
        task.build_all_requests()
        assert len(task.eval_docs) == 3, name
        for request in task.instances:
            assert all("{{" not in str(part) and str(part) for part in request.args[:1]), name
    assert "A. " in suite.tasks["medqa"].instances[0].args[0]
    gsm8k = suite.tasks["gsm8k"].instances[0].args[0]
    assert gsm8k.count("Question:") == 5 and gsm8k.count("####") == 4 and gsm8k.endswith("Answer:")


@needs_lm_eval
def test_every_task_of_the_sample_loads() -> None:
    from curate.sample import make_sample

    folder = Path("sample")
    make_sample(folder, seed=0)
    files = sorted(str(path) for path in (folder / "bench").iterdir())
    suite = benchmarks.load(SAMPLE, files, 0, False, "file")
    assert {len(task.eval_docs) for task in suite.tasks.values()} == {120}


@needs_lm_eval
def test_the_same_items_every_time(bench: list[str], tmp_path: Path) -> None:
    def ids(files: list[str], count: int) -> list[str]:
        suite = benchmarks.load(["med_facts"], files, count, False, "file")
        return list(suite.tasks["med_facts"].eval_docs["id"])

    few = ids(bench, 5)
    assert len(few) == 5 and set(few) < set(ids(bench, 8)) and len(ids(bench, 0)) == 20
    turned = tmp_path / "turned.jsonl"
    lines = [line for path in bench for line in gzip.open(path, "rt", encoding="utf-8")]
    turned.write_text("".join(reversed(lines)))
    assert set(ids([str(turned)], 5)) == set(few), "whatever the order of the file"


@needs_lm_eval
def test_what_cannot_be_scored_is_refused(bench: list[str]) -> None:
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(benchmarks.FOLDER), include_defaults=False)
    with pytest.raises(ValueError, match=r"file: eval\.domain, eval\.general: there is no task 'medfacts'"):
        benchmarks._load(manager, "medfacts", "file")
    with pytest.raises(ValueError, match=r"none of the 3 files holds an item whose benchmark is 'mmlu'.*hub:mmlu"):
        benchmarks.load(["mmlu"], bench, 5, False, "file")
    with pytest.raises(ValueError, match="med_facts is named twice"):
        benchmarks.load(["med_facts", "med_facts"], bench, 5, False, "file")


@needs_lm_eval
def test_items_are_scored_one_by_one(bench: list[str], tmp_path: Path) -> None:
    from eval.live_model import LiveModel

    small.make_tokenizer(tmp_path / "tokenizer")

    def forward(inputs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.where(labels < 0, 0, np.sin(labels * 1.7) + 1.5), np.zeros_like(inputs)

    model = LiveModel(Answers(forward, lambda _: "", 128), tmp_path / "tokenizer")
    whole = benchmarks.score(model, benchmarks.load(["world_facts", "med_facts"], bench, 0, False, "file"))
    assert whole["task"].unique(maintain_order=True).to_list() == ["world_facts", "med_facts"]
    assert whole.height == 40 and set(whole["score"]) == {0.0, 1.0} and whole["hash"].n_unique() == 40
    few = benchmarks.load(["med_facts"], bench, 0, False, "file")
    few.samples["med_facts"] = [3, 7]  # as it is for lm-eval's own tasks
    some = benchmarks.score(model, few)
    assert set(some["item"]) == {"med_facts-3", "med_facts-7"}
    assert some.equals(whole.filter(pl.col("item").is_in(["med_facts-3", "med_facts-7"])))


@needs_lm_eval
def test_programs_are_refused_without_leave(tmp_path: Path) -> None:
    item: dict[str, Any] = {"id": "a", "benchmark": "humaneval", "context": "", "question": "def f():\n"}
    item |= {"choices": [], "answer": ""}
    item |= {
        "answer_text": "    return 1\n",
        "meta": {"test": "def check(f):\n    assert f() == 1", "entry_point": "f"},
    }
    (tmp_path / "items.jsonl").write_text(json.dumps(item) + "\n")
    files = [str(tmp_path / "items.jsonl")]
    with pytest.raises(ValueError, match=r"humaneval runs programs.*eval\.run_code: true"):
        benchmarks.load(["humaneval"], files, 0, False, "file")
    document = benchmarks.load(["humaneval"], files, 0, True, "file").tasks["humaneval"].eval_docs[0]
    assert programs.passes(document, ["    return 1\n"]) == {"acc": 1.0}
    assert programs.passes(document, ["    return 2\n"]) == {"acc": 0.0}


def test_programs_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "SECONDS", 1)
    monkeypatch.setenv("SECRET", "x")
    assert programs.succeeds("import os\nassert 'SECRET' not in os.environ\nassert os.listdir() == []")
    assert not programs.succeeds("import sys\nsys.exit(0)"), "an end before the tests is none"
    assert not programs.succeeds("while True: pass")
    assert not programs.succeeds("x = bytearray(2 << 30)")
    assert not programs.succeeds("open('big', 'wb').write(b'0' * (2 << 20))")
    late = tmp_path / "late"
    child = f"import time; time.sleep(2.5); open({str(late)!r}, 'w')"
    program = f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {child!r}])\ntime.sleep(9)"
    assert not programs.succeeds(program)
    time.sleep(1)
    assert not late.exists(), "what a program started ends with it"


def test_legal_tasks_with_labels_are_kept() -> None:
    def row(task: str, answer: str) -> dict[str, Any]:
        return {"task": task, "answer_text": answer, "choices": [], "answer": -1}

    rows = [row("a", "Yes"), row("b", "tort"), row("b", "fraud"), row("b", "tort"), row("c", "one"), row("c", "two")]
    assert [(one["task"], one["choices"], one["answer"]) for one in items.closed(rows)] == [
        ("a", ["No", "Yes"], 1),
        ("b", ["fraud", "tort"], 1),
        ("b", ["fraud", "tort"], 0),
        ("b", ["fraud", "tort"], 1),
    ]


def test_what_is_due() -> None:
    keys = EvalConfig(domain=["medqa"], general=["mmlu"])
    expected = {
        0: ["bits_per_byte", "domain", "general", "generations"],
        1000: ["bits_per_byte"],
        2500: ["bits_per_byte", "general"],
        3500: [],
        5000: ["bits_per_byte", "domain"],
        7500: ["bits_per_byte", "general"],
        8100: ["bits_per_byte", "domain", "general", "generations"],
    }
    assert {step: due(keys, step, 8100) for step in expected} == expected
    nothing = EvalConfig(held_out=0, generated_tokens=0)
    assert [due(nothing, step, 10) for step in range(11)] == [[]] * 11


def test_the_prompts_are_fifty_and_differ() -> None:
    found = generations._read(generations.PROMPTS)
    assert len(found) == 50 == len({one["prompt"] for one in found})
    assert [one["track"] for one in found] == ["domain"] * 25 + ["general"] * 25


def test_repetition_counts_four_grams_that_came_before() -> None:
    assert generations.repetition([1, 2, 3]) == 0
    assert generations.repetition(list(range(20))) == 0
    assert generations.repetition([7] * 13) == pytest.approx(0.9)
    assert generations.repetition([1, 2, 3, 4, 5, 1, 2, 3, 4]) == pytest.approx(1 / 6)


def test_generated_texts_go_on_after_bos(tmp_path: Path) -> None:
    small.make_tokenizer(tmp_path / "tokenizer")
    (tmp_path / "prompts.jsonl").write_text('{"track": "domain", "prompt": "fever and"}\n')
    seen = []

    def forward(inputs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.append(inputs[0].tolist())
        return np.zeros(labels.shape), np.full(inputs.shape, 7)

    model = Answers(forward, lambda _: "", 64)
    (found,) = generations.write(model, tmp_path / "tokenizer", tmp_path / "prompts.jsonl", 13)
    assert seen[0][0] == 0 and seen[-1][-12:] == [7] * 12
    assert found["repetition"] == pytest.approx(0.9) and found["text"]
    (tmp_path / "prompts.jsonl").write_text('{"track": "legal", "prompt": "x"}\n')
    with pytest.raises(ValueError, match=r"prompts\.jsonl:1: is not"):
        generations.write(model, tmp_path / "tokenizer", tmp_path / "prompts.jsonl", 13)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that was decontaminated, as far as the manifest and the pipeline say."""
    return trainable.make(tmp_path)


def test_items_that_curation_removes_are_scored(run: Path, tmp_path: Path) -> None:
    files = sorted(str(path) for path in (tmp_path / "data" / "bench").iterdir())
    found = contamination.check(config.load(run / "pipeline.yaml"), ["med_facts"], files)
    assert found == {"med_facts": {"items": 20, "not_asked": 0, "removed": 0, "held": 0}}


def test_items_that_curation_was_not_asked_to_remove_are_refused(run: Path, tmp_path: Path) -> None:
    question = "which of the seven wandering gardeners of Osterwick first carried a blue lantern across the frozen lake"
    other = {"benchmark": "world_facts", "context": "", "choices": ["a", "b"], "answer": 0, "answer_text": "a"}
    lines = [
        {**other, "id": "held", "question": question, "meta": {}},
        {**other, "id": "free", "question": question[::-1], "meta": {}},
    ]
    path = tmp_path / "other.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    documents = next((run / "documents" / "domain").glob("*/*.parquet"))
    texts = pl.read_parquet(documents)
    first = pl.Series([f"They asked {question} and when. {texts['text'][0]}", *texts["text"][1:]])
    texts.with_columns(text=first).write_parquet(documents)
    pipeline = config.load(run / "pipeline.yaml")
    with pytest.raises(ValueError, match=r"world_facts: 2 of 2 items, of which the documents hold 1\).*score_contam"):
        contamination.check(pipeline, ["world_facts"], [str(path)])
    allowed = config.load(run / "pipeline.yaml", {"eval": {"score_contaminated": True}})
    assert contamination.check(allowed, ["world_facts"], [str(path)])["world_facts"]["held"] == 1


def test_without_decontamination_every_item_is_one_that_was_not_removed(run: Path, tmp_path: Path) -> None:
    (run / "manifest.json").write_text('{"stages": [{"name": "exact_dedup"}]}')
    files = sorted(str(path) for path in (tmp_path / "data" / "bench").iterdir())
    with pytest.raises(ValueError, match=r"eval\.domain, eval\.general: curation was not asked .* 20 of 20 items"):
        contamination.check(config.load(run / "pipeline.yaml"), ["med_facts"], files)
