"""What the live model says about held-out text and benchmark items, shared out over the ranks."""

import dataclasses
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist

from eval import held_out
from eval.answers import label_nats
from train import pipeline_stages
from train.parallelism import row_unit
from train.platform import DEVICE

# isort: split
from torch.distributed.fsdp import FSDPModule
from torchtitan.models.common.rope import RoPE
from torchtitan.trainer import Trainer

if TYPE_CHECKING:
    from train.trainer import ContinuedTrainer

BATCH = 8
"""Held-out windows per forward pass, whatever the number of ranks."""


def bits_per_byte(trainer: "ContinuedTrainer", windows: held_out.Windows) -> dict[str, float]:
    """The measure of eval.held_out; model mode and random state are left as found."""

    def nats(inputs: np.ndarray, positions: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return window_nats(trainer, inputs, positions, labels)

    def add_up(sums: np.ndarray) -> np.ndarray:
        return _add_up(sums * trainer.place.counts_tokens)

    with undisturbed(trainer):
        return held_out.bits_per_byte(windows, nats, BATCH, trainer.place.rank, trainer.place.world, add_up)


@contextmanager
def undisturbed(trainer: "ContinuedTrainer") -> Iterator[None]:
    """Within it the model is in evaluation mode; afterwards modes, random states and shards are as they were."""
    (part,) = trainer.model_parts
    modes = [(module, module.training) for module in part.modules()]
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    accelerator = torch.cuda.get_rng_state_all() if DEVICE == "cuda" else []
    part.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if accelerator:
            torch.cuda.set_rng_state_all(accelerator)
        for module in part.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


@contextmanager
def seeing(trainer: "ContinuedTrainer", length: int) -> Iterator[None]:
    """Within it the model knows `length` positions at least; in training torchtitan knows those of a sequence only."""
    (part,) = trainer.model_parts
    short = [one for one in part.modules() if isinstance(one, RoPE) and len(one.cache) < length]
    kept = [(one, one.config, one.cache) for one in short]
    if short:
        config = dataclasses.replace(short[0].config, max_seq_len=length)
        for one in short:
            assert dataclasses.replace(one.config, max_seq_len=length) == config, "layers rotate alike"
        short[0].config = config
        longer = short[0]._precompute_cache().to(short[0].cache.device)
        for one in short:
            one.cache = longer
    try:
        yield
    finally:
        for one, config, cache in kept:
            one.config, one.cache = config, cache


@torch.no_grad()
def window_nats(
    trainer: "ContinuedTrainer", inputs: np.ndarray, positions: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """[n, l] each -> summed negative log-likelihood per window [n], logits a piece at a time as in training."""
    hidden, targets = _hidden(trainer, inputs, positions, labels)
    with trainer.pool_loss.row_by_row(len(inputs)) as nats:
        if trainer.place.stage == trainer.place.stages - 1:
            trainer.loss_fn(hidden, targets)
        return nats().cpu().numpy()


@torch.no_grad()
def answer(trainer: "ContinuedTrainer", inputs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The `Forward` of eval.answers, logits a piece at a time; to be called within `undisturbed` and `seeing`."""
    length = inputs.shape[1]
    positions = np.broadcast_to(np.arange(length), inputs.shape)
    hidden, targets = _hidden(trainer, inputs, positions, labels)
    found: list[tuple[torch.Tensor, torch.Tensor]] = []

    def read(logits: torch.Tensor, piece: torch.Tensor, *_: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        asked = (piece != held_out.IGNORED).any(-1)
        nats, best = torch.zeros(piece.shape, device=piece.device), torch.zeros_like(piece[..., 0])
        nats[asked], best[asked] = label_nats(logits[asked], piece[asked])
        found.append((nats, best))
        return logits.new_zeros(()), {}

    loss: Any = trainer.loss_fn
    kept, loss.loss_fn = loss.loss_fn, read
    try:
        loss(hidden, targets)
    finally:
        loss.loss_fn = kept
    nats, best = (torch.cat(parts, 1)[:, :length].cpu().numpy() for parts in zip(*found, strict=True))
    return nats, best


def _hidden(
    trainer: "ContinuedTrainer", inputs: np.ndarray, positions: np.ndarray, labels: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Last hidden states [n, l', D] and labels [n, l', ...], l' the next length that the loss can cut evenly."""
    more = -inputs.shape[1] % _unit(trainer)
    filled = [
        np.pad(array, ((0, 0), (0, more), *[(0, 0)] * (array.ndim - 2)), constant_values=fill)
        for array, fill in ((inputs, 0), (positions, 0), (labels, held_out.IGNORED))
    ]
    batch, where, targets = (torch.from_numpy(array).to(trainer.device) for array in filled)
    # Under context parallelism what comes back is this process's part of each row.
    rows = {"input": batch, "positions": where}
    batch, targets, options = Trainer.post_dataloading_process(trainer, rows, targets)
    return pipeline_stages.pass_through(trainer, batch, options), targets


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
