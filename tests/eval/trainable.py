"""A run folder that can be trained in, with benchmark items that its curation was asked to remove."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

from curate.files import write_json
from pipelines import config
from tests.train import small

BENCHMARKS = {"med_facts": "domain", "world_facts": "replay", "story_endings": "replay"}


def make(home: Path, **keys: Any) -> Path:
    """A run up to and with its mixture, of six steps, with tasks of both tracks; `keys` are of the section eval."""
    from mix import build

    folder = home / "runs" / "small"
    small.make_tokenizer(folder / "tokenizer")
    small.make_model(home / "base", dtype="bfloat16", tie_word_embeddings=True)
    (home / "base" / "tokenizer.json").write_bytes((folder / "tokenizer" / "tokenizer.json").read_bytes())
    (home / "base" / "tokenizer_config.json").write_bytes((folder / "tokenizer" / "tokenizer_config.json").read_bytes())
    for pool, source in (("domain", "notes"), ("replay", "books")):
        small.write_documents(folder / "documents" / pool / source, pool, source, range(60))
        small.write_documents(folder / "held_out" / pool / source, pool, f"{source}_held_out", range(1000, 1012))
    write_items(home / "data" / "bench")
    write_json(folder / "manifest.json", {"stages": [{"name": "decontaminate"}]})
    values = small.pipeline(folder, home / "base", steps=6, warmup_steps=2).model_dump(mode="json")
    values |= {"data_root": str(home / "data"), "benchmarks": ["bench/*.jsonl.gz"]}
    values["curate"]["stages"] = ["decontaminate"]
    tracks = {"domain": ["med_facts"], "general": ["world_facts", "story_endings"], "items": 12}
    values["eval"] |= {"every": 2, "domain_every": 4, "general_every": 4, "general_offset": 1} | tracks | keys
    config.save(config.parse(values, folder / "pipeline.yaml"), folder / "pipeline.yaml")
    build.main([str(folder)])
    return folder


def write_items(folder: Path) -> None:
    """A file of 20 items for each benchmark, in the words of a pool."""
    folder.mkdir(parents=True)
    for benchmark, pool in BENCHMARKS.items():
        lines = []
        for number in range(20):
            words = random.Random(f"{benchmark} {number}")
            choices = words.sample(small.WORDS[pool], 4)
            item = {
                "id": f"{benchmark}-{number}",
                "benchmark": benchmark,
                "context": "",
                "question": " ".join(words.choices(small.WORDS[pool], k=12)) + f" {number}?",
                "choices": choices,
                "answer": number % 4,
                "answer_text": choices[number % 4],
                "meta": {"subject": "none"},
            }
            lines.append(json.dumps(item) + "\n")
        with gzip.open(folder / f"{benchmark}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.write("".join(lines))
