"""The parts of a small run folder, by the contract on disk: documents, ledger, manifest, tokenizer, models, metrics."""

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from curate.files import write_json
from pipelines import config
from pipelines.config import Pipeline

SCRIPT = "<script>document.title = 'owned'</script><img src=x onerror=alert(1)>"
"""What a corpus might hold, and a page must only show."""
WORDS = {
    "domain": "patient dyspnoea metoprolol naïve fever 40 mg daily renal failure acute β-blocker chart".split(),
    "replay": "river parliament harvest stone letter winter market road garden evening history café".split(),
}
EDITED = {"redact": "email", "substring_dedup": "repeated_span"}
"""Reason of the edits of each stage that edited."""
SOURCES = {"domain": ["notes", "trials"], "replay": ["books"]}


def document(pool: str, seed: int, words: int) -> str:
    """A made-up document of a pool."""
    chosen = random.Random(f"{pool} {seed}").choices(WORDS[pool], k=words)
    return " ".join(chosen).capitalize() + ".\n"


def documents(pool: str, source: str, count: int, first: int) -> pl.DataFrame:
    """Made-up documents of very different lengths, as they stand in documents/ and held_out/."""
    lengths = [3 + (37 * index) % 160 for index in range(count)]
    texts = [document(pool, first + index, length) for index, length in enumerate(lengths)]
    return pl.DataFrame(
        {
            "id": [f"{source}/{first + index}" for index in range(count)],
            "text": texts,
            "pool": pool,
            "source": source,
            "origin": [f"{pool}/{source}.jsonl.gz#{first + index}" for index in range(count)],
            "scores": pl.Series([[{"name": "perplexity", "value": 1.5}]] * count),
        }
    )


def make_tokenizer(folder: Path, bos: bool = True) -> Path:
    """A byte-level BPE tokenizer trained on made-up text; BOS and EOS in its config where asked for."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([document(pool, seed, 200) for pool in WORDS for seed in range(5)], trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": "<s>", "eos_token": "</s>"} if bos else {}
    write_json(folder / "tokenizer_config.json", named)
    return folder


def make_model(folder: Path, seed: int, bos: bool = True) -> Path:
    """A random Llama of 320 tokens with its tokenizer, as a Hugging Face folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    shape = LlamaConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
    )
    LlamaForCausalLM(shape).save_pretrained(folder)
    return make_tokenizer(folder, bos)


def write_documents(run: Path, kind: str, pool: str, source: str, frame: pl.DataFrame) -> None:
    """Write documents/ or held_out/ of one source."""
    path = run / kind / pool / source / "00000.parquet"
    path.parent.mkdir(parents=True)
    frame.write_parquet(path)


def pipeline(folder: Path, root: Path, **train: Any) -> Pipeline:
    """The resolved pipeline of the run."""
    values = {
        "name": "small",
        "model": str(root / "base"),
        "domain": ["domain/*.jsonl.gz"],
        "replay": ["general/*.jsonl.gz"],
        "output": str(folder),
        "mix": {"seq_len": 64},
        "train": train,
    }
    return config.parse(values, folder / "pipeline.yaml")


def write_ledger(folder: Path) -> None:
    """Documents removed by two stages, one of them with markup in every text field."""
    stages: dict[str, tuple[str, list[tuple[str, dict[str, Any]]]]] = {
        "language": ("wrong_language", [(f"notes/{SCRIPT}{n}", {"language": SCRIPT}) for n in range(5)]),
        "near_dedup": (
            "near_duplicate",
            [(f"notes/{200 + n}", {"duplicate_of": f"notes/{n}", "similarity": 0.8 + n / 50}) for n in range(7)],
        ),
    }
    for stage, (reason, removed) in stages.items():
        frame = pl.DataFrame(
            {
                "id": [id for id, _ in removed],
                "pool": "domain",
                "source": "notes",
                "origin": [f"domain/notes.jsonl.gz#{number}" for number in range(len(removed))],
                "stage": stage,
                "reason": reason,
                "detail": [json.dumps(detail) for _, detail in removed],
                "excerpt": f"{SCRIPT} bonjour",
            }
        )
        path = folder / "removed" / stage / "domain-notes-00000.parquet"
        path.parent.mkdir(parents=True)
        frame.write_parquet(path)


def write_edits(folder: Path) -> None:
    """Spans edited by two stages, with markup in every text field."""
    for stage, reason in EDITED.items():
        frame = pl.DataFrame(
            {
                "id": [f"notes/{SCRIPT}{number}" for number in range(4)],
                "origin": f"domain/{SCRIPT}#1",
                "stage": stage,
                "reason": reason,
                "detail": json.dumps({"item": SCRIPT}),
                "before": pl.Series([None if stage == "redact" else SCRIPT] * 4, dtype=pl.String),
                "after": f"[{SCRIPT}]",
            }
        )
        path = folder / "edited" / stage / "domain-notes-00000.parquet"
        path.parent.mkdir(parents=True)
        frame.write_parquet(path)


def manifest() -> dict[str, Any]:
    """Counts that add up: 168 documents read, 12 dropped, 36 held out, 120 kept."""

    def stage(name: str, taken: int, reasons: dict[str, int]) -> dict[str, Any]:
        removed = sum(reasons.values())
        return {
            "name": name,
            "identity": f"{len(name):016x}",
            "documents_in": taken,
            "documents_kept": taken - removed,
            "documents_removed": removed,
            "bytes_in": taken * 500,
            "bytes_kept": (taken - removed) * 500,
            "reasons": reasons,
            "documents_edited": 4 if name in EDITED else 0,
            "bytes_cut": 2000 if name in EDITED else 0,
            "edits": {EDITED[name]: 4} if name in EDITED else {},
            "seconds": 0.5,
            "versions": {"stage": 1, "polars": "2.1.0"},
        }

    return {
        "run": "small",
        "stages": [
            stage("read", 168, {}),
            stage("language", 168, {"wrong_language": 5}),
            stage("near_dedup", 163, {"near_duplicate": 7}),
            stage("redact", 156, {}),
            stage("substring_dedup", 156, {}),
            stage("held_out", 156, {"held_out": 36}),
        ],
        "held_out": {"domain": {"documents": 24, "bytes": 12000}, "replay": {"documents": 12, "bytes": 6000}},
    }


def write_analysis(folder: Path) -> None:
    """fertility.json and extension.json of a tokenizer that got two new tokens."""

    def figures(tokens: int) -> dict[str, Any]:
        shown = {"tokens": tokens, "fertility": tokens / 1000, "bytes_per_token": 3.2, "heavily_split": 0.07}
        return {**shown, "terms_by_tokens": {"1": 600, "2": tokens - 1500, "10": 5}}

    split = [{"term": SCRIPT, "count": 9, "tokens": 4, "pieces": ["<scr", "ipt", ">", "…"]}]
    names = ["Ġmeto", SCRIPT]
    new = [{"id": 318 + n, "token": name, "parents": [5, 6], "count": 90 - n} for n, name in enumerate(names)]
    write_json(folder / "tokenizer" / "extension.json", {"base": "base", "base_vocab": 318, "new_tokens": new})
    analysis = {
        "vocabulary": 318,
        "pools": {"domain": {**figures(2500), "most_split": split}, "replay": {**figures(1500), "most_split": []}},
        "extended": {"domain": figures(2000), "replay": figures(1500)},
        "summary": {"reasons": ["2.50 tokens per domain word: above 2 (tokenizer.min_fertility)"]},
    }
    write_json(folder / "tokenizer" / "fertility.json", analysis)


def write_mixture(folder: Path) -> None:
    """mixture.json of 300 steps of 16 rows at 80 % domain, over the run's three sources."""
    packed = {"domain": {"notes": 300, "trials": 100}, "replay": {"books": 2000}}
    shares = {"domain": 0.8, "replay": 0.2}
    plan: dict[str, Any] = {"seed": 0, "seq_len": 64, "pools": {}}
    got: dict[str, Any] = {}
    for pool, sources in packed.items():
        plan["pools"][pool] = [
            {"name": name, "rows": rows, "tokens": rows * 64 - 3, "documents": 40, "cut": 5}
            for name, rows in sources.items()
        ]
        dealt, rows = round(4800 * shares[pool]), sum(sources.values())
        of_sources = {name: {"rows": dealt * size // rows, "epochs": dealt / rows} for name, size in sources.items()}
        got[pool] = {"rows": dealt, "share": shares[pool], "tokens": dealt * 64, "epochs": dealt / rows}
        got[pool]["sources"] = of_sources
    budget = {"steps": 300, "global_batch": 16, "rows": 4800}
    mixture = {"identity": "0" * 16, "plan": plan, "budget": budget, "asked": shares, "got": got}
    mixture |= {"rescaled": [], "advice": [f"mix.replay: is 2 %, and sources may be called {SCRIPT}"]}
    write_json(folder / "mixture.json", mixture)


def write_training(folder: Path, steps: int = 20) -> None:
    """metrics.jsonl and journal.jsonl of a training run, the last line still being written."""
    training = folder / "train" / "main"
    training.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = []
    for step in range(steps + 1):
        if step % 10 == 0:
            figures = {"domain_bits_per_byte": 3 - step / 20, "general_bits_per_byte": 2 + step / 200}
            lines.append({"step": step, "eval": figures})
        if step:
            pools = {"loss": 4 / step, "loss_domain": 5 / step, "loss_replay": None if step == 3 else 3 / step}
            seen = {"rows": 16 * step, "tokens": 1024 * step, "domain_share": 0.8125}
            lines.append({"step": step, **pools, "grad_norm": 1.0, "lr": 1e-4 * step, **seen})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (training / "metrics.jsonl").write_text(text + '{"step": 21, "lo')
    events: list[dict[str, Any]] = [{"event": "start", "step": 0}, {"event": "resume", "step": 10, "why": SCRIPT}]
    events.append({"event": "finish", "step": 20})
    (training / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
