"""A few timed steps of the trainer's own model, loss and optimizer on the device at hand, without data or processes.

Against train.launch on one CPU core (medians of three, the built-in base, rows of 128): equal to 1 % with 16 rows a
pass, 25 % faster with 4, where what the trainer does per step besides counts for more.
"""

import time
from dataclasses import dataclass

import torch

import train.platform  # noqa: F401  (before torchtitan)
from train import loss, model, platform
from train.architecture import Architecture
from train.memory import Layout, Work, per_gpu
from train.platform import DEVICE

WARM_UP, TIMED = 2, 5
"""Steps not timed, for allocation and compilation, and steps of which the median counts."""


@dataclass(frozen=True)
class Probe:
    """What was measured."""

    tokens_per_second: float
    device: str
    on_cpu: bool
    seconds: list[float]
    """Of each timed step."""


def measure(a: Architecture, work: Work) -> Probe:
    """Time steps of `work.batch` random rows of one document each on one device.

    Forward, backward, clipping and AdamW of all weights, without checkpointing; bf16 by autocast, as FSDP2 casts.
    Raises ValueError where the model does not fit.
    """
    platform.prepare_process()
    memory = _device_memory()
    needed = per_gpu(a, Layout(), work).total
    if needed > memory:
        raise ValueError(
            f"--probe: one step takes about {needed / 1e9:,.1f} GB and the {DEVICE} here has {memory / 1e9:,.1f} GB, "
            "so it cannot be timed. Leave --probe out for published figures, or lower train.local_batch or mix.seq_len."
        )
    net = model.specification(a).model.build().to(DEVICE)
    net.init_states()
    criterion = loss.chunked(1, work.seq_len).build()
    criterion.set_lm_head(net.lm_head)
    net._skip_lm_head = True
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-6, fused=True)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(a.vocab, (work.batch, work.seq_len), generator=generator).to(DEVICE)
    positions = torch.arange(work.seq_len, device=DEVICE).expand(work.batch, -1)
    masks = net.get_attention_masks(positions=positions)

    def step() -> float:
        started = time.perf_counter()
        criterion.loss_fn.begin(torch.zeros(work.batch, dtype=torch.int64, device=DEVICE))
        with torch.autocast(DEVICE, torch.bfloat16, enabled=work.element == 2):
            hidden = net(tokens, positions=positions, attention_masks=masks)
            value, _ = criterion(hidden, tokens, torch.tensor(float(tokens.numel()), device=DEVICE))
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if DEVICE != "cpu":
            torch.accelerator.synchronize()
        return time.perf_counter() - started

    seconds = [step() for _ in range(WARM_UP + TIMED)][WARM_UP:]
    return Probe(
        work.batch * work.seq_len / sorted(seconds)[TIMED // 2], platform.describe_device(1), DEVICE == "cpu", seconds
    )


def _device_memory() -> int:
    from torchtitan.tools import utils

    return int(utils.device_module.get_device_properties(0).total_memory)
