"""What the peers' mixing scripts share: pools of numbered rows, and how global batches of several ranks are told.

A script prints {"shares": replay share of each global batch, "resume": what became of the order}.
"""

import json
from collections.abc import Callable, Iterator
from itertools import islice

POOLS = {"domain": 0.8, "replay": 0.2}
BATCH, BATCHES, RANKS, FEWER = 32, 1000, 4, 2
CUT, AFTER = 50, 50
"""Global batches before the run is cut off, and compared after it."""
ROWS = {"domain": range(0, 40_000), "replay": range(100_000, 110_000)}


def take(streams: list[Iterator[int]], batches: int) -> list[list[int]]:
    """Global batches: each rank's part after the other's."""
    each = BATCH // len(streams)
    return [[row for stream in streams for row in islice(stream, each)] for _ in range(batches)]


def tell(batches: list[list[int]], resume: str) -> None:
    """Print the result."""
    shares = [sum(row >= ROWS["replay"].start for row in batch) / BATCH for batch in batches]
    print(json.dumps({"shares": shares, "resume": resume}))


def compare(whole: list[list[int]], resumed: Callable[[], list[list[int]]]) -> str:
    """What `resumed` gives after CUT batches, beside the uninterrupted run."""
    wanted = whole[CUT : CUT + AFTER]
    try:
        found = resumed()
    except Exception as error:
        return f"refused ({type(error).__name__})"
    if found == wanted:
        return "same order"
    if [sorted(batch) for batch in found] == [sorted(batch) for batch in wanted]:
        return "same rows in each batch"
    before = {row for batch in whole[:CUT] for row in batch}
    again = sum(row in before for batch in found for row in batch)
    return f"other rows, {again / AFTER / BATCH:.0%} of them seen before"
