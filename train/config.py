"""Keys of the `train:` section."""

from typing import Literal

from pydantic import Field

from train.keys.checkpoints import CheckpointKeys
from train.keys.health import HealthKeys
from train.keys.loggers import LoggerKeys
from train.keys.lora import LoraKeys
from train.keys.methods import MethodKeys
from train.keys.parallelism import ParallelismKeys
from train.keys.schedule import ScheduleKeys


class TrainConfig(ScheduleKeys, MethodKeys, LoraKeys, CheckpointKeys, HealthKeys, LoggerKeys, ParallelismKeys):
    """The trainer: budget, schedule, forgetting methods, checkpoints, health, loggers, parallelism."""

    run: str = Field("main", pattern=r"^\w[\w.-]*$")
    """Name of the training run: its folder is runs/<name>/train/<run>."""
    init: Literal["base", "scratch"] = "base"
    """Start from the base model's weights, or from random weights of its config (scratch)."""
    steps: int = Field(300, ge=1)
    """Optimizer steps."""
    global_batch: int = Field(16, ge=1)
    """Sequences per optimizer step over all ranks."""
    local_batch: int = Field(4, ge=1)
    """Sequences per rank and forward pass; the rest of the global batch is gradient accumulation."""
    weight_decay: float = Field(0.1, ge=0)
    """AdamW weight decay of the matrices in the layers; embeddings, output head and norms have none. 0 turns it off."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are clipped to this global norm."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of parameters and activations in forward and backward (FSDP2 mixed precision)."""
    seed: int = 0
    """Seed of random initialisation; the order of data comes from mix.seed."""
