"""Which process does what: the keys of parallelism as a layout, and what cannot run, refused before anything starts.

No torch is imported for a layout; `check_device` asks the torch and the device at hand.
"""

import math
from dataclasses import dataclass

from train.architecture import Architecture
from train.keys.parallelism import ParallelismKeys
from train.memory import Layout

PIPELINE_TORCH = (2, 15)
"""First torch with pipeline schedules that take microbatches, as torchtitan 0.3 hands them over."""
FLEX_BLOCK = 128
"""Tokens of a block of flex attention's mask."""
FLOAT8_CAPABILITY = (8, 9)
"""First CUDA capability with float8 matrix products (Ada, Hopper)."""


@dataclass(frozen=True)
class Found:
    """The torch and device that a run is about to use."""

    device: str
    """cpu or cuda."""
    torch: tuple[int, int]
    """Version, as (2, 13)."""
    capability: tuple[int, int]
    """Of the CUDA device; (0, 0) elsewhere."""
    torchao: bool
    """Whether torchao is installed."""


def layout(keys: ParallelismKeys, processes: int) -> Layout:
    """How `processes` are shared out. Raises ValueError where the keys do not come out at that number."""
    taken = keys.data_parallel_replicate * keys.tensor_parallel * keys.pipeline_parallel * keys.context_parallel
    names = "data_parallel_replicate x tensor_parallel x pipeline_parallel x context_parallel"
    if processes % taken:
        raise ValueError(
            f"train.{_largest(keys)}: {names} is {taken}, which does not divide the {processes} processes, so they "
            f"cannot be shared out. Start a multiple of {taken} processes (torchrun --nproc-per-node), or lower it."
        )
    left = processes // taken
    if keys.data_parallel_shard not in (-1, left):
        raise ValueError(
            f"train.data_parallel_shard: {keys.data_parallel_shard} x {taken} ({names}) is not the number of processes "
            f"({processes}). Set train.data_parallel_shard to -1 or {left}, or start "
            f"{keys.data_parallel_shard * taken} processes."
        )
    return Layout(
        left, keys.data_parallel_replicate, keys.tensor_parallel, keys.pipeline_parallel, keys.context_parallel
    )


def check_model(a: Architecture, spread: Layout, seq_len: int) -> None:
    """Raises ValueError naming the key where a model or rows of `seq_len` tokens cannot be spread like this."""
    tensor, stages, context = spread.tensor, spread.pipeline, spread.context
    if a.heads % tensor or a.kv_heads % tensor:
        raise ValueError(
            f"train.tensor_parallel: {tensor} does not divide the model's {a.heads} heads and {a.kv_heads} key heads, "
            "so a layer cannot be split evenly. Choose a divisor of both."
        )
    if stages > a.layers:
        raise ValueError(
            f"train.pipeline_parallel: {stages} stages for {a.layers} layers would leave some empty. Lower it."
        )
    if stages > 1 and a.tied:
        raise ValueError(
            f"train.pipeline_parallel: {stages} stages would put the embedding and the output head of this model on "
            "different processes, and they are one matrix (tie_word_embeddings). Set train.pipeline_parallel: 1 and "
            "raise train.tensor_parallel or train.data_parallel_shard instead."
        )
    pieces = row_unit(tensor, context)
    if seq_len % pieces:
        keys = [name for name, size in (("tensor_parallel", tensor), ("context_parallel", context)) if size > 1]
        raise ValueError(
            f"train.{keys[-1]}: mix.seq_len {seq_len} is not a multiple of {pieces}, so the tokens of a row cannot be "
            f"shared out evenly. Lower train.{' or train.'.join(keys)}, or build the mixture again with such a "
            "mix.seq_len."
        )


def row_unit(tensor: int, context: int) -> int:
    """Tokens that a row's length must be a multiple of.

    Tensor parallelism shares them out evenly; context parallelism in blocks of flex attention, and in two halves each.
    """
    return math.lcm(2 * context * tensor, FLEX_BLOCK * context) if context > 1 else tensor


def check_device(keys: ParallelismKeys, found: Found | None = None) -> None:
    """Raises ValueError where this torch, its packages or this device (`found`) cannot do what a key asks for."""
    if not (keys.pipeline_parallel > 1 or keys.context_parallel > 1 or keys.compile or keys.float8):
        return  # all else runs everywhere, and torch takes seconds to load
    found = found or look()
    version = ".".join(map(str, found.torch))
    if keys.pipeline_parallel > 1 and found.torch < PIPELINE_TORCH:
        needed = ".".join(map(str, PIPELINE_TORCH))
        raise ValueError(
            f"train.pipeline_parallel: {keys.pipeline_parallel} stages need torch {needed} or newer, and torch "
            f"{version} is here: torchtitan 0.3 hands a schedule its microbatches, which older schedules do not take. "
            "Install it, or set train.pipeline_parallel: 1 and use train.tensor_parallel or data_parallel_shard."
        )
    on_gpus = {
        "context_parallel": (keys.context_parallel > 1, "attention on the CPU sees whole rows only"),
        "compile": (keys.compile, "attention on the CPU takes one call a document, which torch.compile cannot trace"),
        "float8": (keys.float8, "the CPU has no float8 matrix products"),
    }
    for key, (wanted, reason) in on_gpus.items():
        if wanted and found.device != "cuda":
            off = 1 if key == "context_parallel" else "false"
            raise ValueError(
                f"train.{key}: runs on GPUs only, and the device is {found.device}: {reason}. Set train.{key}: {off}, "
                "or train on GPUs."
            )
    if keys.float8:
        _check_float8(keys, found)


def look() -> Found:
    """What is here."""
    from importlib.util import find_spec

    import torch

    from train.platform import DEVICE

    major, minor = torch.__version__.split(".")[:2]
    capability = torch.cuda.get_device_capability() if DEVICE == "cuda" else (0, 0)
    return Found(DEVICE, (int(major), int(minor)), capability, find_spec("torchao") is not None)


def _check_float8(keys: ParallelismKeys, found: Found) -> None:
    if found.capability < FLOAT8_CAPABILITY:
        raise ValueError(
            f"train.float8: needs a GPU of capability {'.'.join(map(str, FLOAT8_CAPABILITY))} or newer (L4, L40S, H100 "
            f"and later), and this one has {'.'.join(map(str, found.capability))}. Set train.float8: false."
        )
    if not found.torchao:
        raise ValueError("train.float8: needs torchao, which is not installed: pip install torchao, or set it false.")
    if not keys.compile:
        raise ValueError(
            "train.float8: without train.compile the scales cost more time than float8 saves. Set train.compile: true."
        )


def _largest(keys: ParallelismKeys) -> str:
    names = ("data_parallel_replicate", "tensor_parallel", "pipeline_parallel", "context_parallel")
    return max(names, key=lambda name: getattr(keys, name))
