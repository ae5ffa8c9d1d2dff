"""loader_torchtitan.py FOLDER SECONDS: torchtitan's InterleavedDataset in its ParallelAwareDataloader.

Its own sources tokenize text while they are read; these give rows that are encoded already, which is kinder to it.
"""

from collections.abc import Iterator

import numpy as np
import torch.distributed
from loader_rows import BATCH, POOLS, collate, rows, serve

if not hasattr(torch.distributed, "set_timeout"):
    # torchtitan 0.3 imports it; torch 2.13 does not have it yet
    torch.distributed.set_timeout = None  # type: ignore[attr-defined]

from torchtitan.components.dataloader import ParallelAwareDataloader
from torchtitan.hf_datasets.interleaved import InterleavedDataset


class Rows:
    """A pool's rows, shuffled anew each time round."""

    def __init__(self, pool: str, seed: int) -> None:
        self.rows, self.random, self.at = rows(pool), np.random.default_rng(seed), 0

    def __iter__(self) -> Iterator[np.ndarray]:
        while True:
            for row in self.random.permutation(len(self.rows)):
                self.at += 1
                yield self.rows[row]

    def state_dict(self) -> dict[str, int]:
        """Rows given."""
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Rows given."""
        self.at = state["at"]


mixed = InterleavedDataset([Rows(name, seed) for seed, name in enumerate(POOLS)], list(POOLS.values()), seed=0)
loader = ParallelAwareDataloader(mixed, dp_rank=0, dp_world_size=1, batch_size=BATCH, collate_fn=collate)
serve(lambda: loader)
