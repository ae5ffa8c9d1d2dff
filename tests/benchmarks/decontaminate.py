"""Benchmark items planted in real text: recall by kind, false positives, speed on one core.

    python tests/benchmarks/decontaminate.py [--rounds 5] [--without datatrove] [--data ../shared/data]

Ours is the stage's `judge` over the labelled documents, its index built before (the column prepare_s). datatrove's is
its n-gram filter with the n-grams of queries, words by str.split, its index built before too. The row `clean` is what
ours drops of the general text, which holds items by chance only, and its speed there.
"""

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
from timing import interleaved, report

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def main() -> None:
    """Print the table."""
    from curate.decontaminate import Decontaminate
    from curate.stage import Workspace

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without", nargs="*", default=[], help="contenders to leave out: datatrove")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    texts = pl.Series("text", [record["text"] for record in lines(options.data / "decon" / "docs.jsonl.gz")])
    labels = pl.DataFrame(list(lines(options.data / "decon" / "labels.jsonl.gz")), infer_schema_length=None)
    benchmarks = sorted(str(path) for path in (options.data / "bench").glob("*.jsonl.gz"))
    clean = pl.concat([read(path) for path in sorted(options.data.glob("general/*.jsonl.gz"))])
    found: dict[str, pl.Series] = {}
    with tempfile.TemporaryDirectory() as name:
        stage = Decontaminate()
        part = SimpleNamespace(
            pool="domain", source="clean", documents=lambda columns: clean.to_frame().select(columns)
        )
        stage._workspace = Workspace(Path(name), [part], benchmarks, False, "benchmark")  # type: ignore[list-item]
        start = time.perf_counter()
        stage.prepare()
        prepared = time.perf_counter() - start
        their = datatrove(benchmarks, Path(name))
        contenders: dict[str, Callable[[], None]] = {
            "palimpsest": lambda: found.update(palimpsest=stage.judge(texts.to_frame()).reason.is_not_null()),
            "palimpsest, clean": lambda: found.update(clean=stage.judge(clean.to_frame()).reason.is_not_null()),
            "datatrove": lambda: found.update(datatrove=their(texts)),
        }
        chosen = {name: call for name, call in contenders.items() if name not in options.without}
        rows: dict[str, dict[str, object]] = {
            name: {**taken} for name, taken in interleaved(chosen, options.rounds).items()
        }
    for name, row in rows.items():
        size = (clean if "clean" in name else texts).str.len_bytes().sum()
        row["MB/s"] = size / 1e6 / row["median_s"]  # type: ignore[operator]
        if "clean" not in name:
            row |= quality(found[name], labels)
    rows["palimpsest"]["prepare_s"] = prepared
    rows["palimpsest, clean"]["dropped"] = f"{found['clean'].sum()} of {len(clean)}"
    report("decontaminate", f"{len(texts):,} labelled documents, items of {len(benchmarks)} files, one core", rows)


def lines(path: Path) -> Iterator[dict[str, object]]:
    """The records of a gzipped JSON lines file."""
    with gzip.open(path) as file:
        yield from map(json.loads, file)


def read(path: Path) -> pl.Series:
    """The texts of a gzipped JSON lines file."""
    return pl.Series("text", [record["text"] for record in lines(path)], pl.String)


def quality(found: pl.Series, labels: pl.DataFrame) -> dict[str, object]:
    """Recall by kind of planted item, and the number of documents without one that are dropped.

    verbatim is the least of in full, in mid-text and normalised; 10 % and 25 % of the words changed.
    """
    planted = labels.with_columns(found=found).filter(pl.col("label") == 1)
    recall = dict(planted.group_by("kind").agg(pl.col("found").mean()).iter_rows())
    exact = min(recall[kind] for kind in ("verbatim_full", "verbatim_mid", "normalised"))
    named = {"question": "question_only", "10 %": "paraphrase_10", "25 %": "paraphrase_25", "truncated": "truncated_60"}
    wrong = int((found & (labels["label"] == 0)).sum())
    return {"verbatim": exact, **{name: recall[kind] for name, kind in named.items()}, "wrong": wrong}


def datatrove(benchmarks: list[str], folder: Path) -> Callable[[pl.Series], pl.Series]:
    """Its filter over an index that its own indexer's hashing gives (the indexer itself asks for lighteval)."""
    from datatrove.data import Document
    from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter, NGramsDecontIndexer
    from datatrove.utils.hashing import create_hash_func
    from datatrove.utils.word_tokenizers import WordTokenizer
    from loguru import logger

    class Split(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

        def sent_tokenize(self, text: str) -> list[str]:
            return [text]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text))]

    logger.remove()
    config = NGramsDecontConfig(find_query_ngrams=True)
    indexer = SimpleNamespace(config=config, tokenizer=Split(), hash_func=create_hash_func(config.hash_config))
    for path in benchmarks:
        hashes = set()
        for item in lines(Path(path)):
            query = f"{item['context']}\n{item['question']}"
            hashes.update(NGramsDecontIndexer.compute_hashes(indexer, item["answer_text"], query))  # type: ignore[arg-type]
        np.array(list(hashes), config.hash_config.np_descr).tofile(folder / f"{Path(path).name}.index.hashes")
    judge = NGramsDecontFilter(str(folder), config=config, language=Split())  # type: ignore[arg-type]

    def run(texts: pl.Series) -> pl.Series:
        return pl.Series([judge.filter(Document(text=text, id="")) is not True for text in texts])

    return run


if __name__ == "__main__":
    main()
