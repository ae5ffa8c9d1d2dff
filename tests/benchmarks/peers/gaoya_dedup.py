"""gaoya_dedup.py IN.parquet OUT.parquet: near-duplicates by gaoya, which verifies its candidates as we do (.72).

A document goes if an earlier one that is kept is among those gaoya finds similar to it.
"""

import json
import sys
import time

import gaoya
import pyarrow as pa
import pyarrow.parquet as pq

start = time.perf_counter()
documents = pq.read_table(sys.argv[1])
texts = documents["text"].to_pylist()
index = gaoya.minhash.MinHashStringIndex(
    hash_size=32,
    jaccard_threshold=0.72,
    num_bands=14,
    band_size=8,
    analyzer="word",
    lowercase=True,
    ngram_range=(5, 5),
)
index.par_bulk_insert_docs(list(range(len(texts))), texts)
kept = [True] * len(texts)
for number, similar in enumerate(index.par_bulk_query(texts)):
    kept[number] = not any(other < number and kept[other] for other in similar)
pq.write_table(documents.select(["id"]).filter(pa.array(kept)), sys.argv[2])
print(json.dumps({"seconds": time.perf_counter() - start}))
