"""mixing_streaming.py random|stratified: MosaicML's StreamingDataset, one rank; resuming is not tried."""

import sys
import tempfile
import warnings

import torch

# As in loader_streaming.py: operators that a torchvision built for CUDA does not declare beside a CPU torch.
for operator in ("nms", "qnms"):
    torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
warnings.filterwarnings("ignore")

import streaming  # noqa: E402
from mixing_rows import BATCH, BATCHES, POOLS, ROWS, tell  # noqa: E402
from streaming.base.util import clean_stale_shared_memory  # noqa: E402

clean_stale_shared_memory()
with tempfile.TemporaryDirectory() as folder:
    for pool in POOLS:
        with streaming.MDSWriter(out=f"{folder}/{pool}", columns={"row": "int"}, size_limit=1 << 20) as writer:
            for row in ROWS[pool]:
                writer.write({"row": row})
    mixed = streaming.StreamingDataset(
        streams=[streaming.Stream(local=f"{folder}/{pool}", proportion=share) for pool, share in POOLS.items()],
        epoch_size=BATCH * BATCHES,
        batch_size=BATCH,
        shuffle=True,
        num_canonical_nodes=1,
        batching_method=sys.argv[1],
    )
    rows = [item["row"] for item in mixed]
    tell([rows[first : first + BATCH] for first in range(0, len(rows), BATCH)], "not tried")
