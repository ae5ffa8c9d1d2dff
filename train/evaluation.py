"""Bits per byte of the live model on held-out text, shared out over the ranks."""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.distributed as dist

from eval import held_out
from train import pipeline_stages
from train.parallelism import row_unit
from train.platform import DEVICE

# isort: split
from torch.distributed.fsdp import FSDPModule
from torchtitan.trainer import Trainer

if TYPE_CHECKING:
    from train.trainer import ContinuedTrainer

BATCH = 8
"""Held-out windows per forward pass, whatever the number of ranks."""


def bits_per_byte(trainer: "ContinuedTrainer", windows: held_out.Windows) -> dict[str, float]:
    """The measure of eval.held_out; model mode and random state are left as found."""
    (part,) = trainer.model_parts
    place = trainer.place
    training = part.training
    part.eval()

    def nats(inputs: np.ndarray, positions: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return window_nats(trainer, inputs, positions, labels)

    def add_up(sums: np.ndarray) -> np.ndarray:
        return _add_up(sums * place.counts_tokens)

    try:
        return held_out.bits_per_byte(windows, nats, BATCH, place.rank, place.world, add_up)
    finally:
        part.train(training)
        for module in part.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


@torch.no_grad()
def window_nats(
    trainer: "ContinuedTrainer", inputs: np.ndarray, positions: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """[n, l] each -> summed negative log-likelihood per window [n], logits a piece at a time as in training."""
    more = -inputs.shape[1] % _unit(trainer)
    filled = [
        np.pad(array, ((0, 0), (0, more)), constant_values=fill)
        for array, fill in ((inputs, 0), (positions, 0), (labels, held_out.IGNORED))
    ]
    batch, where, targets = (torch.from_numpy(array).to(trainer.device) for array in filled)
    # Under context parallelism what comes back is this process's part of each row.
    rows = {"input": batch, "positions": where}
    batch, targets, options = Trainer.post_dataloading_process(trainer, rows, targets)
    hidden = pipeline_stages.pass_through(trainer, batch, options)
    with trainer.pool_loss.row_by_row(len(inputs)) as nats:
        if trainer.place.stage == trainer.place.stages - 1:
            trainer.loss_fn(hidden, targets)
        return nats().cpu().numpy()


def _unit(trainer: "ContinuedTrainer") -> int:
    """A row's length must be a multiple of this, so that pieces of the loss and processes have equal parts."""
    dims = trainer.parallel_dims
    return math.lcm(row_unit(dims.tp, dims.cp), dims.cp * trainer.loss_fn.num_chunks)  # type: ignore[attr-defined]


def _add_up(sums: np.ndarray) -> np.ndarray:
    if dist.get_world_size() == 1:
        return sums
    total = torch.from_numpy(sums).to(DEVICE)
    dist.all_reduce(total)
    return total.cpu().numpy()
