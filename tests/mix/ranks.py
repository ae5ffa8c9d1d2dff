"""What every number of ranks has to see of a plan."""

import numpy as np

from mix.plan import Plan


def check_ranks(plan: Plan, step: int, batch: int = 96) -> None:
    """The slices of a global batch, put together, are that batch at every world size."""
    whole = plan.rows(step * batch, batch)
    for world in (1, 2, 3, 4, 8, 32):
        size = batch // world
        slices = [plan.rows(step * batch + rank * size, size) for rank in range(world)]
        for name in ("source", "row", "epoch"):
            assert np.concatenate([getattr(part, name) for part in slices]).tolist() == getattr(whole, name).tolist()
