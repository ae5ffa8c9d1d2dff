"""Gopher, C4 and FineWeb rules on real text against datatrove's four filters: decisions and speed on one core.

    python tests/benchmarks/heuristics.py [--documents 5000] [--timed 250] [--rounds 5] [--only ...] [--data FOLDER]
    python tests/benchmarks/heuristics.py --rules [--data FOLDER]

Documents are drawn evenly from the sources. Each filter decides on each of `documents` once, and a column counts where
datatrove decides unlike us; then `timed` of them go through all four filters in turns, from texts in memory. datatrove
gets our words (then every decision has to be the same), those of str.split, or, by default, spaCy's.

--rules prints how many documents of each source a published limit drops, each rule alone, after normalize and language.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peers
import polars as pl
from quality_filters import KEYS
from timing import report

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PEER = Path(__file__).parent / "peers" / "datatrove_filters.py"
SPACY = ("datatrove_spacy", "datatrove[io,processing]==0.10.1", "spacy==3.8.7", "xxhash<4")
WORDS = {"datatrove, our words": "ours", "datatrove, str.split": "split", "datatrove": "eng"}


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=5000)
    parser.add_argument("--timed", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=list(WORDS), default=list(WORDS), help="peers to run")
    parser.add_argument("--rules", action="store_true", help="documents that each rule drops, by source")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # processes started from here inherit it
    os.environ |= {"POLARS_MAX_THREADS": "1"}
    if options.rules:
        each_rule(options.data)
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Decisions on all documents, times on some."""
    texts = corpus(options.data, options.documents)
    few = texts[:: max(len(texts) // options.timed, 1)]
    megabytes = int(few.str.len_bytes().sum()) / 1e6
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts.to_frame().write_parquet(folder / "all.parquet")
        few.to_frame().write_parquet(folder / "few.parquet")
        rows: dict[str, dict[str, Any]] = {"palimpsest": {}}
        for peer in options.only:
            rows[peer] = differences(texts, folder, peer)
        calls = {"palimpsest": ours(few)} | {peer: _call(peer, folder / "few.parquet", folder) for peer in options.only}
        for contender, taken in peers.interleaved(calls, options.rounds).items():
            ratio = taken["median_s"] / rows["palimpsest"].get("median_s", taken["median_s"])
            rows[contender] |= {**taken, "MB/s": megabytes / taken["median_s"], "times ours": ratio}
    title = f"decisions unlike ours on {len(texts):,} documents; seconds for {len(few)}, {megabytes:.1f} MB, one core"
    report("heuristics", title, rows)


def corpus(data: Path, documents: int) -> pl.Series:
    """About so many texts, evenly from every source as long as it has them."""
    files = sorted([*data.glob("domain/*.jsonl.gz"), *data.glob("general/*.jsonl.gz")])
    sources = [_texts(file) for file in files]
    share = documents
    while sum(min(len(texts), share) for texts in sources) > documents:
        share -= 1
    return pl.concat([texts.gather_every(max(len(texts) // share, 1)).head(share) for texts in sources])


def _texts(file: Path) -> pl.Series:
    return pl.read_ndjson(file, schema={"text": pl.String})["text"]


def ours(texts: pl.Series) -> Callable[[], float]:
    """All four sets of rules in one stage."""
    from curate.heuristics import Heuristics

    stage, frame = Heuristics(rules=["gopher", "c4", "c4_lines", "fineweb"]), texts.to_frame()
    stage.warm_up()

    def call() -> float:
        start = time.perf_counter()
        stage.judge(frame)
        return time.perf_counter() - start

    return call


def _call(peer: str, source: Path, folder: Path) -> Callable[[], float]:
    """datatrove's filters with the words that `peer` names."""
    python = peers.python(*SPACY) if WORDS[peer] == "eng" else sys.executable
    return lambda: float(peers.call(python, PEER, source, folder / f"{WORDS[peer]}.parquet", WORDS[peer])["seconds"])  # type: ignore[arg-type]


def differences(texts: pl.Series, folder: Path, peer: str) -> dict[str, int]:
    """How many documents each of datatrove's filters keeps and we drop, or the other way round."""
    from curate.heuristics import Heuristics

    _call(peer, folder / "all.parquet", folder)()
    theirs = pl.read_parquet(folder / f"{WORDS[peer]}.parquet")
    return {
        name: int((Heuristics(**keys).judge(texts.to_frame()).reason.is_null() != theirs[name].is_null()).sum())
        for name, keys in KEYS.items()
    }


def each_rule(data: Path) -> None:
    """Documents of each source that every rule drops on its own."""
    from curate.heuristics import Heuristics, measured
    from curate.language import Language
    from curate.normalize import Normalize

    rules = Heuristics(rules=["gopher", "c4", "fineweb"]).active()
    for pool in ("domain", "general"):
        table: dict[str, dict[str, Any]] = {name: {} for name in ["documents", *(rule.reason for rule in rules)]}
        for file in sorted(data.glob(f"{pool}/*.jsonl.gz")):
            texts = _texts(file)
            edited = Normalize().judge(texts.to_frame())
            assert edited.text is not None
            frame = pl.select(text=pl.coalesce(edited.text, texts)).filter(edited.reason.is_null())
            frame = frame.filter(Language(keep=["en"], min_score=0.3).judge(frame).reason.is_null())
            source = file.name.removesuffix(".jsonl.gz")
            broken = measured(frame["text"]).select(rule.broken.sum().alias(rule.reason) for rule in rules)
            table["documents"][source] = frame.height
            for reason, count in broken.row(0, named=True).items():
                table[reason][source] = count
        report(f"heuristics_rules_{pool}", f"{pool}: documents that each published limit alone drops", table)


if __name__ == "__main__":
    main()
