"""What a step cost: speed, use of the arithmetic, waiting for data, memory."""

import re
import resource
from typing import Any

import torch
import torch.distributed as dist

from train.gpus import GIB, GPUS


class Meter:
    """Figures that differ from run to run (train.records.TIMING)."""

    def __init__(self, flops_per_token: float, device: torch.device):
        """`flops_per_token`: as train.flops.of_utilisation counts them."""
        self._flops, self._device = flops_per_token, device
        self._peak = peak(torch.cuda.get_device_name(device)) if device.type == "cuda" else None

    def figures(self, tokens: int, seconds: float, waited: float) -> dict[str, Any]:
        """Of a step over `tokens` tokens that took `seconds`, `waited` of them for data:

        - tokens_per_second over all ranks
        - mfu: model FLOPs utilisation, share of all GPUs' bf16 peak (train/gpus.py); None on a CPU and on GPUs whose
          peak is not known
        - data_wait_share: of the seconds, on this rank
        - memory_gib: most memory so far, allocated on this rank's GPU, or held by its process on a CPU
        """
        per_second = tokens / seconds
        mfu = per_second * self._flops / (self._peak * dist.get_world_size()) if self._peak else None
        return {
            "tokens_per_second": per_second,
            "mfu": mfu,
            "data_wait_share": waited / seconds,
            "memory_gib": self._memory() / GIB,
        }

    def _memory(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak(device: str) -> float | None:
    """bf16 FLOP/s of a GPU by the name its driver gives it; None where it is not known.

    The PCIe and NVL cards of a kind are slower than the SXM modules that train/gpus.py has.

    >>> peak("NVIDIA H100 80GB HBM3"), peak("NVIDIA A100-SXM4-40GB"), peak("NVIDIA H100 PCIe"), peak("NVIDIA A10G")
    (989000000000000.0, 312000000000000.0, None, None)
    """
    if re.search("PCIe|NVL", device):
        return None
    found = [gpu.peak for gpu in GPUS.values() if re.search(rf"\b{gpu.name.split('-')[0]}\b", device, re.IGNORECASE)]
    return found[0] if found else None
