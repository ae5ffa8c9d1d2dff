"""datatrove_decontaminate.py IN.parquet OUT.parquet INDEX split|eng BENCH...: items by datatrove's n-gram filter.

The n-grams of queries are looked for too; INDEX is made by the first call, by the indexer's own hashing (the indexer
itself asks for lighteval). Words are those of str.split, or spaCy's for English as datatrove has it by default. OUT
holds a row a document: found.
"""

import gzip
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter, NGramsDecontIndexer
from datatrove.utils.hashing import create_hash_func
from datatrove.utils.word_tokenizers import load_word_tokenizer
from loguru import logger

sys.path.insert(0, str(Path(__file__).parents[1]))
from words import Split

source, target, folder, words = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]
logger.remove()
config = NGramsDecontConfig(find_query_ngrams=True)
tokenizer = Split() if words == "split" else load_word_tokenizer(words)
if not folder.exists():
    folder.mkdir(parents=True)
    indexer = SimpleNamespace(config=config, tokenizer=tokenizer, hash_func=create_hash_func(config.hash_config))
    for path in map(Path, sys.argv[5:]):
        hashes: set[int] = set()
        for item in map(json.loads, gzip.open(path)):
            query = f"{item['context']}\n{item['question']}"
            hashes.update(NGramsDecontIndexer.compute_hashes(indexer, item["answer_text"], query))  # type: ignore[arg-type]
        np.array(list(hashes), config.hash_config.np_descr).tofile(folder / f"{path.name}.index.hashes")
judge = NGramsDecontFilter(str(folder), config=config, language=tokenizer if words == "split" else words)  # type: ignore[arg-type]
judge.filter(Document(text="loads the index and the tokenizer", id=""))
texts = pq.read_table(source, columns=["text"])["text"].to_pylist()
start = time.perf_counter()
found = [judge.filter(Document(text=text, id="")) is not True for text in texts]
seconds = time.perf_counter() - start
pq.write_table(pa.table({"found": found}), target)
print(json.dumps({"seconds": seconds}))
