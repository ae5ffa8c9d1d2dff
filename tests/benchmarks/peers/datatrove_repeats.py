"""datatrove_repeats.py IN.parquet OUT.parquet exact|lines WORDS: datatrove's three stages each, one process.

`exact` removes documents with the same text, `lines` lines that stood before: SentenceDedup with n_sentences 1 over
splitlines(), runs of removed lines of fewer than WORDS words kept, words by str.split.
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
from datatrove.pipeline import dedup
from datatrove.pipeline.dedup.sentence_dedup import SentDedupConfig
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils.hashing import HashConfig
from datatrove.utils.text import TextNormConfig
from loguru import logger

sys.path.insert(0, str(Path(__file__).parents[1]))
from words import Split

source, target, what, words = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
logger.remove()


def text_of(document):
    return document.text


hashes = HashConfig(precision=64)
with tempfile.TemporaryDirectory() as work:
    start = time.perf_counter()
    if what == "exact":
        config = dedup.ExactDedupConfig(content_getter=text_of, hash_config=hashes)
        first = dedup.ExactDedupSignature(output_folder=f"{work}/sig", config=config)
        find = dedup.ExactFindDedups(data_folder=f"{work}/sig", output_folder=f"{work}/found", config=config)
        remove = dedup.ExactDedupFilter(data_folder=f"{work}/found", config=config)
    else:
        plain = TextNormConfig(lowercase=False, remove_punctuation=False, norm_unicode_diacritics=False,
                               norm_numbers=False, norm_weekdays=False, norm_monthnames=False)  # fmt: skip
        config = SentDedupConfig(
            n_sentences=1, split_sentences=False, min_doc_words=0, min_num_sentences=0, min_words_to_remove_span=words,
            norm_config=plain, hash_config=hashes,
        )  # fmt: skip
        first = dedup.SentenceDedupSignature(output_folder=f"{work}/sig", config=config, language=Split())
        find = dedup.SentenceFindDedups(data_folder=f"{work}/sig", output_folder=f"{work}/found", config=config)
        remove = dedup.SentenceDedupFilter(data_folder=f"{work}/found", config=config, language=Split())
    read = ParquetReader(str(source.parent), glob_pattern=source.name)
    for number, steps in enumerate([[read, first], [find], [read, remove, ParquetWriter(output_folder=f"{work}/out")]]):
        executor = LocalPipelineExecutor(steps, tasks=1, workers=1, logging_dir=f"{work}/logs/{number}")
        with contextlib.redirect_stderr(io.StringIO()):
            executor.run()
    seconds = time.perf_counter() - start
    pq.write_table(pq.read_table(f"{work}/out", columns=["id", "text"]), target)
print(json.dumps({"seconds": seconds}))
