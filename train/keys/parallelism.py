"""Keys of parallelism (train/parallelism.py): how the processes share the model, the rows and the work."""

from typing import Literal

from pydantic import Field, field_validator

from pipelines.section import Section


class ParallelismKeys(Section):
    """Processes = data_parallel_replicate x data_parallel_shard x tensor_parallel x pipeline_parallel x
    context_parallel, one a GPU.

    A step's rows are shared by the first two; the other processes work on the same rows.
    """

    data_parallel_replicate: int = Field(1, ge=1)
    """Groups of processes that each hold the whole state, sharded inside the group (HSDP): gradients are all that
    leaves a group. Usually one group a node. 1 turns it off: all processes are one group (FSDP2)."""
    data_parallel_shard: int = Field(-1, ge=-1)
    """Processes that share weights, gradients and optimizer state (FSDP2). -1 takes the processes that the other keys
    leave; 1 turns it off."""
    tensor_parallel: int = Field(1, ge=1)
    """Processes that share each layer's matrices and the vocabulary; inside one node. 1 turns it off."""
    pipeline_parallel: int = Field(1, ge=1)
    """Stages that the layers are divided into, a microbatch of one row at a time (1F1B). 1 turns it off."""
    context_parallel: int = Field(1, ge=1)
    """Processes that share the tokens of each row; on GPUs only. 1 turns it off."""
    activation_checkpointing: Literal["none", "selective", "full"] = "none"
    """What the backward pass computes again instead of keeping it: nothing; cheap operations (selective: attention and
    every other matrix product are kept); every layer from its input (full: least memory, a third more compute)."""
    compile: bool = False
    """Compile each layer with torch.compile, on GPUs only; false turns it off."""
    float8: bool = False
    """Matrix products of the layers in float8 with a scale per row (torchao, GPUs of capability 8.9 and newer, with
    `compile`); weights stay as they are. false turns it off."""

    @field_validator("data_parallel_shard")
    @classmethod
    def _not_zero(cls, value: int) -> int:
        if value == 0:
            raise ValueError("0 processes cannot hold the weights. Set -1 for all that are left, or their number")
        return value
