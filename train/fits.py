"""Which parallel layout of which GPU kind holds a model."""

from dataclasses import replace
from typing import Any

from train.architecture import Architecture
from train.gpus import GPUS
from train.memory import CHECKPOINTING, ROOM, Layout, Work, per_gpu

HOST = 8
"""GPUs of a host, over which tensor parallelism may go."""


def fits(a: Architecture, work: Work, count: int) -> dict[str, Any]:
    """Which GPU kind holds the model in which layout of `count` GPUs, with as little recomputation as will do.

    Per kind also the smallest power of two of GPUs that FSDP alone needs, with full checkpointing.
    """
    layouts = candidates(a, count)
    table: dict[str, Any] = {"layouts": [str(layout) for layout in layouts], "kinds": {}}
    for gpu in GPUS.values():
        limit = gpu.memory * (1 - ROOM)
        cells = [_lightest(a, layout, work, limit) for layout in layouts]
        full = replace(work, checkpointing="full")
        counts = (2**power for power in range(14))
        fewest = next((n for n in counts if per_gpu(a, Layout(n), full).total <= limit), None)
        table["kinds"][gpu.name] = {"limit": limit, "layouts": cells, "fewest": fewest}
    return table


def candidates(a: Architecture, count: int) -> list[Layout]:
    """Layouts of `count` GPUs that are usual: FSDP; HSDP within hosts; TP within a host; TP and pipeline stages."""
    hosts, tensor = count // HOST, min(HOST, a.kv_heads)
    found = [Layout(count)]
    if hosts > 1 and count % HOST == 0:
        found.append(Layout(HOST, replicas=hosts))
    if tensor > 1 and count % tensor == 0 and a.heads % tensor == 0:
        found.append(Layout(count // tensor, tensor=tensor))
        if hosts >= 4 and count % (tensor * 4) == 0 and a.layers >= 4:
            found.append(Layout(count // tensor // 4, tensor=tensor, pipeline=4))
    return found


def _lightest(a: Architecture, layout: Layout, work: Work, limit: float) -> dict[str, Any]:
    start = CHECKPOINTING.index(work.checkpointing)
    for checkpointing in CHECKPOINTING[start:]:
        total = per_gpu(a, layout, replace(work, checkpointing=checkpointing)).total
        if total <= limit:
            return {"fits": True, "bytes": total, "checkpointing": checkpointing}
    return {"fits": False, "bytes": total, "checkpointing": checkpointing}
