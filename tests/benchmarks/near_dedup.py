"""Near-duplicates in real text with planted copies, Parquet to Parquet on one core: speed, recall, precision.

    python tests/benchmarks/near_dedup.py [--rounds 5] [--sources 20] [--only palimpsest gaoya] [--data ../shared/data]

Every contender uses word 5-grams, 14 bands and 8 rows and one process pinned to one core; imports are done before the
clock starts. A pair of documents is near-duplicate by the exact Jaccard similarity of its 5-gram sets; recall is the
share of such pairs of which a contender keeps at most one document, precision the share of removed documents that have
a partner. We, gaoya and rensa verify candidates at .72, the others do not verify. datatrove writes the texts it keeps,
text-dedup texts and ids, the others their ids. The words of "datatrove" are spaCy's, its default.
"""

import argparse
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import peers
import polars as pl
from timing import report

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PEERS = Path(__file__).parent / "peers"
EDITS = (0.0, 0.002, 0.005, 0.01, 0.02, 0.04)
"""Shares of words changed in a planted copy."""
ONCE = ("datatrove",)
"""Contenders that take minutes a call: one call, the first."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sources", type=int, default=20, help="files of text, the first by name")
    parser.add_argument("--only", nargs="*", help="contenders to run")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # processes started from here inherit it
    texts = corpus(options.data, options.sources)
    pairs = similar_pairs(texts)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ids = pl.Series("id", [str(number) for number in range(len(texts))])
        pl.DataFrame({"id": ids, "text": texts}).write_parquet(folder / "in.parquet")
        kept: dict[str, np.ndarray] = {}
        rows: dict[str, dict[str, object]] = {}
        chosen = {
            contender: _timed(contender, run, folder, ids, kept) for contender, run in contenders(options.only).items()
        }
        many = {contender: call for contender, call in chosen.items() if contender not in ONCE}
        for contender, taken in peers.interleaved(many, options.rounds).items():
            rows[contender] = {"rounds": options.rounds, **taken}
        for contender, call in chosen.items():
            if contender in ONCE:
                rows[contender] = {"rounds": "once", "median_s": call()}
    for contender, row in rows.items():
        seconds = row["median_s"]
        row["MB/s"] = megabytes / seconds  # type: ignore[operator]
        if "palimpsest" in rows:
            row["times ours"] = seconds / rows["palimpsest"]["median_s"]  # type: ignore[operator]
        row |= quality(kept[contender], pairs)
    title = f"{len(texts):,} documents, {megabytes:.0f} MB, {len(pairs):,} pairs of J >= .7, one core each"
    report("near_dedup", title, rows)


def contenders(only: list[str] | None) -> dict[str, Callable[[Path, Path], float]]:
    """By name, what makes the file of kept ids from the file of documents and returns the seconds it took."""

    known = {
        "palimpsest": _here(ours),
        "gaoya": _there(["gaoya", "gaoya==0.2.2", "pyarrow"], "gaoya_dedup.py"),
        "rensa": _there(["rensa", "rensa==0.5.0", "pyarrow"], "rensa_dedup.py"),
        "datasketch": _here(datasketch),
        "datatrove, str.split": _there([], "datatrove_dedup.py", "split"),
        "text-dedup": _there(["text_dedup", "text-dedup==0.4.0", "pyarrow"], "text_dedup_minhash.py"),
        "datatrove": _there(
            ["datatrove_spacy", "datatrove[io,processing]==0.10.1", "spacy==3.8.7", "xxhash<4"],
            "datatrove_dedup.py",
            "eng",
        ),
    }
    return {name: run for name, run in known.items() if only is None or name in only}


def _here(work: Callable[[Path, Path], None]) -> Callable[[Path, Path], float]:
    def run(source: Path, target: Path) -> float:
        start = time.perf_counter()
        work(source, target)
        return time.perf_counter() - start

    return run


def _there(environment: list[str], script: str, *arguments: str) -> Callable[[Path, Path], float]:
    """A script run in an environment (name, requirements) of its own; in ours where none is named."""

    def run(source: Path, target: Path) -> float:
        python = peers.python(*environment) if environment else sys.executable
        return float(peers.call(python, PEERS / script, source, target, *arguments)["seconds"])  # type: ignore[arg-type]

    return run


def _timed(
    name: str, run: Callable[[Path, Path], float], folder: Path, ids: pl.Series, kept: dict[str, np.ndarray]
) -> Callable[[], float]:
    """A call of one contender that also keeps which documents it left."""

    def call() -> float:
        seconds = run(folder / "in.parquet", folder / "out.parquet")
        kept[name] = ids.is_in(pl.read_parquet(folder / "out.parquet", columns=["id"])["id"].implode()).to_numpy()
        return seconds

    return call


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
    from curate.kernels.minhash import EMPTY, shingles, signatures

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


def ours(source: Path, target: Path) -> None:
    """The stage, part by part, and the ids it keeps."""
    from curate.near_dedup import NearDedup
    from curate.stage import Workspace

    stage = NearDedup()
    stage._workspace = Workspace(source.parent / "work", [], [], False, "benchmark")
    documents = pl.read_parquet(source)
    parts = [part.select("id").hstack(stage.measure(part)) for part in documents.iter_slices(20_000)]
    kept = pl.concat([verdicts.reason.is_null() for verdicts in stage.decide(parts)])
    documents.filter(kept).select("id").write_parquet(target)


def datasketch(source: Path, target: Path) -> None:
    """MinHash.bulk and MinHashLSH; a document goes if an earlier one that was kept is found."""
    import xxhash
    from datasketch import MinHash, MinHashLSH

    documents = pl.read_parquet(source)
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
    documents.filter(pl.Series(kept)).select("id").write_parquet(target)


if __name__ == "__main__":
    main()
