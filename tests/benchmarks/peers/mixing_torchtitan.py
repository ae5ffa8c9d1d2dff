"""mixing_torchtitan.py: torchtitan's InterleavedDataset and ParallelAwareDataloader, one a rank, rows dealt to ranks.

The ranks share the interleaver's seed, as in torchtitan's own data loaders.
"""

import torch.distributed
from mixing_rows import AFTER, BATCH, BATCHES, CUT, FEWER, POOLS, RANKS, ROWS, compare, take, tell

if not hasattr(torch.distributed, "set_timeout"):
    # torchtitan 0.3 imports it; torch 2.13 does not have it yet
    torch.distributed.set_timeout = None  # type: ignore[attr-defined]

from torchtitan.components.dataloader import ParallelAwareDataloader
from torchtitan.hf_datasets.interleaved import InterleavedDataset


class Rows:
    """A rank's rows of a pool, without end."""

    def __init__(self, pool: str, rank: int, world: int) -> None:
        self.rows, self.at = ROWS[pool][rank::world], 0

    def __iter__(self):
        while True:
            self.at += 1
            yield self.rows[(self.at - 1) % len(self.rows)]

    def state_dict(self) -> dict[str, int]:
        """Rows given."""
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after them."""
        self.at = state["at"]


def loaders(world: int) -> list[ParallelAwareDataloader]:
    """One a rank; a batch is the rank's part of the global batch."""
    found = []
    for rank in range(world):
        mixed = InterleavedDataset([Rows(pool, rank, world) for pool in POOLS], list(POOLS.values()), seed=42)
        loader = ParallelAwareDataloader(
            mixed, dp_rank=rank, dp_world_size=world, batch_size=BATCH // world, collate_fn=list
        )
        found.append(loader)
    return found


def rows(loader: ParallelAwareDataloader):
    """Its rows one after the other."""
    for batch in loader:
        yield from batch


def resumed() -> list[list[int]]:
    """Cut off and resumed on fewer ranks."""
    first = loaders(RANKS)
    take([rows(loader) for loader in first], CUT)
    fewer = loaders(FEWER)
    for loader, old in zip(fewer, first, strict=False):
        loader.load_state_dict(old.state_dict())
    return take([rows(loader) for loader in fewer], AFTER)


whole = take([rows(loader) for loader in loaders(RANKS)], BATCHES)
tell(whole, compare(whole, resumed))
