"""The rows of the mixture as torchtitan's data loader.

Which row stands at global position g is a function of the plan alone, so the whole state is the number of rows that
all ranks together have consumed. World size does not enter it: at any number of ranks the global batch of a step is
the same rows in the same order. A roll-back goes on with later rows; the journal says which (mix/journal.py).
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import train.platform  # noqa: F401  (before torchtitan)
from mix.loader import Loader, numpy_empty
from mix.plan_file import read_plan

# isort: split
from torchtitan.components.dataloader import BaseDataLoader

POOLS = ("domain", "replay")
"""Pools by the index that rows carry."""


class MixtureLoader(BaseDataLoader):
    """Batches of one rank: ({"input", "positions": [B, L], "pool": [B]}, labels [B, L])."""

    @dataclass(kw_only=True, slots=True)
    class Config(BaseDataLoader.Config):
        """Where the mixture is, and how much of it makes a step."""

        run: str
        """Run folder with mixture.json and packed/."""
        global_batch: int
        """Rows of a step over all ranks."""

    def __init__(self, config: Config, *, dp_world_size: int, dp_rank: int, local_batch_size: int, **_: Any):
        run = Path(config.run)
        plan = read_plan(run / "mixture.json")
        # Pinned memory comes from torch's caching allocator: it gives a block out again only when no tensor lies in it
        # any more and every copy to a device that was begun from it has ended. The tensors are handed out themselves,
        # not made from numpy views, because it knows a copy by the tensor's storage.
        pinned = partial(torch.empty, dtype=torch.int64, pin_memory=True)
        empty = pinned if torch.cuda.is_available() else numpy_empty
        self.source = Loader(plan, run / "packed", config.global_batch, dp_rank, dp_world_size, empty)
        self.rows = 0
        """Rows of the plan that all ranks together have consumed, or skipped by a roll-back."""
        self._local_batch = local_batch_size
        self._pool = np.array([POOLS.index(pool.name) for pool, _ in plan.sources], np.int64)

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        """Batches without end, from the step after the rows consumed; a thread gathers the next ones meanwhile."""
        while True:
            plan = self.source.plan
            with closing(self.source.batches(self.rows, self._local_batch)) as batches:
                for batch in batches:
                    # Counted before it is handed out: after the last one of a step the state is that of the whole step.
                    self.rows += len(batch.row) * self.source.world
                    handed_out = self.rows
                    arrays = {"input": batch.input, "positions": batch.positions, "pool": self._pool[batch.source]}
                    yield {name: _tensor(array) for name, array in arrays.items()}, _tensor(batch.labels)
                    # What is gathered already was dealt by the plan before, or stands before rows that are skipped.
                    if self.source.plan is not plan or self.rows != handed_out:
                        break

    def change(self, first_row: int, shares: dict[str, Any]) -> None:
        """From `first_row` on, at or after the rows handed out, the pools have these shares (Plan.with_change)."""
        self.source.plan = self.source.plan.with_change(first_row, shares)

    def forget_changes(self) -> None:
        """Deal by the plan as mix.build made it."""
        self.source.plan = self.source.plan.base

    def state_dict(self) -> dict[str, Any]:
        """Rows consumed and the plan they were taken from."""
        return self.source.state(self.rows)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the rows consumed. Raises ValueError where the plan is another one."""
        self.rows = self.source.resume(state_dict)


def _tensor(array: np.ndarray | torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(array) if isinstance(array, np.ndarray) else array
