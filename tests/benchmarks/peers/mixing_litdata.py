"""mixing_litdata.py: litdata's CombinedStreamingDataset, one rank; resuming is not tried."""

import tempfile
from itertools import islice

import litdata
from litdata.streaming.writer import BinaryWriter
from mixing_rows import BATCH, BATCHES, POOLS, ROWS, tell

with tempfile.TemporaryDirectory() as folder:
    pools = []
    for pool in POOLS:
        writer = BinaryWriter(f"{folder}/{pool}", chunk_bytes=1 << 20)
        for index, row in enumerate(ROWS[pool]):
            writer[index] = row
        writer.done()
        writer.merge()
        pools.append(litdata.StreamingDataset(f"{folder}/{pool}", shuffle=True, drop_last=True))
    mixed = litdata.CombinedStreamingDataset(pools, weights=list(POOLS.values()), seed=42, iterate_over_all=False)
    stream = iter(mixed)
    tell([list(islice(stream, BATCH)) for _ in range(BATCHES)], "not tried")
