"""Benchmark items planted in real text: recall, false positives, what a cut leaves, speed on one core.

    python tests/benchmarks/decontaminate.py [--rounds 5] [--only palimpsest] [--data ../shared/data]

Ours is the stage's `judge` over the labelled documents, its index built before (the column prepare_s); `clean` is the
general text, which holds items by chance only. datatrove's is its n-gram filter with the n-grams of queries, its index
made and loaded before; the words of "datatrove" are spaCy's, its default. Further tables: recall by kind and by the
number of words planted; how much of what was planted a cut takes, and what besides; and how many of the overlaps are
found that stand in the domain and general text by themselves.
"""

import argparse
import gzip
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import peers
import polars as pl
from timing import report

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PEER = Path(__file__).parent / "peers" / "datatrove_decontaminate.py"
SPACY = ("datatrove_spacy", "datatrove[io,processing]==0.10.1", "spacy==3.8.7", "xxhash<4")
LENGTHS = ((0, 13), (13, 20), (20, 30), (30, 50), (50, 100), (100, 10_000))
"""Words planted, and shared by chance: from the first number to below the second."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="contenders to run: palimpsest, datatrove, 'datatrove, split words'")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    data = options.data
    texts = read(data / "decon" / "docs.jsonl.gz")["text"]
    clean = pl.concat([read(path)["text"] for path in sorted(data.glob("general/*.jsonl.gz"))])
    labels = pl.DataFrame(list(lines(data / "decon" / "labels.jsonl.gz")), infer_schema_length=None)
    benchmarks = sorted(str(path) for path in (data / "bench").glob("*.jsonl.gz"))
    found: dict[str, pl.Series] = {}
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        texts.to_frame().write_parquet(Path(name) / "in.parquet")
        start = time.perf_counter()
        stage = prepared(Path(name), benchmarks, clean)
        prepare_s = time.perf_counter() - start
        contenders: dict[str, Callable[[str], float]] = {
            "palimpsest": lambda own: ours(stage, texts, found, own),
            "palimpsest, clean": lambda own: ours(stage, clean, found, own),
            "datatrove": lambda own: datatrove(Path(name), "eng", benchmarks, found, own),
            "datatrove, split words": lambda own: datatrove(Path(name), "split", benchmarks, found, own),
        }
        chosen = {own: partial(call, own) for own, call in contenders.items() if own in (options.only or contenders)}
        for own, taken in peers.interleaved(chosen, options.rounds).items():
            size = int((clean if own == "palimpsest, clean" else texts).str.len_bytes().sum())
            rows[own] = {**taken, "MB/s": size / 1e6 / taken["median_s"], "dropped": int(found[own].sum())}
        cuts, overlaps = cut(stage, texts, labels), natural(stage, data, benchmarks)
    for own, given in found.items():
        if own != "palimpsest, clean":
            rows[own]["wrong"] = int((given & (labels["label"] == 0)).sum())
    rows.get("palimpsest", {})["prepare_s"] = prepare_s
    report("decontaminate", f"{len(texts):,} labelled documents, items of {len(benchmarks)} files, one core", rows)
    labelled = labels.with_columns(**{own: given for own, given in found.items() if len(given) == len(labels)})
    report("decontaminate_kinds", "recall by what is planted", recall(labelled, pl.col("kind")))
    lengths = recall(labelled.filter(pl.col("kind") != "truncated_60"), bins(pl.col("planted_words")))
    report("decontaminate_lengths", "recall by words planted, without the truncated", lengths)
    report("decontaminate_cut", "action: cut, share of planted bytes cut, other bytes cut a document", cuts)
    report("decontaminate_natural", "words shared by chance or quotation, by the longest run", overlaps)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a gzipped JSON lines file."""
    with gzip.open(path) as file:
        yield from map(json.loads, file)


def read(path: Path) -> pl.DataFrame:
    """Ids and texts of a gzipped JSON lines file."""
    rows = [(record["id"], record["text"]) for record in lines(path)]
    return pl.DataFrame(rows, schema={"id": pl.String, "text": pl.String}, orient="row")


def bins(words: pl.Expr) -> pl.Expr:
    """The bin of `LENGTHS` that a number of words falls into, by its name."""
    named = pl.lit(None, pl.String)
    for low, high in LENGTHS:
        name = f"{low:>3} to {high - 1}" if high < 10_000 else f"{low} and more"
        named = pl.when(words.is_between(low, high, closed="left")).then(pl.lit(name)).otherwise(named)
    return named


def prepared(folder: Path, benchmarks: list[str], background: pl.Series) -> Any:
    """The stage, its index built."""
    from curate.decontaminate import Decontaminate
    from curate.stage import Workspace

    part = SimpleNamespace(documents=lambda columns: background.to_frame().select(columns))
    stage = Decontaminate()
    stage._workspace = Workspace(folder, [part], benchmarks, False, "benchmark")  # type: ignore[list-item]
    stage.prepare()
    return stage


def ours(stage: Any, texts: pl.Series, found: dict[str, pl.Series], name: str) -> float:
    """Judge the texts; the seconds it took."""
    start = time.perf_counter()
    reason = stage.judge(texts.to_frame()).reason
    seconds = time.perf_counter() - start
    found[name] = reason.is_not_null()
    return seconds


def datatrove(folder: Path, words: str, benchmarks: list[str], found: dict[str, pl.Series], name: str) -> float:
    """datatrove's filter in a process of its own; the seconds it took."""
    python = peers.python(*SPACY) if words == "eng" else sys.executable
    target, index = folder / f"{words}.parquet", folder / f"{words}-index"
    given = peers.call(python, PEER, folder / "in.parquet", target, index, words, *benchmarks)
    found[name] = pl.read_parquet(target)["found"]
    return float(given["seconds"])  # type: ignore[arg-type]


def recall(labelled: pl.DataFrame, group: pl.Expr) -> dict[str, dict[str, Any]]:
    """The share of planted documents that each contender finds, group by group."""
    names = [name for name in labelled.columns if labelled.schema[name] == pl.Boolean]
    planted = labelled.filter(pl.col("label") == 1).group_by(group.alias("group")).agg(pl.len(), pl.col(names).mean())
    return {row.pop("group"): row for row in planted.sort("group").iter_rows(named=True)}


def cut(stage: Any, texts: pl.Series, labels: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """How much of the planted text `action: cut` takes, and how many bytes besides."""
    given = stage.model_copy(update={"action": "cut"}).judge(texts.to_frame())
    rows = []
    for (at,), spans in given.edits.group_by("at", maintain_order=True):
        kind, label, span = labels.row(at, named=True)["kind"], labels["label"][at], labels["span"][at]
        if label:
            low, high = (len(texts[at][:place].encode()) for place in span)
            taken = np.zeros(len(texts[at].encode()), bool)
            for start, end in spans.select("start", "end").iter_rows():
                taken[start:end] = True
            rows.append((kind, float(taken[low:high].mean()), int(taken.sum() - taken[low:high].sum())))
    frame = pl.DataFrame(rows, schema=["kind", "planted", "besides"], orient="row")
    table = frame.group_by("kind").agg(pl.len().alias("documents"), pl.col("planted", "besides").mean()).sort("kind")
    return {row.pop("kind"): row for row in table.iter_rows(named=True)}


def natural(stage: Any, data: Path, benchmarks: list[str]) -> dict[str, dict[str, Any]]:
    """Documents of the corpora that share words with an item: how many the stage drops, and of all others."""
    overlaps = pl.DataFrame(list(lines(data / "decon" / "natural_overlaps.jsonl.gz")))
    known = [item["id"] for path in benchmarks for item in lines(Path(path))]  # some overlap with items held back
    longest = (
        overlaps.filter(pl.col("item_id").is_in(known)).group_by("doc_id").agg(pl.col("longest_shared_words").max())
    )
    paths = [path for pool in ("domain", "general") for path in sorted(data.glob(f"{pool}/*.jsonl.gz"))]
    texts = pl.concat([read(path) for path in paths])
    dropped = texts.select(doc_id="id", dropped=stage.judge(texts).reason.is_not_null())
    group = pl.coalesce(bins(pl.col("longest_shared_words")), pl.lit("no 8 words"))
    table = dropped.join(longest, on="doc_id", how="left").group_by(group.alias("shared"))
    counted = table.agg(pl.len().alias("documents"), pl.col("dropped").sum()).sort("shared")
    return {row.pop("shared"): row for row in counted.iter_rows(named=True)}


if __name__ == "__main__":
    main()
