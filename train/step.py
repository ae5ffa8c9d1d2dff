"""torchtitan's step with the extensions asked in it, and without torchtitan's own line of figures."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

import train.platform  # noqa: F401  (before torchtitan)

if TYPE_CHECKING:
    from train.trainer import ContinuedTrainer

# isort: split
from torchtitan.components.metrics import MetricsProcessor
from torchtitan.distributed import utils as dist_utils


class Unlogged(MetricsProcessor):
    """Leaves the figures of a step to the trainer, which writes metrics.jsonl."""

    @dataclass(kw_only=True, slots=True)
    class Config(MetricsProcessor.Config):
        """Keys as torchtitan's."""

    def log(self, *_: Any, **__: Any) -> None:
        """Called by torchtitan at the end of each step: only begins its count of tokens again."""
        self.ntokens_since_last_log = 0


@dataclass
class Batch:
    """What a step's global batch came to, the same on all ranks."""

    norm: float = field(init=False)
    """Of the gradients, before clipping."""
    sums: torch.Tensor = field(init=False)
    """[3, pools]: nats, predicted tokens and rows per pool."""


@contextmanager
def extended(trainer: "ContinuedTrainer") -> Iterator[Batch]:
    """Within it torchtitan's step asks the extensions.

    It has no place for that between the backward passes and the update but its own clipping and the optimizers' step,
    so those two are stood in for. The batch that is given is filled by then.
    """
    clip, update = dist_utils.clip_grad_norm_, trainer.optimizers.step
    batch, allowed = Batch(), True

    def clip_grad_norm_(*arguments: Any, **options: Any) -> torch.Tensor:
        nonlocal allowed
        for extension in trainer.extensions:
            extension.add_gradients(trainer)
        norm = clip(*arguments, **options)
        batch.norm, batch.sums = float(norm), _summed_over_ranks(trainer)
        loss = float(batch.sums[0].sum() / batch.sums[1].sum())
        allowed = all([one.allows_update(trainer, loss, batch.norm) for one in trainer.extensions])
        allowed = allowed and math.isfinite(loss) and math.isfinite(batch.norm)  # or the weights would be lost
        return norm

    dist_utils.clip_grad_norm_ = clip_grad_norm_
    trainer.optimizers.step = lambda *_: update() if allowed else None  # type: ignore[method-assign]
    try:
        yield batch
    finally:
        dist_utils.clip_grad_norm_ = clip
        del trainer.optimizers.step


def _summed_over_ranks(trainer: "ContinuedTrainer") -> torch.Tensor:
    sums = trainer.pool_loss.take().to(trainer.device)
    sums[:2] *= trainer.place.counts_tokens
    sums[2] *= trainer.place.counts_rows
    if dist.get_world_size() > 1:
        dist.all_reduce(sums)
    return sums
