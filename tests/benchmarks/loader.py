"""Loading batches of 8 x 4096 tokens, one process, page cache warm: million tokens a second, and the mixture's error.

    python tests/benchmarks/loader.py [--batches 300]

Ours gives input, labels and positions; the peers give tokens only (torch's DataLoader over a memory map, without
mixing; Hugging Face datasets, interleaved by probability). The limit is what numpy needs to write the three int64
arrays from one uint16 array that lies in the cache.
"""

import argparse
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from timing import interleaved, report

ROWS, SEQ_LEN, BATCH = 4000, 4096, 8
SHARES = (Fraction(4, 5), Fraction(1, 5))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        contenders: dict[str, Callable[[], Any]] = {
            "palimpsest: input, labels, positions": ours(Path(name), options.batches),
            "torch DataLoader over a memory map, no mixing": memory_map(Path(name), options.batches),
            "datasets interleaved, map-style": hugging_face(Path(name), options.batches),
            "limit: three int64 arrays from uint16": limit(options.batches),
        }
        taken = interleaved(contenders, options.rounds)
    tokens = options.batches * BATCH * SEQ_LEN
    rows = {
        name: {"Mtok/s": tokens / one["median_s"] / 1e6, "first": tokens / one["first_s"] / 1e6}
        for name, one in taken.items()
    }
    report("loader", f"{options.batches} batches of {BATCH} x {SEQ_LEN} tokens, 0.8 / 0.2", rows)


def ours(folder: Path, batches: int) -> Callable[[], None]:
    """Batches of a plan over shards written here, documents of about 500 tokens."""
    from mix.loader import Loader
    from mix.pack import pack
    from mix.plan import Plan, Pool, ShardFile, Source
    from mix.shards import Header, write_shards

    pools = []
    for name, share, rows in (("domain", SHARES[0], ROWS), ("replay", SHARES[1], ROWS // 4)):
        rng = np.random.default_rng(len(name))
        lengths = rng.integers(100, 900, rows * SEQ_LEN // 500)
        ids = rng.integers(0, 50_000, int(lengths.sum()), np.uint16)
        (folder / name).mkdir()
        header = Header("made", 50_000, SEQ_LEN, name, "made")
        written = write_shards(folder / name, header, pack(lengths, SEQ_LEN), ids, lengths, 0)
        shards = tuple(ShardFile(f"{name}/{path.name}", count, "made") for path, count in written)
        packed = sum(count for _, count in written)
        pools.append(Pool(name, share, (Source("made", packed, len(ids), len(lengths), 0, shards),)))
    loader = Loader(Plan(0, SEQ_LEN, "made", 50_000, tuple(pools)), folder, BATCH)
    loader.batch(0, BATCH)  # compiles

    def run() -> None:
        for step in range(batches):
            loader.batch(step * BATCH, BATCH)

    return run


def memory_map(folder: Path, batches: int) -> Callable[[], None]:
    """torch's DataLoader with a random sampler."""
    import torch

    torch.set_num_threads(1)
    path = folder / "tokens.bin"
    np.random.default_rng(0).integers(0, 50_000, ROWS * SEQ_LEN, np.uint16).tofile(path)

    class Rows(torch.utils.data.Dataset):
        tokens = np.memmap(path, np.uint16, "r").reshape(-1, SEQ_LEN)

        def __len__(self) -> int:
            return ROWS

        def __getitem__(self, row: int) -> torch.Tensor:
            return torch.from_numpy(self.tokens[row].astype(np.int64))

    def run() -> None:
        loader = torch.utils.data.DataLoader(Rows(), batch_size=BATCH, shuffle=True)
        for _, _batch in zip(range(batches), loader, strict=False):
            pass

    return run


def hugging_face(folder: Path, batches: int) -> Callable[[], None]:
    """datasets.interleave_datasets by probability, in torch's DataLoader."""
    import datasets
    import torch

    datasets.disable_progress_bars()
    rng = np.random.default_rng(0)
    pools = [
        datasets.Dataset.from_dict({"tokens": list(rng.integers(0, 50_000, (rows, SEQ_LEN), np.uint16))})
        for rows in (ROWS // 4, ROWS // 16)
    ]
    mixed = datasets.interleave_datasets(
        [pool.with_format("torch") for pool in pools],
        probabilities=[float(share) for share in SHARES],
        seed=0,
        stopping_strategy="all_exhausted",
    )

    def run() -> None:
        done = 0
        while done < batches:
            for _batch in torch.utils.data.DataLoader(mixed, batch_size=BATCH):
                done += 1
                if done == batches:
                    break

    return run


def limit(batches: int) -> Callable[[], None]:
    """Widen the same tokens into three fresh arrays."""
    tokens = np.ones((BATCH, SEQ_LEN), np.uint16)

    def run() -> None:
        for _ in range(batches):
            for _array in range(3):
                np.copyto(np.empty((BATCH, SEQ_LEN), np.int64), tokens)

    return run


if __name__ == "__main__":
    main()
