"""DoReMi's proxy run (arXiv 2305.10429, algorithm 1): the trainer with the domain sources weighted by group DRO.

    python -m train.group_dro REFERENCE PIPELINE    (started by mix.search --method doremi, one process)

Rows come from all domain sources alike (the pipeline's mix.weights); what differs is how much a source's tokens count
in the loss. Its weight rises with its excess: by how many nats a token the model is above the reference model (a
Hugging Face folder), at least 0 for each token. Replay rows count as always.

Of algorithm 1 two things are done otherwise. The weights of a step come from the losses of the steps before it, since
gradients are made piece by piece while the losses are worked out. A source with no row in a step keeps its last excess.

Each step's line in metrics.jsonl has `source_weights`; their mean over the steps is what DoReMi takes. Losses and bits
per byte there are unweighted. The reference's losses are worked out once, before the first step, and kept until the end
(reference.npy, 4 bytes a token).
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import train.platform  # noqa: F401  (before torchtitan)
from mix.loader import Loader
from mix.plan import Plan
from mix.search_methods import reweighted
from train.data import POOLS, MixtureLoader
from train.extension import Extension
from train.loss import PoolLoss, token_nats

# isort: split
from torchtitan.components.loss import IGNORE_INDEX
from torchtitan.config import CompileConfig

if TYPE_CHECKING:
    from train.settings import Settings
    from train.trainer import ContinuedTrainer

REFERENCE = "reference.npy"
"""float32 [rows, L] in the training run's folder: nats of each token under the reference model, 0 where none is
predicted."""
ROWS = 8
"""Rows a forward pass of the reference model."""


class SourceRows(MixtureLoader):
    """Rows with the index of their source (in Plan.sources) instead of their pool's."""

    @dataclass(kw_only=True, slots=True)
    class Config(MixtureLoader.Config):
        """As MixtureLoader's."""

    def __init__(self, config: Config, **options: Any):
        super().__init__(config, **options)
        self._pool = np.arange(len(self.source.plan.sources))


class SourceLoss(PoolLoss):
    """Each source's tokens weighted, and its excess over the reference summed up; what is logged is unweighted."""

    @dataclass(kw_only=True, slots=True)
    class Config(PoolLoss.Config):
        """What the rows' sources are and what the reference says of them."""

        reference: np.ndarray
        """float32 [rows, L], by the rows' positions in the plan."""
        pool_of: np.ndarray
        """int64 [sources]: index of the pool."""

    def __init__(self, config: Config, *, compile_config: CompileConfig | None = None):
        super().__init__(config, compile_config=compile_config)
        self._reference = torch.from_numpy(config.reference)
        self._pool_of = torch.from_numpy(config.pool_of)
        self.factors = torch.ones(len(config.pool_of))
        """float32 [sources]: what a token's loss is multiplied by."""
        self.position = 0
        """Of the next row of training in the plan."""
        self._excess = torch.zeros(2, len(config.pool_of), dtype=torch.float64)
        self._source: torch.Tensor | None = None

    def begin(self, pool: torch.Tensor) -> None:
        """The sources [B] of the rows that come next; of a batch outside training, what `row_by_row` counts by."""
        if self._measuring:
            super().begin(pool)
            return
        self._source, self._column = pool.cpu(), 0
        self._rows = self._reference[self.position : self.position + len(pool)]
        self.position += len(pool)
        super().begin(self._pool_of[self._source])

    def __call__(
        self,
        pred: torch.Tensor,
        labels: torch.Tensor,
        global_valid_tokens: torch.Tensor | None = None,
        **options: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss of the next piece: pred [B, l, V], labels [B, l]."""
        if self._measuring:
            return super().__call__(pred, labels, global_valid_tokens, **options)
        assert self._source is not None, "begin comes before a batch"
        nats = token_nats(pred, labels)
        reference = self._rows[:, self._column : self._column + labels.shape[1]].to(nats.device)
        self._column += labels.shape[1]
        valid = labels != IGNORE_INDEX
        excess = ((nats.detach() - reference).clamp(min=0) * valid).sum(1)
        for which, rows in enumerate((excess, valid.sum(1))):
            self._excess[which].index_add_(0, self._source, rows.double().cpu())
        self._add(0, nats.detach().sum(1))
        self._add(1, valid.sum(1))
        loss = (nats.sum(1) * self.factors[self._source].to(nats.device)).sum()
        return (loss if global_valid_tokens is None else loss / global_valid_tokens), {}

    def take_excess(self) -> np.ndarray:
        """float64 [2, sources]: nats above the reference and predicted tokens since the last call."""
        taken, self._excess = self._excess, torch.zeros_like(self._excess)
        return taken.numpy()

    @contextmanager
    def row_by_row(self, rows: int) -> Iterator[Callable[[], torch.Tensor]]:
        """As PoolLoss: outside training nothing is weighted."""
        self._measuring = True
        try:
            with super().row_by_row(rows) as nats:
                yield nats
        finally:
            self._measuring = False

    _measuring = False


class GroupDro(Extension):
    """Moves the weights of the domain sources after each step."""

    name = "group_dro"

    def __init__(self, plan: Plan):
        self._groups = [at for at, (pool, source) in enumerate(plan.sources) if pool.name == "domain" and source.rows]
        self._names = [plan.sources[at][1].name for at in self._groups]
        self._weights = np.full(len(self._groups), 1 / len(self._groups))
        self._excess = np.zeros(len(self._groups))

    def begin(self, trainer: "ContinuedTrainer") -> None:
        """Weights of the loaded step, or the same for every source."""
        loss = _loss(trainer)
        loss.position = trainer.dataloader.rows
        self._hand_over(loss)

    def finish_step(self, trainer: "ContinuedTrainer", figures: dict[str, Any]) -> None:
        """The step's weights go into its line; those of the next one are worked out."""
        figures["source_weights"] = dict(zip(self._names, self._weights.tolist(), strict=True))
        loss = _loss(trainer)
        nats, tokens = loss.take_excess()[:, self._groups]
        self._excess = np.where(tokens > 0, nats / np.maximum(tokens, 1), self._excess)
        self._weights = reweighted(self._weights, self._excess)
        self._hand_over(loss)

    def state_dict(self) -> dict[str, Any]:
        """Weights and excesses."""
        return {"weights": self._weights.tolist(), "excess": self._excess.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with them."""
        self._weights, self._excess = np.array(state["weights"]), np.array(state["excess"])

    def _hand_over(self, loss: SourceLoss) -> None:
        """Rows come from all sources alike, so a weight of 1 / sources is a factor of 1."""
        loss.factors[self._groups] = torch.from_numpy(self._weights * len(self._groups)).float()


def main() -> None:
    """Train to the end and export, or go on with what a killed run left."""
    from curate.files import alone
    from pipelines import config
    from train import settings

    found = settings.resolve(config.load(Path(sys.argv[2]) / "pipeline.yaml"))
    with alone(found.folder):
        settings.remember(found)
        _train(found, measure(found, Path(sys.argv[1])))
        if (found.folder / settings.EXPORT).is_dir():
            (found.folder / REFERENCE).unlink()


def measure(found: "Settings", reference: Path) -> np.ndarray:
    """float32 [rows, L] of all rows of the run, read from its folder where they are there."""
    from curate.files import aside
    from eval import hugging_face
    from eval.answers import label_nats

    path, train_keys = found.folder / REFERENCE, found.pipeline.train
    if path.exists():
        return np.load(path, allow_pickle=False)
    rows = train_keys.steps * train_keys.global_batch
    loader = Loader(found.plan, found.pipeline.folder / "packed", train_keys.global_batch)
    model = hugging_face.load(reference)
    device = next(model.parameters()).device
    table = np.zeros((rows, found.plan.seq_len), np.float32)
    for first in range(0, rows, ROWS):
        batch = loader.batch(first, min(ROWS, rows - first))
        inputs, positions, labels = (
            torch.from_numpy(array).to(device) for array in (batch.input, batch.positions, batch.labels)
        )
        with torch.inference_mode():
            mask = _mask(positions).unsqueeze(1)
            logits = model(input_ids=inputs, position_ids=positions, attention_mask=mask, use_cache=False).logits
            nats, _ = label_nats(logits, labels.unsqueeze(-1))
        table[first : first + len(inputs)] = nats.squeeze(-1).cpu().numpy() * (batch.labels != IGNORE_INDEX)
    with aside(path) as temporary, open(temporary, "wb") as file:
        np.save(file, table)
    return table


def _mask(positions: torch.Tensor) -> torch.Tensor:
    """[B, L] -> bool [B, L, L]: whether a token sees another, one before it in its own document's segment."""
    segment = (positions == 0).cumsum(1)
    length = positions.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=positions.device).tril()
    return (segment[:, :, None] == segment[:, None, :]) & causal


def _train(found: "Settings", reference: np.ndarray) -> None:
    from train.launch import make_ready

    found = make_ready(found, first=True)
    import torch.distributed as dist

    from train import settings
    from train.configure import configure
    from train.export import export

    configured: Any = configure(found)
    pool_of = np.array([POOLS.index(pool.name) for pool, _ in found.plan.sources], np.int64)
    configured.loss.loss_fn = SourceLoss.Config(pools=len(POOLS), reference=reference, pool_of=pool_of)
    rows = configured.dataloader
    configured.dataloader = SourceRows.Config(run=rows.run, global_batch=rows.global_batch)
    configured.extensions = [*configured.extensions, GroupDro(found.plan)]
    trainer = configured.build()
    try:
        whole = trainer.train()
    finally:
        trainer.close()
    dist.destroy_process_group()
    if whole:
        export(found, trainer.step, found.folder / settings.EXPORT)


def _loss(trainer: "ContinuedTrainer") -> SourceLoss:
    assert isinstance(trainer.pool_loss, SourceLoss)
    return trainer.pool_loss


if __name__ == "__main__":
    from pipelines import cli

    cli.run(main)
