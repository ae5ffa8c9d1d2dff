"""The trainer: torchtitan's, on the rows of a mixture, with what it learns written down pool by pool.

What is added to torchtitan's: losses per pool, bits per byte on held-out text, metrics that survive a kill, an export.
What is left to it: models, parallelism, optimizer, gradient clipping, checkpoints.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import record

import train.platform  # noqa: F401  (before torchtitan)
from eval import held_out
from train import loss
from train.data import POOLS, MixtureLoader
from train.platform import DEVICE
from train.progress import Progress
from train.records import Records

# isort: split
from torch.distributed.fsdp import FSDPModule
from torchtitan.components.metrics import MetricsProcessor
from torchtitan.distributed import ParallelDims
from torchtitan.distributed import utils as dist_utils
from torchtitan.trainer import Trainer

EVAL_BATCH = 8
"""Held-out windows per forward pass, whatever the number of ranks."""


class StepFigures(MetricsProcessor):
    """Keeps a step's figures for the trainer instead of logging them."""

    @dataclass(kw_only=True, slots=True)
    class Config(MetricsProcessor.Config):
        """Keys as torchtitan's."""

    loss = grad_norm = lr = float("nan")

    def log(
        self,
        step: int,
        global_avg_loss: float,
        global_max_loss: float,
        grad_norm: float,
        extra_metrics: dict[str, Any] | None = None,
    ) -> None:
        """Called by torchtitan at the end of each step, with the learning rate that the step was made with."""
        self.loss, self.grad_norm = global_avg_loss, grad_norm
        self.lr = next(value for key, value in (extra_metrics or {}).items() if key.startswith("lr/"))
        self.ntokens_since_last_log = 0


class ContinuedTrainer(Trainer):
    """Continues a model on a mixture."""

    @dataclass(kw_only=True, slots=True)
    class Config(Trainer.Config):
        """torchtitan's keys and what evaluation needs."""

        run: str
        """Run folder."""
        eval_every: int
        """Steps between evaluations."""
        eval_characters: int
        """Characters of each held-out document, from its beginning; 0 takes it whole."""
        eval_documents: int
        """Held-out documents per pool; 0 turns evaluation off."""

    config: Config
    dataloader: MixtureLoader
    metrics_processor: StepFigures

    def __init__(self, config: Config):
        super().__init__(config)
        self.pool_loss: loss.PoolLoss = self.loss_fn.loss_fn  # type: ignore[attr-defined]
        self.first_rank = dist.get_rank() == 0
        self.records = Records(Path(config.dump_folder))
        self.windows: held_out.Windows | None = None
        self.progress = Progress(config.training.steps)
        if config.eval_documents:
            run = Path(config.run)
            amount = config.eval_documents, config.eval_characters
            self.windows = held_out.load(run, run / "tokenizer", config.training.seq_len, *amount)

    def init_distributed(self) -> ParallelDims:
        """The processes have met already: they had to agree on the weights before the model's size was known."""
        return ParallelDims.from_config(self.config.parallelism, dist.get_world_size())

    @record
    def train(self) -> None:
        """Load the newest checkpoint or the base's weights, then step, evaluate and save until the last step."""
        self.checkpointer.load(step=self.config.checkpoint.load_step)
        self._begin()
        batches = self.batch_generator(self.dataloader)
        first, last = self.step + 1, self.config.training.steps
        with self.progress:
            while self.step < last:
                self.step += 1
                self.gc_handler.run(self.step)
                self.train_step(batches)
                if self.step % self.config.eval_every == 0 or self.step == last:
                    self.evaluate()
                # After the evaluation: a checkpoint of this step promises that its lines are in metrics.jsonl.
                self.checkpointer.save(self.step, last_step=self.step == last)
                if self.step == first:
                    self._shorten_timeouts()
        if self.first_rank and first <= last:
            self.records.event("finish", self.step)

    def train_step(self, data_iterator: Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]) -> None:
        """One optimizer step over the global batch, and its line in metrics.jsonl."""
        started = time.perf_counter()
        self.metrics_processor.data_loading_times.clear()
        try:
            super().train_step(data_iterator)
        except RuntimeError as error:
            if "Loss is not finite" not in str(error):
                raise
            self._give_up("loss")
        if not math.isfinite(self.metrics_processor.grad_norm):
            self._give_up("gradient norm")
        seconds = time.perf_counter() - started
        figures = self._figures(seconds)
        self.progress.step(figures)
        if self.first_rank:
            self.records.metrics(**figures)

    def post_dataloading_process(
        self, input_dict: dict[str, torch.Tensor], labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Hand the rows' pools to the loss; the model does not see them."""
        self.pool_loss.begin(input_dict["pool"])
        inputs = {name: tensor for name, tensor in input_dict.items() if name != "pool"}
        return super().post_dataloading_process(inputs, labels)

    def state_dict(self) -> dict[str, Any]:
        """The step. Tokens seen follow from the rows that the loader has consumed, whatever the number of ranks."""
        return {"step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after a step."""
        self.step = state_dict["step"]

    def evaluate(self) -> None:
        """Bits per byte on held-out text of both pools; model mode and random state are left as found."""
        if self.windows is None:
            return
        figures = self.bits_per_byte(self.windows)
        self.progress.evaluation(self.step, figures)
        if self.first_rank:
            self.records.metrics(step=self.step, eval=figures)

    def bits_per_byte(self, windows: held_out.Windows) -> dict[str, float]:
        """The measure of eval.held_out, shared out over the ranks."""
        (part,) = self.model_parts
        training = part.training
        part.eval()
        try:
            return held_out.bits_per_byte(
                windows, self._window_nats, EVAL_BATCH, dist.get_rank(), dist.get_world_size(), _add_up
            )
        finally:
            part.train(training)
            for module in part.modules():
                if isinstance(module, FSDPModule):
                    module.reshard()

    @torch.no_grad()
    def _window_nats(self, inputs: np.ndarray, positions: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """[n, l] each -> summed negative log-likelihood per window [n], logits a piece at a time as in training."""
        (part,) = self.model_parts
        more = -inputs.shape[1] % self.loss_fn.num_chunks  # type: ignore[attr-defined]
        filled = [
            np.pad(array, ((0, 0), (0, more)), constant_values=fill)
            for array, fill in ((inputs, 0), (positions, 0), (labels, held_out.IGNORED))
        ]
        batch, where, targets = (torch.from_numpy(array).to(self.device) for array in filled)
        masks = part.get_attention_masks(positions=where)  # type: ignore[operator]
        hidden = part(batch, positions=where, attention_masks=masks)
        with self.pool_loss.row_by_row(len(inputs)) as nats:
            self.loss_fn(hidden, targets)
            return nats().cpu().numpy()

    def _begin(self) -> None:
        """Put the records where the loaded state stands, and measure the model as it came."""
        rows = self.step * self.config.training.global_batch_size
        assert self.dataloader.rows == rows, f"{self.dataloader.rows} rows consumed, {rows} expected"
        self.progress.begin(self.step)
        if self.first_rank:
            self.records.rewind(self.step)
            self.records.event("resume" if self.step else "start", self.step)
        if self.step == 0:
            self.evaluate()

    def _figures(self, seconds: float) -> dict[str, Any]:
        """The step's line: sums over all ranks, so that it is the same at any number of them."""
        waited = sum(self.metrics_processor.data_loading_times)
        sums = self.pool_loss.take().to(self.device)
        if dist.get_world_size() > 1:
            dist.all_reduce(sums)
        nats, tokens, rows = sums.tolist()
        means = [total / count if count else None for total, count in zip(nats, tokens, strict=True)]
        assert sum(rows) == self.config.training.global_batch_size
        length = self.config.training.seq_len
        return {
            "step": self.step,
            "loss": self.metrics_processor.loss,
            **{f"loss_{pool}": mean for pool, mean in zip(POOLS, means, strict=True)},
            "grad_norm": self.metrics_processor.grad_norm,
            "lr": self.metrics_processor.lr,
            "rows": self.dataloader.rows,
            "tokens": self.dataloader.rows * length,
            "domain_share": rows[0] / sum(rows),
            "tokens_per_second": sum(rows) * length / seconds,
            "data_wait_share": waited / seconds,
        }

    def _give_up(self, what: str) -> NoReturn:
        raise ValueError(
            f"train.peak_lr: the {what} is not a finite number at step {self.step}, so the weights are lost. Start "
            "again under another --train.run with a lower train.peak_lr or more train.warmup_steps."
        )

    def _shorten_timeouts(self) -> None:
        """After the first step nothing slow is left to start, so a rank that hangs is noticed sooner."""
        seconds = self.config.comm.train_timeout_seconds
        dist_utils.set_pg_timeouts(timeout=timedelta(seconds=seconds), parallel_dims=self.parallel_dims)


def _add_up(sums: np.ndarray) -> np.ndarray:
    if dist.get_world_size() == 1:
        return sums
    total = torch.from_numpy(sums).to(DEVICE)
    dist.all_reduce(total)
    return total.cpu().numpy()
