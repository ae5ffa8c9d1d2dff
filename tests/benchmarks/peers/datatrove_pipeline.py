"""The clinical pipeline from datatrove's own blocks: python datatrove_pipeline.py DATA BENCHMARKS MODELS WORK WORDS.

DATA has JSON lines, BENCHMARKS items, MODELS lid.176.ftz and a KenLM (kenlm.binary), WORDS is spacy or split. Two
processes. There is no block for a perplexity limit: its KenLM scoring in a LambdaFilter stands in, with a model given
and without SentencePiece. The decontamination index comes from its indexer's own hashing (the block asks for
lighteval).
Prints {"seconds": ..., "kept": ...}.
"""

import gzip
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter, NGramsDecontIndexer
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.exact_dedup import (
    ExactDedupConfig,
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
)
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.filters import (
    C4QualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LambdaFilter,
    LanguageFilter,
)
from datatrove.pipeline.formatters import FTFYFormatter, PIIFormatter
from datatrove.pipeline.readers import JsonlReader, ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils.hashing import HashConfig, create_hash_func
from datatrove.utils.lid import FT176LID
from datatrove.utils.perplexity import KenlmModel
from datatrove.utils.word_tokenizers import load_word_tokenizer
from loguru import logger

PROCESSES = 2
SOURCES = "[dg]*/*.jsonl.gz"  # domain/ and general/


def main() -> None:
    """Index, then time the passes."""
    data, benchmarks, models, work = (Path(argument) for argument in sys.argv[1:5])
    logger.remove()
    words: Any = "en" if sys.argv[5] == "spacy" else _split()
    index(benchmarks, work / "index", words)
    tasks = len(list(data.glob(SOURCES)))
    started = time.perf_counter()
    for number, (steps, count) in enumerate(passes(data, models, work, words, tasks)):
        logs = str(work / "logs" / str(number))
        LocalPipelineExecutor(steps, tasks=count, workers=min(PROCESSES, count), logging_dir=logs).run()
    seconds = time.perf_counter() - started
    import polars as pl

    kept = pl.scan_parquet(work / "out" / "*.parquet").select(pl.len()).collect().item()
    print(json.dumps({"seconds": seconds, "kept": kept}))


def passes(data: Path, models: Path, work: Path, words: Any, tasks: int) -> Iterator[tuple[list[Any], int]]:
    """Each pass's steps and its tasks."""
    language = LanguageFilter("en", language_threshold=0.3)
    language.model = LanguageModel(str(models / "lid.176.ftz"))
    yield (
        [
            JsonlReader(str(data), glob_pattern=SOURCES),
            FTFYFormatter(),
            PIIFormatter(),
            language,
            GopherRepetitionFilter(
                dup_line_frac=0.5, dup_line_char_frac=0.4, top_n_grams=(), dup_n_grams=((10, 0.3),), language=words
            ),
            GopherQualityFilter(
                min_doc_words=20,
                min_stop_words=1,
                max_bullet_lines_ratio=1,
                max_non_alpha_words_ratio=0.4,
                language=words,
            ),
            C4QualityFilter(
                filter_no_terminal_punct=False,
                min_num_sentences=0,
                min_words_per_line=0,
                filter_curly_bracket=False,
                language=words,
            ),
            ParquetWriter(str(work / "filtered"), output_filename="${rank}.parquet"),
        ],
        tasks,
    )
    exact = ExactDedupConfig(content_getter=_content)
    filtered = ParquetReader(str(work / "filtered"))
    yield [filtered, ExactDedupSignature(str(work / "exact"), exact)], tasks
    yield [ExactFindDedups(str(work / "exact"), str(work / "exact-found"), exact)], 1
    yield (
        [filtered, ExactDedupFilter(str(work / "exact-found"), exact), ParquetWriter(str(work / "exact-kept"))],
        tasks,
    )
    kept, sig, buckets = ParquetReader(str(work / "exact-kept")), str(work / "sig"), str(work / "buckets")
    config = MinhashConfig(hash_config=HashConfig(precision=64), num_buckets=14, hashes_per_bucket=8)
    yield [kept, MinhashDedupSignature(output_folder=sig, config=config, language=words)], tasks
    yield [MinhashDedupBuckets(input_folder=sig, output_folder=buckets, config=config)], 14
    yield [MinhashDedupCluster(input_folder=buckets, output_folder=str(work / "remove"), config=config)], 1
    scorer = Scorer(str(models / "kenlm.binary"))
    last = [
        MinhashDedupFilter(input_folder=str(work / "remove")),
        LambdaFilter(scorer.below),
        NGramsDecontFilter(str(work / "index"), config=NGramsDecontConfig(find_query_ngrams=True), language=words),
        ParquetWriter(str(work / "out"), output_filename="${rank}.parquet"),
    ]
    yield [kept, *last], tasks


class LanguageModel(FT176LID):
    """datatrove's fastText scoring with a model on disk."""

    _model: Any

    def __init__(self, path: str):
        super().__init__(["en"])
        self.path = path

    @property
    def model(self) -> Any:
        """The model, loaded in the process that uses it."""
        from fasttext.FastText import _FastText

        if self._model is None:
            self._model = _FastText(self.path)
        return self._model


class Scorer(KenlmModel):
    """datatrove's KenLM scoring with a model on disk, its words those of the normalised text."""

    _model: Any

    def __init__(self, path: str):
        super().__init__("", "en")
        self.path = path

    @property
    def model(self) -> Any:
        """The KenLM, loaded in the process that uses it."""
        import kenlm

        if self._model is None:
            self._model = kenlm.Model(self.path)
        return self._model

    @property
    def tokenizer(self) -> Any:
        """Leaves the text as it is."""
        return SimpleNamespace(tokenize=str)

    def below(self, document: Document) -> bool:
        """Whether the document's perplexity is below a limit; none is that high, only the work counts here."""
        return self.get_perplexity(document.text) < 1e9


def index(benchmarks: Path, folder: Path, words: Any) -> None:
    """Hashes of the items' n-grams, as its indexer makes them."""
    config = NGramsDecontConfig(find_query_ngrams=True)
    tokenizer, hashed = load_word_tokenizer(words), create_hash_func(config.hash_config)
    indexer: Any = SimpleNamespace(config=config, tokenizer=tokenizer, hash_func=hashed)
    folder.mkdir(parents=True)
    for path in sorted(benchmarks.glob("*.jsonl.gz")):
        hashes: set[int] = set()
        with gzip.open(path) as file:
            for item in map(json.loads, file):
                query = f"{item['context']}\n{item['question']}"
                hashes.update(NGramsDecontIndexer.compute_hashes(indexer, item["answer_text"], query))
        np.array(list(hashes), config.hash_config.np_descr).tofile(folder / f"{path.name}.index.hashes")


def _content(document: Document) -> str:
    return document.text


def _split() -> Any:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from words import Split

    return Split()


if __name__ == "__main__":
    main()
