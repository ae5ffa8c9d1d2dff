"""loader_litdata.py FOLDER SECONDS: litdata's CombinedStreamingDataset over its TokensLoader format."""

import litdata
import torch
from litdata.streaming.item_loader import TokensLoader
from litdata.streaming.writer import BinaryWriter
from loader_rows import BATCH, FOLDER, POOLS, collate, rows, serve


def pool(name: str) -> litdata.StreamingDataset:
    """A pool in chunks of 64 MB, shuffled."""
    folder, tokens = FOLDER / f"{name}.litdata", rows(name)
    if not folder.exists():
        folder.mkdir()
        writer = BinaryWriter(str(folder), chunk_bytes=1 << 26, item_loader=TokensLoader(block_size=tokens.shape[1]))
        for index, row in enumerate(tokens):
            writer[index] = torch.from_numpy(row.astype("int32"))
        writer.done()
        writer.merge()
    loader = TokensLoader(block_size=tokens.shape[1])
    return litdata.StreamingDataset(str(folder), item_loader=loader, shuffle=True, drop_last=True)


mixed = litdata.CombinedStreamingDataset(
    [pool(name) for name in POOLS], weights=list(POOLS.values()), seed=1, iterate_over_all=False
)
loader = litdata.StreamingDataLoader(mixed, batch_size=BATCH, num_workers=0, collate_fn=collate)


def again():
    """Batches without end."""
    while True:
        yield from loader


serve(again)
