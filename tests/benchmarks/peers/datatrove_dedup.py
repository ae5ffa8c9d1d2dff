"""datatrove_dedup.py IN.parquet OUT.parquet split|eng: near-duplicates by datatrove's four stages, one process.

Words are those of str.split, or spaCy's for English as datatrove has it by default.
"""

import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils.hashing import HashConfig
from loguru import logger

sys.path.insert(0, str(Path(__file__).parents[1]))
from words import Split

source, target, words = Path(sys.argv[1]), sys.argv[2], Split() if sys.argv[3] == "split" else sys.argv[3]
logger.remove()
with tempfile.TemporaryDirectory() as work:
    start = time.perf_counter()
    config = MinhashConfig(hash_config=HashConfig(precision=64), num_buckets=14, hashes_per_bucket=8)
    read = ParquetReader(str(source.parent), glob_pattern=source.name)
    passes = [
        ([read, MinhashDedupSignature(output_folder=f"{work}/sig", config=config, language=words)], 1),
        ([MinhashDedupBuckets(input_folder=f"{work}/sig", output_folder=f"{work}/buckets", config=config)], 14),
        ([MinhashDedupCluster(input_folder=f"{work}/buckets", output_folder=f"{work}/remove", config=config)], 1),
        ([read, MinhashDedupFilter(input_folder=f"{work}/remove"), ParquetWriter(output_folder=f"{work}/out")], 1),
    ]
    for number, (steps, tasks) in enumerate(passes):
        executor = LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=f"{work}/logs/{number}")
        with contextlib.redirect_stderr(io.StringIO()):
            executor.run()
    seconds = time.perf_counter() - start
    pq.write_table(pq.read_table(f"{work}/out", columns=["id"]), target)
print(json.dumps({"seconds": seconds}))
