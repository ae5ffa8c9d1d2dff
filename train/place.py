"""Where a process stands among those of a run: which rows it works on, and whether what it counts is its own."""

import train.platform  # noqa: F401  (before torchtitan)

# isort: split
from torchtitan.distributed import ParallelDims


class Place:
    """The place of this process.

    Processes that share layers (tensor parallel), the tokens of rows (context parallel) or are stages (pipeline
    parallel) see the same rows. In a sum over all processes each row and each token must come in once.
    """

    def __init__(self, dims: ParallelDims):
        self.world: int = dims.dp_replicate * dims.dp_shard
        """Groups of processes that have rows of their own."""
        self.rank: int = _rank(dims, "batch")
        """Which of those groups this process is in."""
        self.stage: int = _rank(dims, "pp")
        self.stages: int = dims.pp
        whole_layers = _rank(dims, "tp") == 0
        self.counts_tokens: bool = whole_layers and self.stage == dims.pp - 1
        """Whether this process adds what it computed per token: of those with the same tokens only one does."""
        self.counts_rows: bool = self.counts_tokens and _rank(dims, "cp") == 0
        """Whether this process adds its rows: of those with the same rows only one does."""


def _rank(dims: ParallelDims, axis: str) -> int:
    mesh = dims.get_optional_mesh(axis)
    return 0 if mesh is None else mesh.get_local_rank()
