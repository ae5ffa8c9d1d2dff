"""The trainer: torchtitan's, on the rows of a mixture, with what it learns written down pool by pool.

What is added to torchtitan's: losses per pool, bits per byte on held-out text, metrics that survive a kill, an export.
What is left to it: models, parallelism, optimizer, gradient clipping, checkpoints.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import record

import train.platform  # noqa: F401  (before torchtitan)
from eval import held_out, tracks
from eval.tracks import Tracks
from mix.journal import ROLL_BACK
from train import evaluation, loss, pipeline_stages, rollback, step
from train.checkpoints import Checkpoints
from train.data import POOLS, MixtureLoader
from train.decisions import Decisions
from train.extension import Extension
from train.learning_rate import LearningRate
from train.meter import Meter
from train.place import Place
from train.progress import Progress
from train.records import Records
from train.signals import Signals

# isort: split
from torchtitan.distributed import ParallelDims
from torchtitan.distributed import utils as dist_utils
from torchtitan.trainer import Trainer


class ContinuedTrainer(Trainer):
    """Continues a model on a mixture."""

    @dataclass(kw_only=True, slots=True)
    class Config(Trainer.Config):
        """torchtitan's keys and what evaluation needs."""

        run: str
        """Run folder."""
        tracks: Tracks
        """What is measured when, and the benchmarks of both tracks."""
        eval_characters: int
        """Characters of each held-out document, from its beginning; 0 takes it whole."""
        eval_documents: int
        """Held-out documents per pool; 0 turns evaluation off."""
        flops_per_token: float = 0.0
        """Operations that utilisation counts for a token (train.flops.of_utilisation)."""
        extensions: list[Extension] = field(default_factory=list)
        """What takes part in every step, in this order."""

    config: Config
    checkpointer: Checkpoints
    dataloader: MixtureLoader
    lr_schedulers: LearningRate

    def __init__(self, config: Config):
        super().__init__(config)
        self.pool_loss: loss.PoolLoss = self.loss_fn.loss_fn  # type: ignore[attr-defined]
        self.first_rank = dist.get_rank() == 0
        self.place = Place(self.parallel_dims)
        self.waiting_pools = pipeline_stages.WaitingPools(self) if self.place.stages > 1 else None
        self.records = Records(Path(config.dump_folder))
        self.windows: held_out.Windows | None = None
        self.progress = Progress(config.training.steps)
        self.extensions = config.extensions
        self.decisions = Decisions(self.records)
        self.meter = Meter(config.flops_per_token, self.device)
        self._due: dict[str, Any] | None = None
        self.changes: dict[str, dict[str, Any]] = {}
        """Of the newest evaluation: each task's change against step 0 (eval.statistics.PointsChange)."""
        if config.eval_documents:
            run = Path(config.run)
            amount = config.eval_documents, config.eval_characters
            self.windows = held_out.load(run, run / "tokenizer", config.training.seq_len, *amount)

    def init_distributed(self) -> ParallelDims:
        """The processes have met already: they had to agree on the weights before the model's size was known."""
        return ParallelDims.from_config(self.config.parallelism, dist.get_world_size())

    @record
    def train(self) -> bool:
        """Load the newest checkpoint or the base's weights, then step, evaluate and save until the last step.

        Returns False where a signal ended it before that; the state is then saved.
        """
        if self.decisions.unfinished:
            rollback.clean(self, self.decisions.unfinished)
        self.checkpointer.load(step=self.config.checkpoint.load_step)
        self._begin()
        batches = self.batch_generator(self.dataloader)
        first, last = self.step + 1, self.config.training.steps
        with self.progress, Signals() as signals:
            while self.step < last:
                self.step += 1
                self.gc_handler.run(self.step)
                self.train_step(batches)
                if self._due is None:
                    self.evaluate()
                if self._due is not None:
                    self._roll_back(self._due)
                signal = signals.agreed(self.device)
                # After the evaluation: a checkpoint of this step promises that its lines are in metrics.jsonl.
                self.checkpointer.save(self.step, last_step=self.step == last or signal is not None)
                if signal is not None and self.step < last:
                    self._interrupt(signal)
                    return False
                if self.step == first:
                    self._shorten_timeouts()
        if self.first_rank and first <= last:
            self.records.event("finish", self.step)
        return True

    def train_step(self, data_iterator: Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]) -> None:
        """One optimizer step over the global batch, and its line in metrics.jsonl."""
        started = time.perf_counter()
        self.metrics_processor.data_loading_times.clear()
        rate = next(iter(self.lr_schedulers.get_metrics().values()))
        with step.extended(self) as batch:
            try:
                super().train_step(data_iterator)
            except RuntimeError as error:
                if "Loss is not finite" not in str(error):  # which is raised after the step, and it made no update
                    raise
        seconds = time.perf_counter() - started
        figures = self._figures(batch, rate, seconds)
        decided = self.decisions.at(self.step)
        for extension in self.extensions:
            extension.finish_step(self, figures)
        for event in decided:
            self._apply(event)
        self.progress.step(figures)
        if self.first_rank:
            self.records.metrics(**figures)

    def decide(self, name: str, **details: Any) -> None:
        """Make a decision at the end of this step: it is in the journal before it counts.

        Known here: `learning_rate` (multiplier), `ratio` (shares: pool -> share, from the next step's batch on) and
        `roll_back` (to: a step; the newest whole checkpoint at or before it is taken, and the step's evaluation left
        out); others are the extensions' own. `by` in the details says whose a decision is. Nothing is decided at a step
        by whom an earlier start has written a decision of, nor at one that will be rolled back. Raises ValueError where
        there is no checkpoint to go back to.
        """
        if self.decisions.settled(self.step, details.get("by")) or self._due is not None:
            return
        if name == ROLL_BACK:
            self._due = self.decisions.add(name, self.step, details | rollback.plan(self, details["to"]))
            return
        if name == "ratio":
            details["first_row"] = self.dataloader.rows
        self._apply(self.decisions.add(name, self.step, details))

    def stand(self) -> None:
        """Make what decisions change be as the standing ones up to the loaded step left it."""
        self.dataloader.forget_changes()
        self.lr_schedulers.forget_changes()
        for event in self.decisions.until(self.step):
            self._apply(event)
        rows = self.decisions.rows(self.step, self.config.training.global_batch_size)
        assert self.dataloader.rows == rows, f"{self.dataloader.rows} rows consumed, {rows} expected"

    def _roll_back(self, event: dict[str, Any]) -> None:
        self._due = None
        rollback.carry_out(self, event)
        self.progress.roll_back(event)

    def _interrupt(self, signal: str) -> None:
        """A signal ended the run, and its state is saved."""
        if self.first_rank:
            self.records.event("signal", self.step, signal=signal)
        self.progress.interrupt(self.step, signal)

    def _apply(self, event: dict[str, Any]) -> None:
        if event["event"] == ROLL_BACK and event["to"] == self.step:
            self.dataloader.rows = event["first_row"]
        if event["event"] == "ratio":
            self.dataloader.change(event["first_row"], event["shares"])
        elif event["event"] == "learning_rate":
            self.lr_schedulers.change(event["step"], event["multiplier"])
        for extension in self.extensions:
            extension.apply(self, event)

    def post_dataloading_process(
        self, input_dict: dict[str, torch.Tensor], labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Hand the rows' pools to the loss; the model does not see them."""
        if self.waiting_pools is None:
            self.pool_loss.begin(input_dict["pool"])
        inputs = {name: tensor for name, tensor in input_dict.items() if name != "pool"}
        prepared = super().post_dataloading_process(inputs, labels)
        if self.waiting_pools is not None:
            self.waiting_pools.add(prepared[1], input_dict["pool"])
        return prepared

    def state_dict(self) -> dict[str, Any]:
        """The step, and what the extensions keep. Tokens seen follow from the rows consumed, at any number of ranks.

        As JSON: torch loads a nested state leaf by leaf into the one that is there, which may have other leaves.
        """
        return {"step": self.step, "extensions": json.dumps({one.name: one.state_dict() for one in self.extensions})}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after a step."""
        self.step = state_dict["step"]
        kept = json.loads(state_dict["extensions"])
        for extension in self.extensions:
            if extension.name in kept:  # a logger may be new
                extension.load_state_dict(kept[extension.name])

    def close(self) -> None:
        """End what the extensions and torchtitan began."""
        for extension in self.config.extensions:
            extension.close()
        super().close()

    def evaluate(self) -> None:
        """What is due after this step: bits per byte on held-out text of both pools, tasks, generated texts.

        Model mode, random state and weights are left as found.
        """
        due = tracks.due(self.config.tracks.keys, self.step, self.config.training.steps)
        if not due:
            return
        figures = {}
        if self.windows is not None and tracks.BITS_PER_BYTE in due:
            figures = evaluation.bits_per_byte(self, self.windows)
        measured, self.changes = self.config.tracks.measure(self, due)
        figures |= measured
        for extension in self.extensions:
            extension.finish_evaluation(self, figures)
        self.progress.evaluation(self.step, figures)
        if self.first_rank:
            beside = {"changes": self.changes} if self.changes else {}
            self.records.metrics(step=self.step, eval=figures, **beside)

    def _begin(self) -> None:
        """Put the records where the loaded state stands, and measure the model as it came."""
        self.progress.begin(self.step)
        if self.first_rank:
            self.records.rewind(self.step)
            versions = {name: version(name) for name in ("torch", "torchtitan", "transformers")}
            self.records.event("resume" if self.step else "start", self.step, versions=versions)
        for extension in self.extensions:
            extension.begin(self)
        self.stand()
        if self.step == 0:
            self.evaluate()

    def _figures(self, batch: step.Batch, rate: float, seconds: float) -> dict[str, Any]:
        """The step's line: sums over all ranks, so that it is the same at any number of them.

        `rows` are those of the plan consumed or skipped by roll-backs, `tokens` those the steps so far were made with.
        """
        waited = sum(self.metrics_processor.data_loading_times)
        nats, tokens, rows = batch.sums.tolist()
        means = [total / count if count else None for total, count in zip(nats, tokens, strict=True)]
        assert sum(rows) == self.config.training.global_batch_size
        length = self.config.training.seq_len
        return {
            "step": self.step,
            "loss": sum(nats) / sum(tokens),
            **{f"loss_{pool}": mean for pool, mean in zip(POOLS, means, strict=True)},
            "grad_norm": batch.norm,
            "lr": rate,
            "rows": self.dataloader.rows,
            "tokens": self.step * self.config.training.global_batch_size * length,
            "domain_share": rows[0] / sum(rows),
            **self.meter.figures(sum(rows) * length, seconds, waited),
        }

    def _shorten_timeouts(self) -> None:
        """After the first step nothing slow is left to start, so a rank that hangs is noticed sooner."""
        seconds = self.config.comm.train_timeout_seconds
        dist_utils.set_pg_timeouts(timeout=timedelta(seconds=seconds), parallel_dims=self.parallel_dims)
