"""loader_datasets.py FOLDER SECONDS map|iterable: Hugging Face's interleave_datasets in a DataLoader."""

import sys

import datasets
import pyarrow as pa
import torch
from loader_rows import BATCH, FOLDER, POOLS, collate, rows, serve

datasets.disable_progress_bars()


def pool(name: str) -> datasets.Dataset:
    """A pool as a memory-mapped Arrow file."""
    path, tokens = FOLDER / f"{name}.arrow", rows(name)
    if not path.exists():
        column = pa.FixedSizeListArray.from_arrays(pa.array(tokens.reshape(-1)), tokens.shape[1])
        table = pa.table({"tokens": column})
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=1000)
    return datasets.Dataset.from_file(str(path)).with_format("numpy")


pools = [pool(name) for name in POOLS]
if sys.argv[3] == "iterable":
    pools = [one.to_iterable_dataset(num_shards=4).shuffle(seed=0, buffer_size=100) for one in pools]
else:
    pools = [one.shuffle(seed=0) for one in pools]
mixed = datasets.interleave_datasets(
    pools, probabilities=list(POOLS.values()), seed=0, stopping_strategy="all_exhausted"
)
loader = torch.utils.data.DataLoader(
    mixed, batch_size=BATCH, drop_last=True, collate_fn=lambda items: collate([item["tokens"] for item in items])
)


def again():
    """Batches without end."""
    while True:
        yield from loader


serve(again)
