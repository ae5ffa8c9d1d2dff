"""The recipes: each is parsed, planned at its own size, and run on a slice of text of its kind.

Models for the plans are config.json alone. Slices of legal, financial and Hindi text come from ../shared/data and are
skipped where that is not there; code is Python's own standard library, which is everywhere.
"""

import argparse
import gzip
import json
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate import run as curate_run
from curate.files import read_json
from curate.plan import build_stages
from mix import build
from pipelines import config
from tests.conftest import REPO
from tests.eval import small_run
from tests.train import test_plan
from train import checkpoint_policy, parallelism, plan, settings
from train.keys import health

RECIPES = {"legal": "8B", "finance": "8B", "code": "8B", "hindi": "8B", "llama-70b-clinical": "70B"}
"""Recipe -> size of Llama 3."""
GPUS = {"8B": 8, "70B": 64}
TINY = str(REPO / "pipelines" / "models" / "tiny-llama")
SMALL = {
    "--curate.executor": "{workers: 1}",
    "--model": TINY,
    "--mix.seq_len": "128",
    "--train.steps": "4",
    "--train.global_batch": "8",
    "--eval.held_out": "0.1",
}
"""Keys of a recipe that a slice and the tiny base cannot have."""


def recipe(name: str, **overrides: Any) -> config.Pipeline:
    return config.load(REPO / "pipelines" / f"{name}.yaml", overrides)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_fits_its_gpus_and_contradicts_itself_nowhere(name: str, tmp_path: Path) -> None:
    size = RECIPES[name]
    overrides = {"model": str(test_plan.config(tmp_path, size)), "output": str(tmp_path / "run")}
    pipeline = recipe(name, **overrides)
    train = pipeline.train
    assert build_stages(pipeline, name)
    train.shape(train.steps)
    checkpoint_policy.check(recipe(name, **overrides, **{"train.archive": f"file://{tmp_path}/archive"}))
    health.check(train)
    layout = parallelism.layout(train, GPUS[size])
    settings.check_batches(pipeline, layout.rows)
    parser = argparse.ArgumentParser()
    plan._arguments(parser)
    made = plan.make(pipeline, parser.parse_args(["--gpu", "h100", "--gpus", str(GPUS[size])]))
    assert made["memory"]["fits"] and made["accumulation"] % 1 == 0
    assert made["speed"] is not None and made["cost"]["hours"] < 24 * 30
    evaluation = pipeline.eval
    assert train.checkpoint_every % evaluation.every == 0 and evaluation.general_every % evaluation.every == 0
    known = {file.stem for file in (REPO / "eval" / "tasks").glob("*.yaml")}
    assert {*evaluation.domain, *evaluation.general} <= known


def test_the_plan_of_the_70b_run_is_the_one_that_is_told(tmp_path: Path) -> None:
    pipeline = recipe("llama-70b-clinical", model=str(test_plan.config(tmp_path, "70B")), output=str(tmp_path / "run"))
    parser = argparse.ArgumentParser()
    plan._arguments(parser)
    made = plan.make(pipeline, parser.parse_args(["--gpus", "64", "--corpus-tokens", "10e9"]))
    assert made["memory"]["layout"]["name"] == "FSDP 8 x TP 8" and made["accumulation"] == 16
    assert made["budget"]["tokens"] == 12000 * 256 * 8192
    shares = [(knot.step, knot.domain) for knot in pipeline.mix.schedule]
    assert shares == [(0, 0.5), (500, 0.5), (2000, 0.8)]
    domain_steps = 500 * 0.5 + 1500 * 0.65 + 10000 * 0.8
    assert made["budget"]["epochs"] == pytest.approx(domain_steps * 256 * 8192 / 10e9, rel=1e-3)


def test_adapters_instead_need_one_node(tmp_path: Path) -> None:
    """What the comment beside lora_rank says."""
    keys = {"train.lora_rank": 64, "train.local_batch": 1, "output": str(tmp_path / "run")}
    pipeline = recipe("llama-70b-clinical", model=str(test_plan.config(tmp_path, "70B")), **keys)
    parser = argparse.ArgumentParser()
    plan._arguments(parser)
    assert plan.make(pipeline, parser.parse_args(["--gpus", "8"]))["memory"]["fits"]
    settings.check_batches(pipeline, parallelism.layout(pipeline.train, 8).rows)


# On text ------------------------------------------------------------------------------------------------------------


def rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write(path: Path, texts: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(texts))


def textbooks(data: Path, *books: str) -> list[str]:
    found = rows(data / "general" / "textbooks_general.jsonl.gz")
    return [one["text"] for one in found if one["meta"]["book"] in books]


def general(data: Path, folder: Path) -> None:
    """Replay and benchmark items for a slice."""
    write(
        folder / "general" / "web.jsonl.gz", [one["text"] for one in rows(data / "general" / "gov_web.jsonl.gz")[:150]]
    )
    (folder / "bench").mkdir()
    (folder / "bench" / "copa.jsonl.gz").write_bytes((data / "bench" / "copa.jsonl.gz").read_bytes())


def go(name: str, folder: Path, *arguments: str) -> tuple[dict[str, Any], Path]:
    """Curate and mix a slice as a user would; returns manifest and run folder."""
    run = folder / "run"
    keys = [word for pair in SMALL.items() for word in pair]
    path = str(REPO / "pipelines" / f"{name}.yaml")
    curate_run.main([path, "--data-root", str(folder), "--output", str(run), *keys, *arguments])
    build.main([str(run)])
    got = read_json(run / "mixture.json")["got"]
    assert got["domain"]["rows"] + got["replay"]["rows"] == 32
    return read_json(run / "manifest.json"), run


def kept(manifest: dict[str, Any], source: str) -> float:
    """Share of a source's documents that are left, or held out."""
    [read] = [one["documents"] for one in manifest["sources"] if one["source"] == source]
    removed = [one["removed_by_source"].get(source, 0) for one in manifest["stages"] if one["name"] != "held_out"]
    return 1 - sum(removed) / read


def removed(manifest: dict[str, Any], stage: str, source: str) -> int:
    [found] = [one["removed_by_source"].get(source, 0) for one in manifest["stages"] if one["name"] == stage]
    return found


def test_legal_text_is_kept(real_data: Path, tmp_path: Path) -> None:
    """Passages of LegalBench and textbook sections on government. The published limits drop most of the passages."""
    items = rows(real_data / "bench" / "legalbench.jsonl.gz")
    write(tmp_path / "domain" / "clauses.jsonl.gz", [one["question"] for one in items])
    write(tmp_path / "domain" / "government.jsonl.gz", textbooks(real_data, "american-government"))
    general(real_data, tmp_path)
    manifest, run = go("legal", tmp_path)
    assert removed(manifest, "language", "clauses") <= 5
    assert removed(manifest, "heuristics", "government") == 0 and kept(manifest, "government") > 0.9
    assert removed(manifest, "heuristics", "clauses") < 0.25 * len(items)
    texts = pl.read_parquet(sorted((run / "documents" / "domain").glob("*/*.parquet")))["text"]
    assert texts.str.contains(r"January \d+, \d{4}").any(), "dates stay"


def test_reports_keep_their_tables_and_dates(real_data: Path, tmp_path: Path) -> None:
    """Passages of annual reports (TAT-QA). The published share of words with a letter drops 211 of 224."""
    passages = dict.fromkeys(one["context"] for one in rows(real_data / "bench" / "tatqa.jsonl.gz"))
    write(tmp_path / "domain" / "reports.jsonl.gz", passages)
    write(tmp_path / "domain" / "economics.jsonl.gz", textbooks(real_data, "principles-economics-bundle"))
    general(real_data, tmp_path)
    manifest, run = go("finance", tmp_path)
    assert len(passages) == 224 and removed(manifest, "heuristics", "reports") <= 3
    assert kept(manifest, "reports") > 0.9 and kept(manifest, "economics") > 0.9
    texts = pl.read_parquet(sorted((run / "documents" / "domain" / "reports").glob("*.parquet")))["text"]
    assert texts.str.contains(r"December 31, 20\d\d").sum() > 20 and texts.str.contains(r" \| ").sum() > 100


def test_code_keeps_its_indentation(tmp_path: Path) -> None:
    """Packages of Python's standard library; general text and items are made up."""
    library = Path(sysconfig.get_path("stdlib"))
    packages = ("asyncio", "email", "json", "logging", "http", "urllib", "unittest", "importlib", "xml")
    files = [file for name in packages for file in sorted((library / name).rglob("*.py"))]
    write(tmp_path / "domain" / "python.jsonl.gz", texts := [file.read_text(encoding="utf-8") for file in files])
    stories = [small_run.document("replay", number, 300) for number in range(60)]
    write(tmp_path / "general" / "stories.jsonl.gz", stories)
    item = {
        "id": "1",
        "benchmark": "made_up",
        "context": "",
        "question": "Which of the rivers is it that has no bridge?",
    }
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "items.jsonl").write_text(json.dumps(item | {"choices": [], "answer": "", "answer_text": ""}))
    manifest, run = go("code", tmp_path, "--benchmarks", "[bench/*.jsonl]", "--mix.max_epochs", "100")
    assert kept(manifest, "python") > 0.75 and kept(manifest, "stories") == 1.0, "long lines are no fault of prose"
    documents = pl.read_parquet(sorted((run / "documents" / "domain" / "python").glob("*.parquet")))["text"]
    whole = [text for text in documents if "[EMAIL]" not in text]
    assert len(whole) > 50 and set(whole) <= set(texts), "not a blank is changed"
    assert not any("@python.org" in text for text in documents)


def test_hindi_gets_new_tokens_where_fertility_says_so(real_data: Path, tmp_path: Path) -> None:
    """Sentences of Universal Dependencies, five a document: too few for the rule of a billion tokens, which is set to
    the slice's size; the two others decide."""
    pytest.importorskip("indicnlp", reason="indic-nlp-library (extra indic) is not installed")
    sentences = rows(real_data / "multilingual" / "langid_sentences.jsonl.gz")
    hindi = [one["text"] for one in sentences if one["meta"]["lang"] == "hi"]
    write(tmp_path / "domain" / "sentences.jsonl.gz", ["\n".join(hindi[n : n + 5]) for n in range(0, len(hindi), 5)])
    general(real_data, tmp_path)
    size = ("--tokenizer.min_domain_tokens", "50000", "--tokenizer.min_count", "5", "--tokenizer.new_tokens", "300")
    manifest, run = go("hindi", tmp_path, *size)
    assert kept(manifest, "sentences") == 1.0
    fertility = read_json(run / "tokenizer" / "fertility.json")
    assert len(read_json(run / "tokenizer" / "extension.json")["new_tokens"]) == 300
    before, after = fertility["pools"]["domain"], fertility["extended"]["domain"]
    assert before["fertility"] > 2 and after["tokens"] < 0.5 * before["tokens"]
    assert fertility["extended"]["replay"]["tokens"] <= fertility["pools"]["replay"]["tokens"]
