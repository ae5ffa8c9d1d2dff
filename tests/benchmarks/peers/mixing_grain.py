"""mixing_grain.py: grain's MapDataset.mix, one stream of which each rank takes every RANKS-th row."""

import grain
from mixing_rows import AFTER, BATCHES, CUT, FEWER, POOLS, RANKS, ROWS, compare, take, tell


def ranks(world: int) -> list[grain.DatasetIterator]:
    """The mixture as each rank sees it."""
    pools = [grain.MapDataset.source(list(ROWS[pool])).seed(0).shuffle().repeat() for pool in POOLS]
    mixed = grain.MapDataset.mix(pools, weights=list(POOLS.values()))
    read = grain.ReadOptions(num_threads=0)
    return [iter(mixed[rank::world].to_iter_dataset(read)) for rank in range(world)]


def resumed() -> list[list[int]]:
    """Cut off and resumed on fewer ranks, each with the state of the old rank of its number."""
    first = ranks(RANKS)
    take(first, CUT)
    fewer = ranks(FEWER)
    for one, old in zip(fewer, first, strict=False):
        one.set_state(old.get_state())
    return take(fewer, AFTER)


whole = take(ranks(RANKS), BATCHES)
tell(whole, compare(whole, resumed))
