"""What the peers' loader scripts share: the rows they read, positions and labels derived in numpy, the clock.

A script is called as `loader_X.py FOLDER SECONDS ...` and measures once for each line it reads: `tokens` or `full`.
FOLDER has domain.npy and replay.npy, uint16 [rows, L], documents ended by the id END. The peer's own format is written
beside them before the first measurement.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

torch.set_num_threads(1)
FOLDER, SECONDS = Path(sys.argv[1]), float(sys.argv[2])
POOLS = {"domain": 0.8, "replay": 0.2}
BATCH, END = 8, 0
wanted = "tokens"
"""Or "full": positions and labels too."""


def rows(pool: str) -> np.ndarray:
    """uint16 [rows, L], memory-mapped."""
    return np.load(FOLDER / f"{pool}.npy", mmap_mode="r").view(np.ndarray)


def collate(items: list) -> tuple[torch.Tensor, ...]:
    """Rows [L] of any integer type as int64 [B, L]: tokens, and where asked for positions and labels."""
    return finish(torch.from_numpy(np.stack(items, dtype=np.int64)))


def finish(tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """int64 [B, L] -> the same; where wanted with positions that begin again after END and labels that stop there."""
    if wanted == "tokens":
        return (tokens,)
    ids = tokens.numpy()
    labels = np.full_like(ids, -100)
    np.copyto(labels[:, :-1], ids[:, 1:], where=ids[:, :-1] != END)
    places = np.arange(ids.shape[1])
    begins = np.zeros_like(ids)
    np.copyto(begins[:, 1:], places[1:], where=ids[:, :-1] == END)
    positions = places - np.maximum.accumulate(begins, axis=1)
    return tokens, torch.from_numpy(positions), torch.from_numpy(labels)


def serve(batches: Callable[[], Iterable]) -> None:
    """Answer each line read with the seconds a batch takes."""
    global wanted
    for line in sys.stdin:
        wanted = line.strip()
        print(json.dumps({"seconds": measure(iter(batches()))}), flush=True)


def measure(stream: Iterator) -> float:
    """Seconds a batch after the first 3, over as many as fit into SECONDS."""
    for _ in range(3):
        first = next(stream)
    assert len(first) == (1 if wanted == "tokens" else 3)
    for array in first:
        assert array.dtype == torch.int64 and array.shape == (BATCH, rows("domain").shape[1]), (
            array.dtype,
            array.shape,
        )
    count, start = 0, time.perf_counter()
    while (taken := time.perf_counter() - start) < SECONDS:
        next(stream)
        count += 1
    return taken / count
