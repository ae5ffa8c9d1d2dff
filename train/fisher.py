"""The diagonal of the Fisher information of the base on replay text, for elastic weight consolidation.

    F_i = 1 / T * sum over sequences of (d log p(sequence) / d theta_i)^2,    T: predicted tokens of all sequences

This is the empirical Fisher information: the labels are the text's own tokens, not drawn from the model (Kunstner,
Balles and Hennig 2019, arXiv 1905.12558, on where the two differ). A sequence, one row of the mixture, is the datum, as
in Kirkpatrick et al. 2017 (arXiv 1612.00796). A gradient per token would take L times the passes; for labels drawn
from the model the gradients of a sequence's tokens are uncorrelated, so that both give the same in expectation.
Divided by tokens it belongs to the mean loss of a token, which is what training minimises, at any sequence length.

Every rank takes every sequence: FSDP gives a rank its shard of the gradient's sum over the ranks, from which single
sequences could not be had back. So the estimate costs N passes of one sequence each on every rank, and does not depend
on how many there are.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

import train.platform  # noqa: F401  (before torchtitan)
from curate.files import read_json, write_json
from mix.loader import Batch, Loader
from mix.plan import Plan
from train import read_checkpoint
from train.groups import local, parameters

# isort: split
import torch.distributed.checkpoint as dcp
from torch.distributed.fsdp import FSDPModule
from torchtitan.components.checkpointer.dcp import MODEL

if TYPE_CHECKING:
    from train.trainer import ContinuedTrainer

POOL = "replay"
"""Pool whose text stands for what the base knows."""

Tensors = dict[str, torch.Tensor]
"""Name of a trained parameter -> tensor, sharded like it."""


def replay_rows(plan: Plan) -> int:
    """Sequences of the replay pool, whatever its share of the mixture."""
    return sum(pool.rows for pool in plan.pools if pool.name == POOL)


def replay_sequences(plan: Plan, packed: Path, count: int) -> Iterator[Batch]:
    """The first `count` rows of the mixture if it were all replay, one at a time; no more than the pool has.

    Its sources come by their weights at the mixture's first row.
    """
    shares = {pool.name: int(pool.name == POOL) for pool in plan.pools}
    loader = Loader(plan.base.with_change(0, shares), packed, plan.global_batch or 1)
    for row in range(min(count, replay_rows(plan))):
        yield loader.batch(row, 1)


def estimate(trainer: "ContinuedTrainer", sequences: Iterator[Batch]) -> Tensors:
    """F at the weights that the model has, in fp32. All gradients are None afterwards; nothing else is changed."""
    fisher = {name: torch.zeros_like(one.detach()) for name, one in parameters(trainer.model_parts)}
    seen, tokens = trainer.ntokens_seen, 0
    for batch in sequences:
        labels = torch.as_tensor(batch.labels)
        tokens += int((labels >= 0).sum())
        _take_gradients(trainer, batch, labels)
        with torch.no_grad():
            for name, parameter in parameters(trainer.model_parts):
                assert parameter.grad is not None
                gradient = local(parameter.grad)
                local(fisher[name]).addcmul_(gradient, gradient)
                parameter.grad = None
    trainer.ntokens_seen = seen
    trainer.pool_loss.take()
    assert tokens, "a row predicts at least one token"
    for tensor in fisher.values():
        local(tensor).div_(tokens)
    return fisher


@contextmanager
def base_weights(trainer: "ContinuedTrainer", folder: Path) -> Iterator[None]:
    """Within it the model has the base's weights, from the Hugging Face folder a run starts with.

    At step 0 it has them already. Later each rank keeps a copy of its shards meanwhile.
    """
    if trainer.step == 0:
        yield
        return
    trainer.checkpointer.maybe_wait_for_staging()
    kept = [(local(one.detach()), local(one.detach()).clone()) for one in _all(trainer)]
    model = trainer.checkpointer.states[MODEL]  # type: ignore[attr-defined]
    state = model.state_dict()
    trainer.checkpointer.dcp_load(state, str(folder.resolve()), from_hf=True, from_quantized=False)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for weights, copy in kept:
            weights.copy_(copy)


def save(fisher: Tensors, folder: Path, identity: str) -> None:
    """Write F, sharded, into a folder that appears whole; any number of ranks can load it. Every rank must call it."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    first = dist.get_rank() == 0
    if first:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
    dist.barrier()
    dcp.save(fisher, checkpoint_id=str(temporary))
    if first:
        write_json(temporary / "identity.json", identity)
        temporary.rename(folder)
    dist.barrier()


def load(trainer: "ContinuedTrainer", folder: Path, identity: str) -> Tensors | None:
    """F as `save` wrote it, sharded as the model is now; None where there is none, or one of other settings.

    Raises ValueError where the folder is damaged.
    """
    if not folder.is_dir() or read_json(folder / "identity.json") != identity:
        return None
    fisher = {name: torch.zeros_like(one.detach()) for name, one in parameters(trainer.model_parts)}
    try:
        read_checkpoint.load(fisher, folder)
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"{folder}: the Fisher information of the base cannot be read ({str(error).splitlines()[0]}). Delete the "
            "folder: it is estimated again."
        ) from None
    return fisher


def _take_gradients(trainer: "ContinuedTrainer", batch: Batch, labels: torch.Tensor) -> None:
    """The gradient of -log p(sequence) into the parameters' `grad`; the same sequence on every rank."""
    for parameter in _all(trainer):
        parameter.grad = None
    inputs = {"input": batch.input, "positions": batch.positions, "pool": [0]}
    # FSDP adds up the gradients of ranks that have different rows; here these are all the same row.
    dimensions = trainer.parallel_dims
    same = dimensions.get_mesh("batch").size() if dimensions.dp_enabled else 1
    # The loss is the sum over tokens divided by this.
    trainer.forward_backward_step(
        input_dict={name: torch.as_tensor(value).to(trainer.device) for name, value in inputs.items()},
        labels=labels.to(trainer.device),
        global_valid_tokens=torch.tensor(same, dtype=torch.int64, device=trainer.device),
    )
    for part in trainer.model_parts:
        for module in part.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


def _all(trainer: "ContinuedTrainer") -> Iterator[torch.nn.Parameter]:
    for part in trainer.model_parts:
        yield from part.parameters()
