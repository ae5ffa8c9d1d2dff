"""text_dedup_minhash.py IN.parquet OUT.parquet: near-duplicates by text-dedup's command, its fastest hash, one process.

Its caches go into a folder that is removed, so that every call does the work.
"""

import json
import os
import sys
import tempfile
import time

folder = tempfile.TemporaryDirectory()
os.environ |= {"HF_HOME": folder.name, "TQDM_DISABLE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}

import pyarrow.parquet as pq  # noqa: E402
from datasets import load_from_disk  # noqa: E402
from text_dedup.minhash import main  # noqa: E402

start = time.perf_counter()
keys = {
    "path": "parquet",
    "data_files": sys.argv[1],
    "split": "train",
    "cache_dir": f"{folder.name}/cache",
    "output": f"{folder.name}/out",
    "column": "text",
    "num_proc": 1,
    "ngram": 5,
    "min_length": 0,
    "num_perm": 112,
    "b": 14,
    "r": 8,
    "hash_func": "xxh3",
    "hash_bits": 32,
}
main([part for key, value in keys.items() for part in (f"--{key}", str(value))], standalone_mode=False)
pq.write_table(load_from_disk(f"{folder.name}/out").select_columns(["id"]).data.table, sys.argv[2])
print(json.dumps({"seconds": time.perf_counter() - start}))
