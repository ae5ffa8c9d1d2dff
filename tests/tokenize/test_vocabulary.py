"""The vocabulary step of a run: policy, what is written, and when it is made again."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from pipelines.config import Pipeline, load
from tokenization.train import train
from tokenization.vocabulary import build

GENERAL = [f"The cat sat on mat {k} and ran." for k in range(200)]
DOMAIN = [f"The myocardial infarction of patient {k} was myocardial." for k in range(200)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with kept documents of both pools, and the base model's folder beside it."""
    train(GENERAL, 290, tmp_path / "model")
    for pool, source, texts in (("domain", "notes", DOMAIN), ("replay", "web", GENERAL)):
        folder = tmp_path / "run" / "documents" / pool / source
        folder.mkdir(parents=True)
        ids = [f"{source}/{k}" for k in range(len(texts))]
        frame = pl.DataFrame({"id": ids, "text": texts, "pool": pool, "source": source})
        for number, start in enumerate((0, 150)):
            frame.slice(start, 150 if not start else None).write_parquet(folder / f"{number:05}.parquet")
    return tmp_path / "run"


def pipeline(run: Path, **tokenizer: Any) -> Pipeline:
    values = {
        "name": "run",
        "model": str(run.parent / "model"),
        "domain": ["domain/*"],
        "replay": ["general/*"],
        "output": str(run),
        "tokenizer": tokenizer,
    }
    run.mkdir(exist_ok=True)
    (run / "pipeline.yaml").write_text(yaml.safe_dump(values))
    return load(run / "pipeline.yaml")


def written(run: Path, name: str) -> Any:
    return json.loads((run / "tokenizer" / name).read_text())


def test_always_extends_and_reports_both_pools(run: Path) -> None:
    summary = build(run, pipeline(run, extend="always", new_tokens=15), "documents-1")
    assert summary["extended"] and summary["new_tokens"] == 15 and summary["vocabulary"] == 305
    assert summary["fertility_extended"]["domain"] < summary["fertility"]["domain"]
    assert summary["tokens_extended"]["replay"] <= summary["tokens"]["replay"]
    extension = written(run, "extension.json")
    assert extension["base_vocab"] == 290 and len(extension["new_tokens"]) == 15
    assert extension["tokens_after"]["domain"] == summary["tokens_extended"]["domain"]
    fertility = written(run, "fertility.json")
    assert fertility["pools"]["domain"]["sources"]["notes"]["documents"] == 200
    assert fertility["extended"]["domain"]["fertility"] == summary["fertility_extended"]["domain"]


def test_auto_follows_the_rules_and_says_why(run: Path) -> None:
    summary = build(run, pipeline(run, new_tokens=15), "documents-1")
    assert not summary["extended"] and summary["new_tokens"] == 0
    assert any("min_domain_tokens" in reason and "fewer than 1,000,000,000" in reason for reason in summary["reasons"])
    assert written(run, "extension.json")["new_tokens"] == []
    base = (run.parent / "model" / "tokenizer.json").read_bytes()
    assert (run / "tokenizer" / "tokenizer.json").read_bytes() == base
    rules = {"min_fertility": 1.5, "min_domain_tokens": 100}
    assert build(run, pipeline(run, new_tokens=15, **rules), "documents-1")["extended"]


def test_never_keeps_a_tokenizer_that_cannot_be_extended(run: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {word: index for index, word in enumerate(["[UNK]", "The", "cat", "patient"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(run.parent / "model" / "tokenizer.json"))
    assert not build(run, pipeline(run, extend="never"), "documents-1")["extended"]
    before = (run / "tokenizer" / "tokenizer.json").read_bytes()
    with pytest.raises(ValueError, match="WordLevel"):
        build(run, pipeline(run, extend="always"), "documents-1")
    assert (run / "tokenizer" / "tokenizer.json").read_bytes() == before, (
        "the old tokenizer stays until a new one is whole"
    )
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []


def test_trained_from_scratch_on_both_pools(run: Path) -> None:
    summary = build(run, pipeline(run, train=300), "documents-1")
    assert summary["trained"] and summary["vocabulary"] == 300 and not summary["extended"]
    assert written(run, "tokenizer_config.json")["bos_token"] == "<s>"
    vocabulary = written(run, "tokenizer.json")["model"]["vocab"]
    assert any("card" in token or "infa" in token for token in vocabulary) and any(
        "at" in token for token in vocabulary
    )
    with pytest.raises(ValueError, match="tokenizer.extend: always"):
        build(run, pipeline(run, train=300, extend="always"), "documents-1")


def test_made_again_only_when_something_changed(run: Path) -> None:
    first = build(run, pipeline(run, extend="always", new_tokens=5), "documents-1")
    stamp = (run / "tokenizer" / "tokenizer.json").stat().st_mtime_ns
    again = build(run, pipeline(run, extend="always", new_tokens=5), "documents-1")
    assert not first.pop("reused") and again.pop("reused") and again == first
    assert (run / "tokenizer" / "tokenizer.json").stat().st_mtime_ns == stamp
    assert not build(run, pipeline(run, extend="always", new_tokens=5), "documents-2")["reused"]
    assert not build(run, pipeline(run, extend="always", new_tokens=6), "documents-2")["reused"]
    train(GENERAL, 300, run.parent / "model")
    assert not build(run, pipeline(run, extend="always", new_tokens=6), "documents-2")["reused"]


def test_the_base_must_be_there(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*_: Any, **__: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    values = pipeline(run).model_copy(update={"model": "nobody/nothing"})
    with pytest.raises(ValueError, match="model: nobody/nothing is neither a folder here nor .* hub"):
        build(run, values, "documents-1")
    (run.parent / "model" / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match="tokenizer.json: is not there"):
        build(run, pipeline(run), "documents-1")


def test_a_run_without_documents_is_named(tmp_path: Path) -> None:
    train(GENERAL, 290, tmp_path / "model")
    with pytest.raises(ValueError, match="holds no documents"):
        build(tmp_path / "run", pipeline(tmp_path / "run"), "documents-1")


def test_commands_work_on_a_run_and_without_one(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tokenization import extend, fertility

    pipeline(run)
    fertility.main([str(run)])
    printed = capsys.readouterr().out
    assert "notes" in printed and "web" in printed and "New tokens are not worth it" in printed
    extend.main([str(run), "--new-tokens", "7"])
    assert len(written(run, "extension.json")["new_tokens"]) == 7
    assert "7 of 7 new tokens from id 290" in capsys.readouterr().out
    (run / "notes.txt").write_text("\n".join(DOMAIN))
    target = run.parent / "elsewhere"
    arguments = [
        "--tokenizer",
        run.parent / "model",
        "--text",
        run / "notes.txt",
        "--new-tokens",
        "4",
        "--output",
        target,
    ]
    extend.main([str(argument) for argument in arguments])
    assert len(json.loads((target / "extension.json").read_text())["new_tokens"]) == 4


def test_the_command_names_what_is_missing(run: Path, tmp_path: Path) -> None:
    from tokenization import fertility

    with pytest.raises(ValueError, match="--tokenizer: is missing"):
        fertility.main(["--text", str(run / "documents/*/*/*.parquet")])
    nothing = ["--tokenizer", str(run.parent / "model"), "--text", str(tmp_path / "none-*.txt")]
    with pytest.raises(ValueError, match=r"--text .*none-\*.txt: matches no file"):
        fertility.main(nothing)
