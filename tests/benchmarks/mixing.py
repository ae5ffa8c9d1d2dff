"""How exact a mixture of 80/20 is in each global batch of 32 rows, and its order after resuming on fewer ranks.

    python tests/benchmarks/mixing.py

1,000 global batches of 4 ranks from pools of 40,000 and 10,000 rows. Deviation: of a batch's replay share from 0.2;
6.4 rows of 32 are not to be had, so .0125 is the least possible and the mean of the best whole numbers is .015.
Within one row: share of batches with 6 or 7 replay rows. Cumulative: deviation of all batches together. Resume: cut
off after 50 batches and resumed on 2 ranks, against the uninterrupted run's next 50 batches. Peers run in
environments of their own.
"""

import argparse
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import peers
from loader import PEERS, TORCH
from timing import report

from mix.loader import Loader
from mix.pack import pack
from mix.plan import Plan, Pool, ShardFile, Source
from mix.shards import Header, write_shards

SEQ_LEN, BATCH, BATCHES, RANKS = 8, 32, 1000, 4
POOLS = {"domain": (Fraction(4, 5), 40_000), "replay": (Fraction(1, 5), 10_000)}
CONTENDERS = {
    "torchtitan interleaved": ("torchtitan", "torchtitan interleaved", ()),
    "datasets interleaved, iterable": ("datasets", "datasets, iterable", ()),
    "litdata combined, 1 rank": ("litdata", "litdata", ()),
    "MosaicML streaming random, 1 rank": ("streaming", "MosaicML streaming", ("random",)),
    "MosaicML streaming stratified, 1 rank": ("streaming", "MosaicML streaming", ("stratified",)),
    "grain mix, one stream": ("grain", "grain, memory map", ()),
}
"""Name -> script, environment as in loader.PEERS, arguments."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = {"palimpsest": figures(*ours(Path(folder)))}
    for name, (script, environment, arguments) in CONTENDERS.items():
        _, requirements, _ = PEERS[environment]
        try:
            interpreter = peers.python(script, *requirements, TORCH)
        except subprocess.CalledProcessError as error:
            print(f"{name}: left out, its environment cannot be made: {error}", file=sys.stderr)
            continue
        found: dict[str, Any] = peers.call(
            interpreter, Path(__file__).parent / "peers" / f"mixing_{script}.py", *arguments
        )
        rows[name] = figures(np.array(found["shares"]), found["resume"])
    report("mixing", f"replay share of {BATCHES} global batches of {BATCH} rows, 0.2 wanted", rows)


def figures(shares: np.ndarray, resume: str) -> dict[str, Any]:
    """A row of the table from the replay share of each batch."""
    deviation = abs(shares - 0.2)
    return {
        "mean": float(deviation.mean()),
        "max": float(deviation.max()),
        "within one row": f"{np.mean(deviation * BATCH < 1):.1%}",
        "cumulative": float(shares.mean() - 0.2),
        "resume on 2 ranks": resume,
    }


def ours(folder: Path) -> tuple[np.ndarray, str]:
    """Replay shares of the batches of RANKS loaders, and whether every other number of ranks goes on in their order."""
    pools = []
    for name, (share, rows) in POOLS.items():
        lengths = np.full(rows, SEQ_LEN)
        header = Header("made", 10, SEQ_LEN, name, "made")
        ids = np.zeros(rows * SEQ_LEN, np.uint16)
        written = write_shards(folder / name, header, pack(lengths, SEQ_LEN), ids, lengths, 0)
        shards = tuple(ShardFile(f"{name}/{path.name}", size, "made") for path, size in written)
        pools.append(Pool(name, share, (Source("made", rows, len(ids), rows, 0, shards),)))
    plan = Plan(0, SEQ_LEN, "made", 10, tuple(pools))

    def order(world: int, begin: int, batches: int) -> np.ndarray:
        """[batches, BATCH, 3]: source, row and epoch as `world` loaders give them from global batch `begin` on."""
        state = Loader(plan, folder, BATCH).state(begin * BATCH)
        loaders = [Loader(plan, folder, BATCH, rank, world) for rank in range(world)]
        streams = [loader.batches(loader.resume(state), BATCH) for loader in loaders]
        parts = [np.concatenate([triples(next(stream)) for stream in streams]) for _ in range(batches)]
        return np.stack(parts)

    whole = order(RANKS, 0, BATCHES)
    same = all(np.array_equal(order(world, 50, 50), whole[50:100]) for world in (1, 2, 8, 32))
    return (whole[:, :, 0] == 1).mean(1), "same order; also on 1, 8, 32" if same else "other rows"


def triples(batch: Any) -> np.ndarray:
    """[rows, 3]: source, row and epoch."""
    return np.stack([batch.source, batch.row, batch.epoch], 1)


if __name__ == "__main__":
    main()
