"""train_steps.py RUN CONTENDER: a trainer that makes steps when it is asked to.

Prints a line of JSON when the first step is made. Then, for each number on stdin, makes so many steps and prints their
seconds together, on the clock and of the processor, and the share of them that waited for data. The trainer's own loop
runs: a step is timed from the end of the one before, with everything that the loop does in between.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import train.platform as platform  # (before torchtitan)
from pipelines import config
from train import configure, settings
from train.data import POOLS

# isort: split
from torchtitan.components.checkpointer import CheckpointManager
from torchtitan.components.dataloader import BaseDataLoader
from torchtitan.components.loss import ChunkedLossWrapper, CrossEntropyLoss
from torchtitan.components.metrics import MetricsProcessor
from torchtitan.components.optimizer import LRSchedulersContainer
from torchtitan.models.common.attention import FlexAttention, ScaledDotProductAttention
from torchtitan.trainer import Trainer

FOREVER = 10**6
"""Steps of a run that ends when nobody asks for more."""
STOCK_ATTENTION = ScaledDotProductAttention if platform.DEVICE == "cpu" else FlexAttention
"""What torchtitan's registry gives Llama, or where that does not run, its plain causal attention."""


@dataclass(frozen=True)
class Contender:
    """What runs."""

    stock: bool = False
    """torchtitan's own trainer and loss."""
    documents: bool = True
    """Attention of this trainer; otherwise stock has torchtitan's, and this trainer plain causal attention."""
    mixture: bool = True
    """Rows of the mixture; otherwise random tokens, a document a row."""


CONTENDERS = {
    "torchtitan": Contender(stock=True, documents=False, mixture=False),
    "torchtitan, attention by document": Contender(stock=True, mixture=False),
    "palimpsest, random tokens, causal": Contender(documents=False, mixture=False),
    "palimpsest, causal": Contender(documents=False),
    "palimpsest": Contender(),
}


class RandomTokens(BaseDataLoader):
    """Random tokens, drawn before anything is timed; each row one document."""

    @dataclass(kw_only=True, slots=True)
    class Config(BaseDataLoader.Config):
        """What is drawn."""

        vocabulary: int
        pools: bool
        """Name each row's pool too."""

    def __init__(self, config: Config, *, seq_len: int, local_batch_size: int, **_: Any):
        generator = torch.Generator().manual_seed(0)
        shape = (local_batch_size, seq_len + 1)
        self._rows = [torch.randint(config.vocabulary, shape, generator=generator) for _ in range(8)]
        self._positions = torch.arange(seq_len).expand(local_batch_size, -1).contiguous()
        self._pool = {"pool": torch.arange(local_batch_size) % len(POOLS)} if config.pools else {}
        self.rows = 0
        """Rows given, as those of the mixture are counted."""

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        while True:
            for rows in self._rows:
                self.rows += len(rows)
                yield {"input": rows[:, :-1], "positions": self._positions, **self._pool}, rows[:, 1:]

    def forget_changes(self) -> None:
        """There is no plan to change."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing to go on from."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to go on from."""


class Pace:
    """Stands in for the checkpoint after each step: times steps and waits until more are asked for."""

    def __init__(self, trainer: Trainer):
        self._trainer, self._steps, self._left = trainer, 0, 1
        self._waited, self._began, self._worked = 0.0, time.perf_counter(), time.process_time()

    def __call__(self, step: int, last_step: bool = False) -> bool:
        self._steps, self._left = self._steps + 1, self._left - 1
        times = self._trainer.metrics_processor.data_loading_times
        self._waited += sum(times)
        times.clear()
        if not self._left:
            self._answer()
        return False

    def _answer(self) -> None:
        if platform.DEVICE != "cpu":
            torch.accelerator.synchronize()
        seconds = time.perf_counter() - self._began
        worked = time.process_time() - self._worked
        tell({"seconds": seconds, "processor": worked, "waited": self._waited / seconds, **self._about()})
        asked = sys.stdin.readline()
        if not asked:
            raise SystemExit
        self._steps, self._left, self._waited = 0, int(asked), 0.0
        self._began, self._worked = time.perf_counter(), time.process_time()

    def _about(self) -> dict[str, float | None]:
        """Operations a token, the device's peak (None on a CPU) and the most memory so far in bytes."""
        figures = self._trainer.metrics_processor
        on_cpu = platform.DEVICE == "cpu"
        memory = figures.device_memory_monitor.get_peak_stats().max_active_gib * 2**30
        return {
            "flops_per_token": figures.num_flops_per_token,
            "peak_flops": None if on_cpu else figures.gpu_peak_flops,
            "memory": memory,
        }


def tell(answer: dict[str, Any]) -> None:
    """A line of JSON to who asks."""
    print(json.dumps(answer), flush=True)


def build(run: Path, contender: Contender) -> Trainer:
    """The contender's trainer for a run with its mixture."""
    longest = {"train.steps": FOREVER, "train.checkpoint_every": FOREVER, "eval.held_out": 0, "output": str(run)}
    found = settings.resolve(config.load(run / "pipeline.yaml", longest))
    found.folder.mkdir(parents=True, exist_ok=True)
    ours = configure.configure(found)
    if not contender.documents:
        attention = STOCK_ATTENTION if contender.stock else ScaledDotProductAttention
        for layer in ours.model_spec.model.layers:  # type: ignore[union-attr]
            layer.attention.inner_attention = attention.Config()
    if not contender.mixture:
        ours.dataloader = RandomTokens.Config(vocabulary=found.architecture.vocab, pools=not contender.stock)
    if contender.stock:
        return stock(ours, found.architecture.vocab).build()
    configure.meet()
    return ours.build()


def stock(ours: Trainer.Config, vocabulary: int) -> Trainer.Config:
    """torchtitan's trainer, loss, metrics and schedule for the same model, optimizer and batch."""
    same = """model_spec hf_assets_path dump_folder tokenizer dataloader optimizer training parallelism
        activation_checkpoint compile comm debug""".split()
    return Trainer.Config(
        loss=ChunkedLossWrapper.Config(loss_fn=CrossEntropyLoss.Config(global_vocab_size=vocabulary)),
        metrics=MetricsProcessor.Config(disable_color_printing=True),
        lr_scheduler=LRSchedulersContainer.Config(warmup_steps=10),
        checkpoint=CheckpointManager.Config(enable=False),
        **{name: getattr(ours, name) for name in same},
    )


def main(run: Path, name: str) -> None:
    """Train until nobody asks for more."""
    platform.prepare_process()
    trainer = build(run, CONTENDERS[name])
    trainer.checkpointer.save = Pace(trainer)  # type: ignore[method-assign]
    trainer.train()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
