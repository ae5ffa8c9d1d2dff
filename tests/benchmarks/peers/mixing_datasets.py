"""mixing_datasets.py: Hugging Face's interleave_datasets, iterable, split by rank with split_dataset_by_node."""

import datasets
from datasets.distributed import split_dataset_by_node
from mixing_rows import AFTER, BATCHES, CUT, FEWER, POOLS, RANKS, ROWS, compare, take, tell

datasets.disable_progress_bars()
pools = [datasets.Dataset.from_dict({"row": list(ROWS[pool])}) for pool in POOLS]


def ranks(world: int) -> list[datasets.IterableDataset]:
    """The mixture as each rank sees it."""
    mixed = datasets.interleave_datasets(
        [pool.to_iterable_dataset() for pool in pools],
        probabilities=list(POOLS.values()),
        seed=0,
        stopping_strategy="all_exhausted",
    )
    return [split_dataset_by_node(mixed, rank, world) for rank in range(world)]


def rows(dataset: datasets.IterableDataset):
    """Its rows one after the other."""
    for item in dataset:
        yield item["row"]


def resumed() -> list[list[int]]:
    """Cut off and resumed on fewer ranks, each with the state of the old rank of its number."""
    first = ranks(RANKS)
    take([rows(one) for one in first], CUT)
    fewer = ranks(FEWER)
    for one, old in zip(fewer, first, strict=False):
        one.load_state_dict(old.state_dict())
    return take([rows(one) for one in fewer], AFTER)


whole = take([rows(one) for one in ranks(RANKS)], BATCHES)
tell(whole, compare(whole, resumed))
