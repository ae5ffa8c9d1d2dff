"""What the trainer adds to torchtitan's pipeline stages: losses pool by pool, and a pass without a schedule."""

from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, Shard

if TYPE_CHECKING:
    from train.trainer import ContinuedTrainer


class WaitingPools:
    """Pools of a step's microbatches, each kept until the schedule comes to its loss.

    torchtitan prepares all microbatches of a step before the first one goes through the stages. The schedule hands the
    loss the very labels that were prepared; others, with which it finds out shapes before the first step, count for no
    pool.
    """

    def __init__(self, trainer: "ContinuedTrainer"):
        self._pools: dict[int, torch.Tensor] = {}
        self._trainer = trainer
        self._compute = trainer.pp_schedule._loss_fn
        trainer.pp_schedule._loss_fn = self._loss

    def add(self, labels: torch.Tensor, pools: torch.Tensor) -> None:
        """A microbatch's labels [B, L] and the pool of each row [B]."""
        if self._trainer.pp_has_last_stage:
            self._pools[id(labels)] = pools

    def _loss(self, hidden: torch.Tensor, labels: torch.Tensor, **options: Any) -> torch.Tensor:
        pools = self._pools.pop(id(labels), None)
        if pools is None:
            with self._trainer.pool_loss.row_by_row(len(labels)):
                return self._compute(hidden, labels, **options)
        self._trainer.pool_loss.begin(pools)
        return self._compute(hidden, labels, **options)


def pass_through(trainer: "ContinuedTrainer", batch: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
    """This stage's output [n, l, D] for a batch [n, l], the stages one after the other; `options` are the model's."""
    (part,) = trainer.model_parts
    place = trainer.place
    if place.stages == 1:
        return part(batch, **options)
    group = trainer.parallel_dims.get_mesh("pp").get_group()
    if place.stage > 0:
        batch = _received(trainer, *batch.shape)
    hidden = part(batch, **options)
    if place.stage < place.stages - 1:
        local = hidden.to_local() if isinstance(hidden, DTensor) else hidden
        dist.send(local.contiguous(), group_dst=place.stage + 1, group=group)
    return hidden


def _received(trainer: "ContinuedTrainer", rows: int, length: int) -> torch.Tensor:
    """Hidden states [rows, length, D] of the stage before; under tensor parallelism, part of the length."""
    tensor = trainer.parallel_dims.get_optional_mesh("tp")
    shape = rows, length // (tensor.size() if tensor else 1), trainer.model_config.dim  # type: ignore[attr-defined]
    dtype = getattr(torch, trainer.config.training.mixed_precision_param)
    hidden = torch.empty(shape, dtype=dtype, device=trainer.device)
    group = trainer.parallel_dims.get_mesh("pp").get_group()
    dist.recv(hidden, group_src=trainer.place.stage - 1, group=group)
    return DTensor.from_local(hidden, tensor, [Shard(1)], run_check=False) if tensor else hidden
