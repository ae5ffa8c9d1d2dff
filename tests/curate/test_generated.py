"""Replay text that the base model writes itself: a source like any other, the same bytes after a kill."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from curate.generated import source_of, write_generated
from curate.records import read
from curate.sources import Source
from pipelines import config
from tests.curate.corpus import corpus, ledger, sentences
from tests.train import small

KEYS = {"documents": 10, "length": 40, "batch": 4}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with random weights, and its tokenizer."""
    folder = tmp_path_factory.mktemp("model") / "base"
    small.make_tokenizer(folder)
    return small.make_model(folder)


def pipeline(model: Path, output: Path, replay: Any, **values: Any) -> config.Pipeline:
    own = {"name": "test", "model": str(model), "domain": ["domain/*"], "replay": replay, "output": str(output)}
    return config.parse(own | values, output / "pipeline.yaml")


def written(model: Path, output: Path, said: list[str] | None = None, /, **keys: Any) -> tuple[Source, Path]:
    """The source with these keys, written, and its file."""
    made = pipeline(model, output, {"generated": KEYS | keys})
    entry: Any = made.replay[0]
    source = source_of(made, entry.generated, "pipeline.yaml: replay")
    write_generated(made, [source], (said if said is not None else []).append)
    return source, Path(source.root) / source.path


def test_keys_and_seed_decide_the_bytes(model: Path, tmp_path: Path) -> None:
    source, file = written(model, tmp_path / "one")
    documents = list(read(source))
    assert len(documents) == 10 and len({document.text for document in documents}) == 10
    _, again = written(model, tmp_path / "two")
    assert again.read_bytes() == file.read_bytes()
    other, changed = written(model, tmp_path / "one", seed=1)
    assert other.identity != source.identity and changed.read_bytes() != again.read_bytes()
    assert not file.exists(), "what other keys have written is removed"
    _, colder = written(model, tmp_path / "two", temperature=0.01, documents=4)
    letters = [Counter(json.loads(line)["text"]) for line in colder.read_text().splitlines()]
    assert max(letters[0].values()) > 10, "at a temperature near 0 a random model repeats itself"


def test_a_document_ends_at_the_models_eos(model: Path, tmp_path: Path) -> None:
    source, _ = written(model, tmp_path, documents=64, batch=64, temperature=3.0, length=120)
    lengths = sorted(len(document.text) for document in read(source))
    usual = lengths[len(lengths) // 2]
    assert lengths[1] < usual / 2 < lengths[30], "some end by themselves, the others are cut at their length"


PROGRAM = """
import sys
from pathlib import Path
from tests.curate.test_generated import MANY, written
written(Path(sys.argv[1]), Path(sys.argv[2]), **MANY)
"""
MANY = {"documents": 60, "batch": 5}


def test_a_killed_run_goes_on_to_the_same_bytes(model: Path, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(small.REPO)}
    command = [sys.executable, "-c", PROGRAM, str(model), str(tmp_path / "killed")]
    process = subprocess.Popen(command, env=environment, cwd=small.REPO, start_new_session=True)
    until = time.monotonic() + 120
    while len(list(tmp_path.glob("killed/generated/*/parts/0*.jsonl"))) < 3:
        assert process.poll() is None and time.monotonic() < until, "it ended before it could be killed"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("killed/generated/*/generated.jsonl"))
    said: list[str] = []
    _, file = written(model, tmp_path / "killed", said, **MANY)
    _, whole = written(model, tmp_path / "whole", **MANY)
    assert file.read_bytes() == whole.read_bytes() and 50 < whole.read_bytes().count(b"\n") <= 60
    assert 0 < len(said) <= 9 and "writes replay text: 0 of" not in said[0], "what was there was not written again"


def test_it_is_curated_like_any_source(model: Path, tmp_path: Path) -> None:
    from curate import run

    root = corpus(tmp_path / "data")
    values = {
        "name": "test",
        "model": str(model),
        "data_root": str(root),
        "domain": ["domain/*"],
        "replay": ["general/*", {"generated": KEYS | {"documents": 24, "batch": 24}}],
        "output": str(tmp_path / "run"),
        "curate": {"executor": {"workers": 1}, "stages": ["normalize", {"heuristics": {"min_words": 8}}]},
        "eval": {"held_out": 0.1},
    }
    path = tmp_path / "closed.yaml"
    path.write_text(yaml.safe_dump(values))
    run.main([str(path), "--dry-run"])
    assert not (tmp_path / "run" / "generated").exists(), "a plan writes nothing"
    run.main([str(path)])
    found = [
        pl.scan_parquet(sorted((tmp_path / "run" / name).rglob("*.parquet"))).select("id", "source").collect()
        for name in ("documents", "held_out")
    ]
    kept = pl.concat(found).filter(source="generated")["id"].to_list()
    removed = ledger(tmp_path / "run").filter(pl.col("source") == "generated", pl.col("stage") != "held_out")
    assert sorted([*kept, *removed["id"]]) == sorted(f"generated/{number}" for number in range(24))
    assert set(removed["origin"].str.split("#").list.first()) <= {"generated.jsonl"}
    assert sentences(0, 1)  # the other replay source is still there
    assert "news" in found[0]["source"].to_list()


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"length": 128}, r"generated.length: 128 tokens and the first one are more than the 128"),
        ({"engine": "vllm"}, "vllm is asked for, but its package is not installed.*palimpsest.vllm."),
    ],
)
def test_what_could_not_be_written_is_refused_before(
    model: Path, tmp_path: Path, keys: dict[str, Any], told: str
) -> None:
    if "engine" in keys and importlib.util.find_spec("vllm") is not None:
        pytest.skip("vllm is installed here, so there is no error")
    with pytest.raises(ValueError, match=told):
        written(model, tmp_path, **keys)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"replay": {"generated": {}}}, r"replay\[0\].generated.*documents: is missing"),
        (
            {"replay": [{"generated": KEYS | {"lenght": 3}}]},
            r"lenght: there is no such key. Known here: documents, len",
        ),
        ({"replay": [{"generated": KEYS, "files": "x"}]}, "files: there is no such key. Known here: generated"),
        ({"replay": {"generated": KEYS | {"documents": 0}}}, "documents: 0 cannot be used"),
        ({"domain": [{"generated": KEYS}], "replay": ["general/*"]}, r"domain\[0\]"),
    ],
)
def test_wrong_keys_are_named(tmp_path: Path, values: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        pipeline(tmp_path, tmp_path, **({"replay": []} | values))
