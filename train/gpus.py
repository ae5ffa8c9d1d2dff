"""GPU kinds, and what share of their arithmetic published training runs made use of.

Peak rates are the makers' for dense bf16 matrix products; sheets that lead with structured sparsity say twice as much.
Model FLOPs utilisation (MFU, Chowdhery et al. 2022, arXiv 2204.02311, appendix B) counts 6 FLOP per parameter and token
and attention over the whole row, and no recomputation: `train.flops.of_utilisation`.
"""

import math
from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU."""

    name: str
    memory: int
    """Bytes. A card of 80 GB has 80 GiB."""
    peak: float
    """FLOP/s, bf16, dense."""
    source: str


@dataclass(frozen=True)
class Figure:
    """What a published run reached."""

    gpu: str
    parameters: float
    seq_len: int
    gpus: int
    utilisation: float
    """MFU, 0 to 1."""
    source: str


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("a10", 24 * GIB, 125e12, "NVIDIA A10 data sheet"),
        Gpu("l40s", 48 * GIB, 362e12, "NVIDIA L40S data sheet"),
        Gpu("a100-40g", 40 * GIB, 312e12, "NVIDIA A100 data sheet"),
        Gpu("a100-80g", 80 * GIB, 312e12, "NVIDIA A100 data sheet"),
        Gpu("h100", 80 * GIB, 989e12, "NVIDIA H100 SXM data sheet"),
        Gpu("h200", 141 * GIB, 989e12, "NVIDIA H200 SXM data sheet"),
        Gpu("b200", 180 * GIB, 2250e12, "NVIDIA HGX B200 data sheet"),
    )
}
"""Name on the command line -> kind."""

_FOUNDRY = "MosaicML llm-foundry, scripts/train/benchmarking (FSDP)"
_TITAN_A100 = "torchtitan, docs/performance.md (FSDP2)"
_TITAN_H100 = "torchtitan, benchmarks/llama3_h100_202412 (FSDP2, 500 W)"
_LLAMA3 = "Llama 3, arXiv 2407.21783, table 4 (TP, PP, FSDP)"
_MEGATRON = "Korthikanti et al. 2022, arXiv 2205.05198 (TP, PP)"

FIGURES = (
    Figure("a100-40g", 2.7e9, 4096, 8, 0.5618, _FOUNDRY),
    Figure("a100-40g", 6.7e9, 4096, 8, 0.5011, _FOUNDRY),
    Figure("a100-40g", 12.9e9, 4096, 8, 0.4485, _FOUNDRY),
    Figure("a100-40g", 30.0e9, 2048, 32, 0.5174, _FOUNDRY),
    Figure("a100-40g", 64.9e9, 2048, 128, 0.4891, _FOUNDRY),
    Figure("a100-80g", 0.125e9, 4096, 8, 0.4608, _FOUNDRY),
    Figure("a100-80g", 0.36e9, 4096, 8, 0.5331, _FOUNDRY),
    Figure("a100-80g", 0.76e9, 4096, 8, 0.5605, _FOUNDRY),
    Figure("a100-80g", 1.3e9, 4096, 8, 0.59, _FOUNDRY),
    Figure("a100-80g", 2.7e9, 4096, 8, 0.6053, _FOUNDRY),
    Figure("a100-80g", 6.7e9, 4096, 8, 0.5484, _FOUNDRY),
    Figure("a100-80g", 8.0e9, 8192, 64, 0.582, _TITAN_A100),
    Figure("a100-80g", 12.9e9, 4096, 8, 0.5762, _FOUNDRY),
    Figure("a100-80g", 30.0e9, 4096, 8, 0.5137, _FOUNDRY),
    Figure("a100-80g", 64.9e9, 2048, 64, 0.5333, _FOUNDRY),
    Figure("a100-80g", 70.6e9, 8192, 64, 0.517, _TITAN_A100),
    Figure("a100-80g", 530e9, 2048, 2240, 0.542, _MEGATRON),
    Figure("h100", 0.76e9, 4096, 8, 0.3583, _FOUNDRY),
    Figure("h100", 1.3e9, 4096, 8, 0.4026, _FOUNDRY),
    Figure("h100", 2.7e9, 4096, 8, 0.4231, _FOUNDRY),
    Figure("h100", 6.7e9, 4096, 8, 0.4042, _FOUNDRY),
    Figure("h100", 8.0e9, 8192, 8, 0.33, _TITAN_H100 + ", without torch.compile"),
    Figure("h100", 12.9e9, 4096, 8, 0.416, _FOUNDRY),
    Figure("h100", 30.0e9, 4096, 8, 0.3586, _FOUNDRY),
    Figure("h100", 64.9e9, 2048, 64, 0.4257, _FOUNDRY),
    Figure("h100", 405e9, 8192, 8192, 0.43, _LLAMA3),
    Figure("h100", 405e9, 8192, 16384, 0.41, _LLAMA3),
)
"""Published bf16 runs that trained every weight, float8 left out."""

FARTHEST = 8
"""Times by which a planned model may be smaller or larger than a published one for its figure to be taken."""
SAME_CHIP = {"h200": "h100"}
"""Kind without a figure -> the kind with the same arithmetic units whose figure is taken."""


def nearest(gpu: str, parameters: float, seq_len: int, gpus: int) -> Figure | None:
    """The published run that is most like the one planned: by size of the model, then row, then number of GPUs.

    None where there is none of this kind within `FARTHEST` of the size.
    """
    kind = SAME_CHIP.get(gpu, gpu)
    near = math.log2(FARTHEST)
    candidates = [one for one in FIGURES if one.gpu == kind and abs(math.log2(one.parameters / parameters)) <= near]

    def distance(figure: Figure) -> tuple[float, float, float]:
        size = abs(math.log2(figure.parameters / parameters))
        return round(2 * size), abs(math.log2(figure.seq_len / seq_len)), abs(math.log2(figure.gpus / gpus))

    return min(candidates, key=distance, default=None)
