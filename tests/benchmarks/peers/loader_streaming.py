"""loader_streaming.py FOLDER SECONDS: MosaicML's StreamingDataset over MDS, two streams by proportion."""

import warnings

import torch

# streaming imports torchvision for its image sets. The registry's torchvision is built for CUDA, and beside a CPU torch
# its import stops at operators that its library would have declared. No image operator is used here.
for operator in ("nms", "qnms"):
    torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
warnings.filterwarnings("ignore")

import streaming  # noqa: E402
from loader_rows import BATCH, FOLDER, POOLS, collate, rows, serve  # noqa: E402
from streaming.base.util import clean_stale_shared_memory  # noqa: E402


def stream(name: str, share: float) -> streaming.Stream:
    """A pool in shards of 64 MB."""
    folder, tokens = FOLDER / f"{name}.mds", rows(name)
    if not folder.exists():
        columns = {"tokens": f"ndarray:uint16:{tokens.shape[1]}"}
        with streaming.MDSWriter(out=str(folder), columns=columns, size_limit=1 << 26) as writer:
            for row in tokens:
                writer.write({"tokens": row})
    return streaming.Stream(local=str(folder), proportion=share)


clean_stale_shared_memory()
mixed = streaming.StreamingDataset(
    streams=[stream(name, share) for name, share in POOLS.items()],
    epoch_size=1_000_000,
    batch_size=BATCH,
    shuffle=True,
    num_canonical_nodes=1,
    batching_method="random",
)
loader = streaming.StreamingDataLoader(
    mixed, batch_size=BATCH, num_workers=0, collate_fn=lambda items: collate([item["tokens"] for item in items])
)
serve(lambda: loader)
