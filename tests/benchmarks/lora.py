"""LoRA and DoRA against training all weights: parameters that learn, memory by part, tokens/s.

    python tests/benchmarks/lora.py [--model pipelines/models/tiny-llama] [--rows 4] [--seq-len 256]

Each contender is a process of its own, forked with everything imported, one thread: the trainer's model, loss and AdamW
on random rows of one document each. States are counted exactly; the peak is what the process grew by while it trained.
All take turns, medians of five rounds.
"""

import argparse
import multiprocessing
import os
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from timing import report

CONTENDERS: dict[str, dict[str, Any]] = {
    "all weights": {},
    "LoRA, rank 8": {"lora_rank": 8},
    "LoRA, rank 64": {"lora_rank": 64},
    "LoRA, rank 8, q_proj and v_proj": {"lora_rank": 8, "lora_modules": ["q_proj", "v_proj"]},
    "DoRA, rank 8": {"lora_rank": 8, "dora": True},
    "all weights, 500 new tokens": {"new": 500},
    "LoRA, rank 8, 500 new tokens": {"lora_rank": 8, "new": 500},
}
ROUNDS, WARM_UP, STEPS = 5, 1, 3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("pipelines/models/tiny-llama"))
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--seq-len", type=int, default=256)
    options = parser.parse_args()
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    os.environ["OMP_NUM_THREADS"] = "1"
    from train import lora  # noqa: F401  (before the processes part)

    context = multiprocessing.get_context("fork")
    for _ in range(ROUNDS):
        for name, keys in CONTENDERS.items():
            with context.Pool(1) as pool:  # a new process: its peak is its own
                taken[name].append(pool.apply(measure, (options.model, options.rows, options.seq_len, keys)))
    rows = {
        name: {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        for name, rounds in taken.items()
    }
    report("lora", f"{options.model}, {options.rows} rows of {options.seq_len} tokens, float32", rows)


def measure(folder: Path, batch: int, seq_len: int, keys: dict[str, Any]) -> dict[str, float]:
    """Figures of a few steps of one contender."""
    import torch

    from train import architecture, lora, loss, model, platform
    from train.keys.lora import LoraKeys

    platform.prepare_process()
    new = keys.get("new", 0)
    shape = architecture.read(folder)
    base_rows, shape = shape.vocab, architecture.read(folder, vocab=shape.vocab + new)
    asked = LoraKeys.model_validate({key: value for key, value in keys.items() if key != "new"})
    before = peak()
    net = lora.adapted(model.specification(shape), asked, range(base_rows, base_rows + new)).model.build()
    net.init_states()
    criterion = loss.chunked(1, seq_len).build()
    criterion.set_lm_head(net.lm_head)
    net._skip_lm_head = True
    learning = [one for one in net.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-6, fused=True)
    tokens = torch.randint(shape.vocab, (batch, seq_len), generator=torch.Generator().manual_seed(0))
    positions = torch.arange(seq_len).expand(batch, -1)
    masks = net.get_attention_masks(positions=positions)
    seconds = []
    for _ in range(WARM_UP + STEPS):
        started = time.perf_counter()
        criterion.loss_fn.begin(torch.zeros(batch, dtype=torch.int64))
        hidden = net(tokens, positions=positions, attention_masks=masks)
        criterion(hidden, tokens, torch.tensor(float(tokens.numel())))[0].backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        gradients = sum(one.grad.nbytes for one in learning if one.grad is not None)
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - started)
    moments = sum(value.nbytes for state in optimizer.state.values() for value in state.values())
    weights = sum(one.nbytes for one in net.parameters())
    assert sum(one.numel() for one in learning) == lora.trained_parameters(shape, asked, new)
    return {
        "parameters": sum(one.numel() for one in net.parameters()),
        "that learn": sum(one.numel() for one in learning),
        "weights MB": weights / 1e6,
        "gradients MB": gradients / 1e6,
        "optimizer MB": moments / 1e6,
        "states MB": (weights + gradients + moments) / 1e6,
        "peak MB": (peak() - before) / 1e6,
        "tokens/s": tokens.numel() / statistics.median(seconds[WARM_UP:]),
    }


def peak() -> int:
    """Bytes this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
