"""The rows of the mixture as torchtitan's data loader.

Which row stands at global position g is a function of the plan alone, so the whole state is the number of rows that
all ranks together have consumed. World size does not enter it: at any number of ranks the global batch of a step is
the same set of rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import train.platform  # noqa: F401  (before torchtitan)
from mix.loader import Loader

# isort: split
from torchtitan.components.dataloader import BaseDataLoader


class MixtureLoader(BaseDataLoader):
    """Batches of one rank: ({"input", "positions": [B, L], "pool": [B]}, labels [B, L])."""

    @dataclass(kw_only=True, slots=True)
    class Config(BaseDataLoader.Config):
        """Where the mixture is."""

        run: str = ""
        """Run folder with mixture.json and packed/."""

    def __init__(self, config: Config, *, dp_world_size: int, dp_rank: int, local_batch_size: int, **_: Any):
        self.source = Loader(Path(config.run))
        self.rows = 0
        """Rows of the plan that all ranks together have consumed."""
        self._world, self._rank, self._batch = dp_world_size, dp_rank, local_batch_size

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        """Batches without end, from the row after the last consumed one."""
        while True:
            batch = self.source.batch(self.rows + self._rank * self._batch, self._batch)
            self.rows += self._world * self._batch
            inputs = {"input": batch.inputs, "positions": batch.positions, "pool": batch.pool}
            yield {name: torch.as_tensor(array) for name, array in inputs.items()}, torch.as_tensor(batch.labels)

    def state_dict(self) -> dict[str, Any]:
        """Rows consumed and the plan they were taken from."""
        return {"rows": self.rows, "plan": self.source.identity}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the rows consumed. Raises ValueError where the plan is another one."""
        if not state_dict:
            return
        if state_dict["plan"] != self.source.identity:
            raise ValueError(
                "mixture.json: is not the plan that the checkpoint was made with, so its rows cannot be gone on with. "
                "Choose another --run name, or build the mixture as it was."
            )
        self.rows = state_dict["rows"]
