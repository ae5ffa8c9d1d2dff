"""loader_grain.py FOLDER SECONDS array_record|memory_map THREADS: grain's MapDataset.mix, batched, prefetched.

array_record is grain's own file format; the memory map is the same rows as a numpy source, which spares it decoding.
"""

import sys

import grain
import numpy as np
from grain import experimental
from loader_rows import BATCH, FOLDER, POOLS, collate, rows, serve


class MemoryMap:
    """Rows of a pool as a random-access source."""

    def __init__(self, pool: str) -> None:
        self.rows = rows(pool)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.rows[row]


def array_record(pool: str) -> grain.MapDataset:
    """Rows of a pool in an ArrayRecord file, one a record and a group, as grain asks for shuffled reading."""
    from array_record.python.array_record_module import ArrayRecordWriter

    path = FOLDER / f"{pool}.array_record"
    if not path.exists():
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for row in rows(pool):
            writer.write(row.tobytes())
        writer.close()
    return grain.MapDataset.source(grain.sources.ArrayRecordDataSource(str(path)))


def pool(name: str, seed: int) -> grain.MapDataset:
    """A pool shuffled and repeated."""
    if sys.argv[3] == "array_record":
        return array_record(name).seed(seed).shuffle().repeat().map(lambda record: np.frombuffer(record, np.uint16))
    return grain.MapDataset.source(MemoryMap(name)).seed(seed).shuffle().repeat()


mixed = grain.MapDataset.mix([pool(name, seed) for seed, name in enumerate(POOLS)], weights=list(POOLS.values()))
read = mixed.to_iter_dataset(grain.ReadOptions(num_threads=int(sys.argv[4])))
stream = read.batch(BATCH, drop_remainder=True, batch_fn=collate)
if int(sys.argv[4]):
    stream = experimental.ThreadPrefetchIterDataset(stream, prefetch_buffer_size=2)
serve(lambda: stream)
