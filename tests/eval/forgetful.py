"""Training runs whose forgetting is provoked: a base that knows the general text, trained on domain text alone."""

from pathlib import Path

from pipelines import config
from tests.train import small

CONTROLLED = (
    ["--train.steps", "32", "--peak-lr", "1e-2", "--eval.every", "4", "--train.checkpoint_every", "8"]
    + ["--eval.controller", "raise_replay", "--eval.controller_replay_step", "0.25", "--eval.controller_cooldown", "4"]
    + ["--eval.controller_replay_cap", "0.6"]
)
"""Keys of a run with the controller."""


def make(home: Path) -> Path:
    """A run folder with two training runs: left_alone, and controlled."""
    from mix import build

    folder = home / "runs" / "small"
    small.curated(folder, [("domain", "notes"), ("replay", "books")])
    teach(small.make_model(home / "base"), folder / "tokenizer", "replay")
    config.save(small.pipeline(folder, home / "base", steps=32), folder / "pipeline.yaml")
    build.main([str(folder), "--domain", "1", "--replay", "0"])
    small.train(folder, "--train.run", "left_alone", *CONTROLLED, "--eval.controller", "none")
    small.train(folder, "--train.run", "controlled", *CONTROLLED)
    return folder


def teach(model: Path, tokenizer: Path, pool: str) -> None:
    """Train a model in its folder on the made-up text of a pool."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    encoder = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    ids = [one for number in range(200) for one in [0, *encoder.encode(small.text(pool, number)).ids, 1]]
    rows = torch.tensor(ids[: len(ids) // small.SEQ_LEN * small.SEQ_LEN]).reshape(-1, small.SEQ_LEN)
    learner = AutoModelForCausalLM.from_pretrained(model)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-2)
    for batch in rows.split(8)[:40]:
        learner(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    learner.save_pretrained(model)
