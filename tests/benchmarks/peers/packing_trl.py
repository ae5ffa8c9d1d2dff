"""packing_trl.py LENGTHS.npy SEQ_LEN truncate|split: TRL's best-fit-decreasing over documents of these lengths."""

import json
import sys
import time

import numpy as np
import pyarrow as pa
from trl.data_utils import _pack_bfd

lengths, seq_len, overflow = np.load(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
offsets = np.concatenate([[0], np.cumsum(lengths)])
assert offsets[-1] < 1 << 31
tokens = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(np.zeros(offsets[-1], np.int8)))
table = pa.table({"input_ids": tokens})
start = time.perf_counter()
packed = _pack_bfd(table, seq_len, overflow)
seconds = time.perf_counter() - start
lost = int(lengths.sum()) - len(packed["input_ids"].combine_chunks().flatten())
cut = int((lengths > seq_len).sum()) if overflow == "split" else 0
print(json.dumps({"seconds": seconds, "rows": len(packed), "lost": lost, "cut": cut}))
