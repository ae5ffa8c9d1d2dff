"""What must happen before torchtitan is imported: gaps of older torch filled, the CPU made a device, threads set.

torchtitan 0.3 is written for torch 2.15 and an accelerator, and binds device type and module by value at import.
So this module comes first: everything here that imports a torchtitan module imports `train.platform` before it.
"""

import ctypes
import logging
import os
import platform
import resource
import sys
import types
import warnings
from dataclasses import dataclass

import torch
import torch.distributed
import torch.distributed.fsdp

_LOADED_TOO_EARLY = ("torchtitan.trainer", "torchtitan.distributed.utils", "torchtitan.components.metrics")


def fill_gaps() -> None:
    """Add what torchtitan 0.3 imports and torch before 2.14 lacks; a newer torch is left as it is."""
    if not hasattr(torch.distributed, "set_timeout"):
        torch.distributed.set_timeout = _set_timeout  # type: ignore[attr-defined]
    if not hasattr(torch.distributed.fsdp, "DataParallelMeshDims"):
        setattr(torch.distributed.fsdp, "DataParallelMeshDims", _DataParallelMeshDims)  # noqa: B010


def choose_device() -> str:
    """Make the CPU torchtitan's device where torch finds no accelerator. Returns the device type."""
    early = [name for name in _LOADED_TOO_EARLY if name in sys.modules]
    assert not early, f"train.platform must be imported before {early}"
    import torchtitan.tools.utils as utils

    if not torch.accelerator.is_available():
        utils.device_type, utils.device_module = "cpu", _cpu_module()
        # Model FLOPS utilisation is a figure for accelerators; torchtitan would go by an A100's peak and say so.
        utils.get_peak_flops = lambda _: float("inf")  # type: ignore[assignment]
    return utils.device_type


def import_attention() -> None:
    """Import torchtitan's attention without what the CPU does not use.

    torchtitan compiles flex attention while it is imported, which loads the whole compiler: a quarter of the time a
    command takes to start.
    """
    if DEVICE != "cpu" or "torchtitan.models.common.attention" in sys.modules:
        return
    compiler = torch.compile
    torch.compile = lambda function=None, **_: function  # type: ignore[assignment,misc]
    try:
        import torchtitan.models.common.attention  # noqa: F401
    finally:
        torch.compile = compiler  # type: ignore[misc]


def prepare_process() -> None:
    """Defaults for a process that no launcher started, threads per rank, and memory that stays with the process."""
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_WORLD_SIZE", "1")):
        os.environ.setdefault(name, value)
    if os.environ["WORLD_SIZE"] == "1" and "MASTER_PORT" not in os.environ:
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = "localhost", "0"
    # torchtitan reads the learning rate of its scheduler this way at every resume.
    warnings.filterwarnings("ignore", message="To get the last learning rate computed by the scheduler")
    warnings.filterwarnings("ignore", message="DTensor .* may not have complete support on cpu")
    # Advice on how meshes could be laid out for fewer collectives; they are torchtitan's.
    logging.getLogger("torch.distributed.tensor._redistribute").setLevel(logging.ERROR)
    # torchtitan sets this one itself and warns where the launcher has set it.
    os.environ.pop("TORCH_NCCL_ASYNC_ERROR_HANDLING", None)
    torch.set_num_threads(_threads(int(os.environ["LOCAL_WORLD_SIZE"])))
    if DEVICE == "cpu":
        _keep_freed_memory()


def describe_device(world: int) -> str:
    """Devices in words, for the plan that is printed before a run."""
    if DEVICE == "cpu":
        processes = "1 process" if world == 1 else f"{world} processes"
        return f"CPU, {processes} x {torch.get_num_threads()} threads"
    return f"{world} x {torch.cuda.get_device_name() if DEVICE == 'cuda' else DEVICE}"


def _threads(local_processes: int) -> int:
    """Cores shared evenly by the processes of this machine.

    One process obeys OMP_NUM_THREADS; for more torchrun sets that to 1 by itself, so there it says nothing.
    """
    if local_processes == 1 and "OMP_NUM_THREADS" in os.environ:
        return int(os.environ["OMP_NUM_THREADS"])
    return max(1, len(os.sched_getaffinity(0)) // local_processes)


def _keep_freed_memory() -> None:
    """Tell glibc to keep large freed blocks instead of giving them back to the kernel.

    Otherwise every step pays page faults for the same activations again: 6,700 for 2048 tokens of a 1.7M-parameter
    model, 7 % of its time, against next to none. Without glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # names of malloc.h without M_
    mallopt(mmap_threshold, 2**30)
    mallopt(trim_threshold, 2**30)
    mallopt(top_pad, 2**26)


def _set_timeout(timeout: object, group: object = None) -> None:
    from torch.distributed import distributed_c10d

    distributed_c10d._set_pg_timeout(timeout, group)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _DataParallelMeshDims:
    """Only its import is needed: the parallelism back end used on such a torch never makes one."""

    shard: object = None
    replicate: object = None


def _cpu_module() -> types.ModuleType:
    """torch.cpu with the few functions that torchtitan asks of a device module."""
    module = types.ModuleType("train.platform.cpu")
    for name in ("is_available", "current_stream", "device_count", "set_device", "stream", "synchronize", "Stream"):
        setattr(module, name, getattr(torch.cpu, name))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    additions = {
        "current_device": lambda: 0,
        "get_device_name": lambda *_: platform.processor() or "cpu",
        "get_device_properties": lambda *_: types.SimpleNamespace(total_memory=memory, name="cpu"),
        "memory_stats": _memory_stats,
        "reset_peak_memory_stats": lambda *_: None,
        "empty_cache": lambda: None,
    }
    for name, function in additions.items():
        setattr(module, name, function)
    return module


def _memory_stats(*_: object) -> dict[str, int]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"active_bytes.all.peak": peak, "reserved_bytes.all.peak": peak, "num_alloc_retries": 0, "num_ooms": 0}


fill_gaps()
DEVICE = choose_device()
"""Device type that torchtitan trains on: "cpu" where torch finds no accelerator."""
import_attention()
