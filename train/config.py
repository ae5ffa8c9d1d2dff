"""Keys of the `train:` section."""

from typing import Literal

from pydantic import Field

from pipelines.section import Section


class TrainConfig(Section):
    """The trainer: budget, schedule, checkpoints."""

    run: str = Field("main", pattern=r"^[\w.-]+$")
    """Name of the training run: its folder is runs/<name>/train/<run>."""
    init: Literal["base", "scratch"] = "base"
    """Start from the base model's weights, or from random weights of its config (scratch)."""
    steps: int = Field(300, ge=1)
    """Optimizer steps."""
    global_batch: int = Field(16, ge=1)
    """Sequences per optimizer step over all ranks."""
    local_batch: int = Field(4, ge=1)
    """Sequences per rank and forward pass; the rest of the global batch is gradient accumulation."""
    warmup_steps: int = Field(20, ge=0)
    """Steps of linear warm-up to peak_lr; 0 turns it off."""
    peak_lr: float = Field(3e-4, gt=0)
    """Highest learning rate (AdamW)."""
    floor: float = Field(0.1, ge=0, le=1)
    """Learning rate at the last step as a share of peak_lr (cosine decay, arXiv 1608.03983)."""
    weight_decay: float = Field(0.1, ge=0)
    """AdamW weight decay; 0 turns it off."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are clipped to this global norm."""
    checkpoint_every: int = Field(100, ge=1)
    """Steps between checkpoints; one is always written after the last step."""
    keep_checkpoints: int = Field(2, ge=2)
    """Checkpoints kept, the newest ones."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of parameters and activations in forward and backward (FSDP2 mixed precision)."""
    seed: int = 0
    """Seed of random initialisation; the order of data comes from mix.seed."""
