"""Near-duplicates in real text with planted copies, Parquet to Parquet on one core: speed, recall, precision.

    python tests/benchmarks/near_dedup.py [--rounds 5] [--sources 20] [--without datatrove] [--data ../shared/data]

Every contender uses word 5-grams, 14 bands and 8 rows. A pair of documents is near-duplicate by the exact Jaccard
similarity of its 5-gram sets; recall is the share of such pairs of which a contender keeps at most one document,
precision the share of removed documents that have a partner. datatrove's words are those of str.split, its fastest.
"""

import argparse
import contextlib
import io
import random
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from timing import interleaved, report

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
EDITS = (0.0, 0.002, 0.005, 0.01, 0.02, 0.04)
"""Shares of words changed in a planted copy."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sources", type=int, default=20, help="files of text, the first by name")
    parser.add_argument("--without", nargs="*", default=[], help="contenders to leave out: datatrove, datasketch")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    texts = corpus(options.data, options.sources)
    pairs = similar_pairs(texts)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pl.DataFrame({"id": [str(number) for number in range(len(texts))], "text": texts}).write_parquet(
            folder / "in.parquet"
        )
        kept: dict[str, np.ndarray] = {}
        contenders: dict[str, Callable[[], None]] = {
            "palimpsest": lambda: kept.update(palimpsest=ours(folder)),
            "datasketch": lambda: kept.update(datasketch=datasketch(folder)),
            "datatrove": lambda: kept.update(datatrove=datatrove(folder)),
        }
        chosen = {name: call for name, call in contenders.items() if name not in options.without}
        rows: dict[str, dict[str, object]] = {
            name: {**taken} for name, taken in interleaved(chosen, options.rounds).items()
        }
    for name, row in rows.items():
        row |= {"MB/s": megabytes / row["median_s"]} | quality(kept[name], pairs)  # type: ignore[operator]
    report(
        "near_dedup", f"{len(texts):,} documents, {megabytes:.0f} MB, {len(pairs):,} pairs of J >= .7, one core", rows
    )


def corpus(data: Path, sources: int) -> list[str]:
    """The texts of the first `sources` files and, for every seventh, an edited copy further on."""
    files = sorted([*data.glob("domain/*.jsonl.gz"), *data.glob("general/*.jsonl.gz")])[:sources]
    texts = [text for file in files for text in pl.read_ndjson(file, schema={"text": pl.String})["text"]]
    draw = random.Random(0)
    for number, text in enumerate(texts[::7]):
        texts.insert(draw.randrange(len(texts)), edited(text, EDITS[number % len(EDITS)], draw))
    return texts


def edited(text: str, share: float, draw: random.Random) -> str:
    """`text` with that share of its words changed and, every third time, in capitals without punctuation."""
    words = [f"w{draw.randrange(10**6)}" if draw.random() < share else word for word in text.split(" ")]
    copy = " ".join(words)
    return copy if draw.random() < 0.67 else re.sub(r"[^\w\s]", " ", copy).upper()


def similar_pairs(texts: list[str]) -> pl.DataFrame:
    """Pairs (a, b) of texts, a < b, and their exact Jaccard similarity j >= .7.

    Candidates agree in one of 28 bands of 4 rows (.9995 of all pairs at .7) and in 60 of 112 positions.
    """
    from curate.minhash import EMPTY, shingles, signatures

    rows = signatures(pl.Series(texts))
    found: set[tuple[int, int]] = set()
    for band in range(28):
        keys = np.ascontiguousarray(rows[:, 4 * band : 4 * band + 4]).view("V16").ravel()
        groups = pl.DataFrame({"key": pl.Series([bytes(key) for key in keys], dtype=pl.Binary)}).with_row_index()
        for [members] in (
            groups.group_by("key").agg("index").filter(pl.col("index").list.len() > 1).select("index").iter_rows()
        ):
            members = np.array([one for one in members if rows[one, 0] != EMPTY])
            for place, one in enumerate(members):
                later = members[place + 1 :]
                close = later[(rows[later] == rows[one]).sum(axis=1) >= 60]
                found.update((min(one, other), max(one, other)) for other in close.tolist())
    sets: dict[int, np.ndarray] = {}
    result = []
    for one, other in sorted(found):
        for number in (one, other):
            if number not in sets:
                sets[number] = np.unique(shingles(texts[number]))
        common = len(np.intersect1d(sets[one], sets[other], assume_unique=True))
        similarity = common / (len(sets[one]) + len(sets[other]) - common)
        if similarity >= 0.7:
            result.append((int(one), int(other), similarity))
    return pl.DataFrame(result, schema={"a": pl.Int64, "b": pl.Int64, "j": pl.Float64}, orient="row")


def quality(kept: np.ndarray, pairs: pl.DataFrame) -> dict[str, float]:
    """Recall over pairs, documents removed, and how many of these have a partner, kept or not and kept."""
    pairs = pairs.with_columns(kept_a=kept[pairs["a"]], kept_b=kept[pairs["b"]])
    both = pairs.filter(pl.col("j") >= 0.8).select((pl.col("kept_a") & pl.col("kept_b")).mean()).item()
    removed = int((~kept).sum())
    with_partner = pl.concat([pairs.filter(~pl.col("kept_a"))["a"], pairs.filter(~pl.col("kept_b"))["b"]]).n_unique()
    with_kept = pl.concat(
        [
            pairs.filter(~pl.col("kept_a") & pl.col("kept_b"))["a"],
            pairs.filter(~pl.col("kept_b") & pl.col("kept_a"))["b"],
        ]
    ).n_unique()
    return {
        "recall J>=.8": 1 - both,
        "removed": removed,
        "partner J>=.7": with_partner / removed,
        "kept partner J>=.7": with_kept / removed,
    }


def ours(folder: Path) -> np.ndarray:
    """The stage, part by part, and a keep-mask as Parquet."""
    from curate.near_dedup import NearDedup

    stage = NearDedup()
    documents = pl.read_parquet(folder / "in.parquet")
    parts = [part.select("id").hstack(stage.measure(part)) for part in documents.iter_slices(20_000)]
    kept = pl.concat([verdicts.reason.is_null() for verdicts in stage.decide(parts)])
    documents.filter(kept).select("id").write_parquet(folder / "out.parquet")
    return kept.to_numpy()


def datasketch(folder: Path) -> np.ndarray:
    """MinHash.bulk and MinHashLSH; a document goes if an earlier one that was kept is found."""
    import xxhash
    from datasketch import MinHash, MinHashLSH

    documents = pl.read_parquet(folder / "in.parquet")
    sets = []
    for text in documents["text"]:
        words = re.findall(r"\w+", re.sub(r"\d+", "0", text.lower()))
        sets.append({" ".join(words[k : k + 5]).encode() for k in range(max(len(words) - 4, min(len(words), 1)))})
    lsh = MinHashLSH(params=(14, 8), num_perm=112)
    kept = np.ones(documents.height, bool)
    for number, minhash in enumerate(MinHash.generator(sets, num_perm=112, hashfunc=xxhash.xxh32_intdigest)):
        if sets[number]:
            kept[number] = not lsh.query(minhash)
            if kept[number]:
                lsh.insert(number, minhash, check_duplication=False)
    documents.filter(pl.Series(kept)).select("id").write_parquet(folder / "out.parquet")
    return kept


def datatrove(folder: Path) -> np.ndarray:
    """Its four stages in one process; words by str.split."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
    )
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter
    from datatrove.utils.hashing import HashConfig
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
    work = folder / "datatrove"
    shutil.rmtree(work, ignore_errors=True)
    config = MinhashConfig(hash_config=HashConfig(precision=64), num_buckets=14, hashes_per_bucket=8)
    read = ParquetReader(str(folder), glob_pattern="in.parquet")
    passes = [
        ([read, MinhashDedupSignature(output_folder=f"{work}/sig", config=config, language=Split())], 1),
        ([MinhashDedupBuckets(input_folder=f"{work}/sig", output_folder=f"{work}/buckets", config=config)], 14),
        ([MinhashDedupCluster(input_folder=f"{work}/buckets", output_folder=f"{work}/remove", config=config)], 1),
        ([read, MinhashDedupFilter(input_folder=f"{work}/remove"), ParquetWriter(output_folder=f"{work}/out")], 1),
    ]
    for number, (steps, tasks) in enumerate(passes):
        executor = LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=f"{work}/logs/{number}")
        with contextlib.redirect_stderr(io.StringIO()):
            executor.run()
    left = pl.read_parquet(work / "out" / "*.parquet")["id"]
    return pl.read_parquet(folder / "in.parquet")["id"].is_in(left.implode()).to_numpy()


if __name__ == "__main__":
    main()
