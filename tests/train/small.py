"""What a small training run is made of: made-up documents of two pools, a tokenizer, tiny base models."""

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from curate.files import write_json
from pipelines.config import Pipeline

REPO = Path(__file__).resolve().parents[2]
VOCABULARY = 320
SEQ_LEN = 64
SOURCES = (("domain", "notes"), ("domain", "trials"), ("replay", "books"))
WORDS = {
    "domain": "patient fever renal acute chart dose daily cardiac lesion biopsy oral infusion".split(),
    "replay": "river harvest stone letter winter market road garden evening history song lamp".split(),
}
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


def text(pool: str, number: int) -> str:
    """A made-up document: 5 to 120 words in an order that can be learned (each word tends to the next)."""
    generator = random.Random(f"{pool} {number}")
    words, at = WORDS[pool], generator.randrange(12)
    chosen = []
    for _ in range(generator.randint(5, 120)):
        chosen.append(words[at])
        at = (at + 1) % 12 if generator.random() < 0.7 else generator.randrange(12)
    return " ".join(chosen)


def make_tokenizer(folder: Path) -> None:
    """A byte-level BPE tokenizer trained on the made-up text, as a run keeps it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text(pool, number) for pool in WORDS for number in range(50)], trainer)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"bos_token": "<s>", "eos_token": "</s>"})
    write_json(folder / "extension.json", {"base": "", "base_vocab": VOCABULARY, "new_tokens": []})


def make_model(folder: Path, kind: str = "llama", dtype: str = "float32", **changes: object) -> Path:
    """A random transformers model with the shape above, saved as a Hugging Face folder."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen3Config
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    shape = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen3": Qwen3Config}[kind](**SHAPE | changes)
    model = AutoModelForCausalLM.from_config(shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    return folder


def write_documents(folder: Path, pool: str, source: str, numbers: range) -> None:
    """One file of documents as curation writes them."""
    folder.mkdir(parents=True)
    pl.DataFrame(
        {
            "id": [f"{source}/{number}" for number in numbers],
            "text": [text(pool, number) for number in numbers],
            "pool": pool,
            "source": source,
            "origin": [f"{source}.jsonl.gz#{number}" for number in numbers],
            "scores": pl.Series([[{"name": "perplexity", "value": 1.0}]] * len(numbers)),
        }
    ).write_parquet(folder / "00000.parquet")


def curated(folder: Path, sources: Sequence[tuple[str, str]] = SOURCES, documents: int = 200) -> None:
    """A run folder as curation leaves it for mix.build: tokenizer, documents and held-out documents by pool, source."""
    make_tokenizer(folder / "tokenizer")
    for pool, source in sources:
        write_documents(folder / "documents" / pool / source, pool, source, range(documents))
        write_documents(folder / "held_out" / pool / source, pool, f"{source}_held_out", range(1000, 1012))


def pipeline(folder: Path, model: Path, **train: object) -> Pipeline:
    """The pipeline of the small run, with some training keys changed."""
    keys = {
        "steps": 24,
        "global_batch": 8,
        "local_batch": 4,
        "warmup_steps": 4,
        "peak_lr": 3e-3,
        "checkpoint_every": 5,
    }
    return Pipeline.model_validate(
        {
            "name": "small",
            "model": str(model),
            "output": str(folder),
            "domain": ["domain/*.jsonl.gz"],
            "replay": ["general/*.jsonl.gz"],
            "mix": {"seq_len": SEQ_LEN},
            "train": keys | train,
            "eval": {"every": 8, "documents": 10, "generated_tokens": 0},
        }
    )


def start(run: Path, *arguments: str, processes: int = 1) -> subprocess.Popen[str]:
    """Start a training run as a user would, each process with one thread."""
    launcher = ["-m"] if processes == 1 else ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "-m"]
    return subprocess.Popen(
        [sys.executable, *launcher, "train.launch", str(run), *arguments],
        cwd=REPO,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def train(run: Path, *arguments: str, processes: int = 1) -> str:
    """Train to the end; returns what was printed."""
    process = start(run, *arguments, processes=processes)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output
