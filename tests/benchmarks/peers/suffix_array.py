"""suffix_array.py IN.parquet OUT.npy BYTES: bytes that stood before in a span of at least BYTES, by a suffix array.

The method of Lee et al. 2021 in memory: libdivsufsort's suffix array over all texts and the longest earlier match at
each position (pydivsufsort). OUT has a bool for each byte of the texts joined by zero bytes.
"""

import json
import sys
import time

import numpy as np
import polars as pl
from pydivsufsort import longest_previous_factor

source, target, least = sys.argv[1], sys.argv[2], int(sys.argv[3])
start = time.perf_counter()
data = np.frombuffer("\0".join(pl.read_parquet(source)["text"]).encode(), np.uint8).copy()
again = np.flatnonzero(np.asarray(longest_previous_factor(data)) >= least)
edges = np.zeros(len(data) + 1, np.int32)
np.add.at(edges, again, 1)
np.add.at(edges, again + least, -1)
np.save(target, np.cumsum(edges[:-1]) > 0)
print(json.dumps({"seconds": time.perf_counter() - start}))
