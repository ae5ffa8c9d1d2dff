"""datatrove_filters.py IN.parquet OUT.parquet ours|split|eng: what datatrove's quality filters decide, one process.

Every filter decides on every document; OUT has a column a filter, the reason or null. Words are ours, those of
str.split, or spaCy's for English as datatrove has it by default.
"""

import json
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))
from quality_filters import Words, decide, filters
from words import Split

source, target, name = sys.argv[1:]
texts = pq.read_table(source, columns=["text"])["text"].to_pylist()
chosen = filters({"ours": Words(), "split": Split()}.get(name, name))
for one in chosen.values():  # loads spaCy before the clock starts
    decide(one, "One two three. " * 30)
decided: dict[str, list[str | None]] = {key: [] for key in chosen}
start = time.perf_counter()
for text in texts:
    for key, one in chosen.items():
        decided[key].append(decide(one, text)[0])
seconds = time.perf_counter() - start
pq.write_table(pa.table({key: pa.array(found, pa.string()) for key, found in decided.items()}), target)
print(json.dumps({"seconds": seconds}))
