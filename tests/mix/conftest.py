"""A run as curation leaves it: a tiny byte-level BPE tokenizer and documents made here."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

WORDS = "the patient was given a dose of new medicine and seen again after two weeks without pain or fever".split()
SIZES = {"domain": {"notes": 60, "abstracts": 90, "letters": 25}, "replay": {"books": 40, "web": 70}}


def make_tokenizer(folder: Path, vocabulary: int = 400) -> Path:
    """A tokenizer with <s> and </s>, trained on WORDS, that knows every byte."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 4, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    return folder


def make_documents(folder: Path, pool: str, source: str, count: int, seed: int = 0) -> None:
    """Documents of 1 to 120 words in files of 30, one of them empty and one far longer than a row."""
    rng = random.Random(f"{seed}/{pool}/{source}")
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 120))) for _ in range(count)]
    texts[count // 2] = ""
    texts[count // 3] = " ".join(rng.choices(WORDS, k=900))
    for part, start in enumerate(range(0, count, 30)):
        some = texts[start : start + 30]
        frame = pl.DataFrame({"id": [f"{source}/{start + index}" for index in range(len(some))], "text": some})
        path = folder / pool / source / f"{part:05d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.with_columns(pool=pl.lit(pool), source=pl.lit(source), origin=pl.lit("made")).write_parquet(path)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Makes a run folder: make_run("name", steps=..., global_batch=...)."""

    def make(name: str = "run", steps: int = 5, global_batch: int = 8) -> Path:
        run = tmp_path / name
        for pool, sources in SIZES.items():
            for source, count in sources.items():
                make_documents(run / "documents", pool, source, count)
        make_tokenizer(run / "tokenizer")
        pipeline: dict[str, Any] = {
            "name": name,
            "model": "none",
            "domain": ["domain/*"],
            "replay": ["replay/*"],
            "output": str(run),
        }
        pipeline |= {"mix": {"seq_len": 64}, "train": {"steps": steps, "global_batch": global_batch}}
        (run / "pipeline.yaml").write_text(yaml.safe_dump(pipeline))
        return run

    return make
