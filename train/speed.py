"""How fast training goes, and what that comes to in hours and money."""

from dataclasses import dataclass
from typing import Any

from train import flops
from train.architecture import Architecture
from train.gpus import Gpu, nearest
from train.memory import Layout, Work


@dataclass(frozen=True)
class Speed:
    """Tokens per second of all GPUs together."""

    tokens_per_second: float
    about: str
    utilisation: float | None
    """Share of the peak rate, as published figures count it; None on the CPU."""
    devices: int
    """Devices that reach it together."""


def estimate(
    a: Architecture,
    gpu: Gpu,
    layout: Layout,
    work: Work,
    tokens_per_second: float | None = None,
    utilisation: float | None = None,
    probe: bool = False,
) -> Speed | None:
    """As given, timed, or from a published figure.

    None where no published figure is of this kind of GPU and about this size, and in float32: they are for bf16.
    """
    peak, per_token = layout.gpus * gpu.peak, _utilised(a, work)
    if tokens_per_second:
        return Speed(tokens_per_second, "--tokens-per-second", tokens_per_second * per_token / peak, layout.gpus)
    if probe:
        return _timed(a, gpu, layout, work)
    if utilisation:
        return Speed(utilisation * peak / per_token, "--mfu", utilisation, layout.gpus)
    figure = nearest(gpu.name, a.parameters, work.seq_len, layout.gpus)
    if figure is None or work.element > 2:
        return None
    about = (
        f"{figure.utilisation:.1%} of the peak, published for {figure.parameters / 1e9:g}B, rows of {figure.seq_len}, "
        f"{figure.gpus} x {figure.gpu}: {figure.source}"
    )
    return Speed(figure.utilisation * peak / per_token, about, figure.utilisation, layout.gpus)


def _timed(a: Architecture, gpu: Gpu, layout: Layout, work: Work) -> Speed:
    """On a CPU, its own speed; on a GPU, that of as many as are planned, as if none waited for another."""
    from train import probe

    timed = probe.measure(a, Work(work.seq_len, work.batch, work.element))
    if timed.on_cpu:
        return Speed(timed.tokens_per_second, f"timed on {timed.device}, all weights trained", None, 1)
    rate = timed.tokens_per_second
    about = f"timed on {timed.device}, all weights trained, x {layout.gpus} as if none waited for another"
    return Speed(rate * layout.gpus, about, rate * flops.of_utilisation(a, work.seq_len) / gpu.peak, layout.gpus)


def _utilised(a: Architecture, work: Work) -> float:
    """Operations per token that utilisation is a share of; with adapters less is done, in proportion to the count."""
    whole = flops.count(a, work.seq_len).model
    return flops.of_utilisation(a, work.seq_len) * flops.count(a, work.seq_len, "none", work.lora_rank).model / whole


def cost(a: Architecture, gpu: Gpu, tokens: float, speed: Speed | None, price: float | None) -> dict[str, Any]:
    """GPU-hours at the peak rate, and hours, days, GPU-hours and money where the speed is known."""
    lowest = {"gpu_hours_at_peak": hours(flops.rule_of_thumb(a.parameters, tokens), gpu.peak)}
    if speed is None:
        return lowest
    seconds = tokens / speed.tokens_per_second
    spent = seconds / 3600 * speed.devices
    money = None if price is None else spent * price
    return {
        **lowest,
        "hours": seconds / 3600,
        "days": seconds / 86400,
        "gpu_hours": spent,
        "price": price,
        "cost": money,
    }


def hours(operations: float, rate: float) -> float:
    """Hours of one device for so many operations at `rate` FLOP/s."""
    return operations / rate / 3600
