"""The live model of a training run, asked by several ranks: what tests/eval/test_live_model.py starts.

    python -m tests.eval.live RUN OUT

Writes the answers to OUT, and the model's export to `exported` beside the runs; fails where the ranks made different
numbers of forward passes or got other answers than each by itself, or where anything of the trainer has changed.
"""

import json
import random
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from train import platform

platform.prepare_process()

from eval import answers  # noqa: E402
from eval.live_model import LiveModel  # noqa: E402
from pipelines import config  # noqa: E402
from tests.eval.test_live_model import asked  # noqa: E402
from tokenization.encode import load  # noqa: E402
from train import evaluation, settings  # noqa: E402
from train.configure import configure, meet  # noqa: E402
from train.export import export  # noqa: E402


def main() -> None:
    """Ask, check, write."""
    run, out = Path(sys.argv[1]), Path(sys.argv[2])
    meet()
    found = settings.resolve(config.load(run / "pipeline.yaml", {"train.run": "live"}))
    trainer = configure(found).build()
    trainer.checkpointer.load(step=-1)
    given = check(trainer, run / "tokenizer")
    trainer.checkpointer.save(0, last_step=True)
    trainer.close()
    if dist.get_rank() == 0:
        out.write_text(json.dumps(given))
        export(found, 0, run.parents[1] / "exported")
    dist.destroy_process_group()


def check(trainer: Any, tokenizer: Path) -> list[Any]:
    """The answers; asserts that nothing of the trainer has changed and that the ranks did the same."""
    (part,) = trainer.model_parts
    part.layers["0"].eval()  # a mode of its own, which must stay
    before = state(part)
    forward, passes = partial(evaluation.answer, trainer), 0

    def counted(inputs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal passes
        passes += 1
        return forward(inputs, labels)

    answers.TOKENS_AT_ONCE = 256  # several batches for each rank
    model = answers.Answers(counted, load(tokenizer).decode, 128)

    def questions() -> list[Any]:
        random.random(), np.random.rand(), torch.rand(1)  # what a task may draw
        return [getattr(LiveModel(model, tokenizer), kind)(instances) for kind, instances in asked().items()]

    with evaluation.undisturbed(trainer), evaluation.seeing(trainer, 128):
        found, together = model.ask(questions), passes
        model.rank, model.world = 0, 1
        alone = questions()
    assert found == alone, "every rank by itself answers as all do together"
    assert together < passes - together, "together each rank has less to do"
    assert state(part) == before
    everywhere: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everywhere, (together, found))
    assert all(one == (together, found) for one in everywhere), [one[0] for one in everywhere]
    return found


def state(part: Any) -> tuple[Any, ...]:
    """Modes, random states, ties, weights and buffers of a live model."""
    modes = {name: module.training for name, module in part.named_modules()}
    drawn = str(random.getstate()), str(np.random.get_state()), torch.get_rng_state().tolist()
    weights = {name: parameter.detach().sum().item() for name, parameter in part.named_parameters()}
    buffers = {name: buffer.shape for name, buffer in part.named_buffers()}
    return modes, drawn, part.tok_embeddings.weight is part.lm_head.weight, weights, buffers


if __name__ == "__main__":
    main()
