"""rensa_dedup.py IN.parquet OUT.parquet: near-duplicates by rensa's own deduplicator, words by a regular expression."""

import json
import re
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
from rensa import RMinHash, RMinHashDeduplicator

WORD, NUMBER = re.compile(r"\w+"), re.compile(r"\d+")


def shingles(text: str) -> list[str]:
    """Its word 5-grams, case and numbers folded."""
    words = WORD.findall(NUMBER.sub("0", text.lower()))
    return [" ".join(words[k : k + 5]) for k in range(max(len(words) - 4, min(len(words), 1)))]


start = time.perf_counter()
documents = pq.read_table(sys.argv[1])
texts = documents["text"].to_pylist()
seen = RMinHashDeduplicator(threshold=0.72, num_perm=112, use_lsh=True, num_bands=14)
kept = []
for first in range(0, len(texts), 2000):
    sets = [shingles(text) for text in texts[first : first + 2000]]
    for number, minhash in enumerate(RMinHash.from_token_sets(sets, 112, 42), first):
        kept.append(not sets[number - first] or seen.add(str(number), minhash))
pq.write_table(documents.select(["id"]).filter(pa.array(kept)), sys.argv[2])
print(json.dumps({"seconds": time.perf_counter() - start}))
