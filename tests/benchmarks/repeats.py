"""Repeated documents, lines and spans in real text with planted repeats, Parquet to Parquet on one core.

    python tests/benchmarks/repeats.py [--rounds 5] [--share 3] [--only exact lines spans] [--data ../shared/data]

Every contender has one process pinned to one core and imports done before the clock starts.
exact: recall and precision over the documents whose text, white space folded, stood before; half of the planted copies
have other white space. "texts in memory" leaves reading and writing out. Polars compares texts as they are.
lines: those of at least 10 words, by recall (share of the bytes of later copies removed), precision (share of the bytes
removed that were of such copies), and lines of which no copy is left. datatrove counts 10 words per run of lines.
spans: of at least 50 words; recall over planted spans, precision as the share of the bytes removed that lie in 50 words
which stand twice (found by sorting, without hashes). datatrove's and text-dedup's span removal call a suffix array tool
that Google keeps as a git repository, not as a package: it is not measured. "suffix array" is its method by
pydivsufsort with spans of at least 300 bytes, finding only: nothing is cut or written. What we remove beyond precision
is what was left of documents dropped and what a cut had joined.
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
LINE_WORDS, SPAN_WORDS, SPAN_BYTES = 10, 50, 300
PART = 5000
"""Documents of a part."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=int, default=3, help="every so many-th document of the real text")
    parser.add_argument("--only", nargs="*", default=["exact", "lines", "spans"])
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # processes started from here inherit it
    texts, planted = corpus(options.data, options.share)
    frame = pl.DataFrame({"id": [str(number) for number in range(len(texts))], "text": texts})
    size = sum(len(text.encode()) for text in texts) / 1e6
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "in.parquet"
        frame.write_parquet(source)
        for task in options.only:
            chosen, score = TASKS[task](frame, source, planted)
            rows: dict[str, dict[str, object]] = {
                contender: {**taken, "MB/s": size / taken["median_s"], **score(contender)}
                for contender, taken in peers.interleaved(chosen, options.rounds).items()
            }
            report(f"repeats_{task}", f"{task}: {len(texts):,} documents, {size:.0f} MB, one core", rows)


def corpus(data: Path, share: int) -> tuple[list[str], list[tuple[int, int, int]]]:
    """Texts with copies, lines and spans of earlier ones, and the planted spans (document, start, end) in bytes."""
    files = sorted([*data.glob("domain/*.jsonl.gz"), *data.glob("general/*.jsonl.gz")])
    texts = [
        text for file in files for text in pl.read_ndjson(file, schema={"text": pl.String})["text"].gather_every(share)
    ]
    draw = random.Random(0)
    for number, text in enumerate(texts[::20]):
        texts.insert(draw.randrange(len(texts)), text if number % 2 else text.replace("\n", "\n\n") + "\n")
    quarter = len(texts) // 4
    lines = [line for text in texts[:quarter] for line in text.split("\n") if 20 < len(line.split()) < 60]
    long = [text.split(" ") for text in texts[:quarter] if text.count(" ") > 300 and "  " not in text]
    planted = []
    for number in range(quarter, len(texts) - 1, 10):
        texts[number] += "\n" + draw.choice(lines)
        words = draw.choice(long)
        count = draw.randrange(60, 250)
        begin = draw.randrange(len(words) - count)
        span = " ".join(words[begin : begin + count])
        host = texts[number + 1]
        at = draw.choice([0, *(one.end() for one in re.finditer(" ", host))])
        start = len(host[:at].encode())
        planted.append((number + 1, start, start + len(span.encode())))
        texts[number + 1] = f"{host[:at]}{span} {host[at:]}"
    return texts, planted


def our(stage_name: str, **keys: object) -> Callable[[pl.DataFrame], list]:  # type: ignore[type-arg]
    """A stage of ours over a frame, part by part: its verdicts."""
    from curate import exact_dedup, paragraph_dedup, substring_dedup  # noqa: F401
    from curate.stage import STAGES

    stage = STAGES[stage_name](**keys)
    stage.warm_up()

    def run(documents: pl.DataFrame) -> list:  # type: ignore[type-arg]
        parts = list(documents.iter_slices(PART))
        return list(stage.decide([part.select("id").hstack(stage.measure(part)) for part in parts]))

    return run


def edited(documents: pl.DataFrame, verdicts: list) -> pl.DataFrame:  # type: ignore[type-arg]
    """The documents kept, with the edits applied."""
    from curate import edits

    kept = []
    for part, one in zip(documents.iter_slices(PART), verdicts, strict=True):
        if one.edits is not None and one.edits.height:
            part = part.with_columns(pl.coalesce(edits.apply(part["text"], one.edits), "text").alias("text"))
        kept.append(part.filter(one.reason.is_null()))
    return pl.concat(kept)


def files(source: Path, target: Path, work: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[], float]:
    """A contender in this process, from a Parquet file to another."""

    def call() -> float:
        start = time.perf_counter()
        work(pl.read_parquet(source)).write_parquet(target, compression="zstd", compression_level=1)
        return time.perf_counter() - start

    return call


def memory(documents: pl.DataFrame, work: Callable[[pl.DataFrame], object]) -> Callable[[], float]:
    """A contender in this process over texts in memory."""

    def call() -> float:
        start = time.perf_counter()
        work(documents)
        return time.perf_counter() - start

    return call


def elsewhere(interpreter: str, script: str, source: Path, target: Path, *arguments: object) -> Callable[[], float]:
    """A contender in a process of its own."""
    texts = [str(one) for one in arguments]
    return lambda: float(peers.call(interpreter, PEERS / script, source, target, *texts)["seconds"])  # type: ignore[arg-type]


Task = tuple[dict[str, Callable[[], float]], Callable[[str], dict[str, object]]]


def exact(frame: pl.DataFrame, source: Path, _: object) -> Task:
    """The contenders for documents, and their score."""
    targets = {name: source.parent / f"{name}-exact.parquet" for name in ("palimpsest", "polars", "datatrove")}
    ours = our("exact_dedup")
    unique = lambda documents: documents.unique("text", keep="first", maintain_order=True)  # noqa: E731
    chosen = {
        "palimpsest": files(source, targets["palimpsest"], lambda documents: edited(documents, ours(documents))),
        "polars": files(source, targets["polars"], unique),
        "datatrove": elsewhere(sys.executable, "datatrove_repeats.py", source, targets["datatrove"], "exact", 0),
        "palimpsest, texts in memory": memory(frame, ours),
        "polars, texts in memory": memory(frame, unique),
    }
    folded = pl.Series([" ".join(text.split()) for text in frame["text"]])
    again = frame["id"].filter(~folded.is_first_distinct())

    def score(name: str) -> dict[str, object]:
        if name not in targets:
            return {}
        removed = frame["id"].filter(~frame["id"].is_in(pl.read_parquet(targets[name])["id"].implode()))
        both = removed.is_in(again.implode()).sum()
        return {"removed": len(removed), "recall": both / len(again), "precision": both / len(removed)}

    return chosen, score


def lines(frame: pl.DataFrame, source: Path, _: object) -> Task:
    """The contenders for lines, and their score."""
    targets = {name: source.parent / f"{name}-lines.parquet" for name in ("palimpsest", "polars", "datatrove")}
    ours = our("paragraph_dedup", unit="line", min_words=LINE_WORDS, min_left=1)
    chosen = {
        "palimpsest": files(source, targets["palimpsest"], lambda documents: edited(documents, ours(documents))),
        "polars": files(source, targets["polars"], polars_lines),
        "datatrove": elsewhere(
            sys.executable, "datatrove_repeats.py", source, targets["datatrove"], "lines", LINE_WORDS
        ),
    }
    before = line_counts(frame)
    extra = before.group_by("line", "long").agg(pl.col("count").sum(), pl.col("bytes").first())
    wanted = extra.filter("long").select(((pl.col("count") - 1) * pl.col("bytes")).sum()).item()

    def score(name: str) -> dict[str, object]:
        after = line_counts(pl.read_parquet(targets[name])).group_by("line").agg(left=pl.col("count").sum())
        joined = extra.join(after, "line", how="left").with_columns(pl.col("left").fill_null(0))
        gone = joined.with_columns(gone=pl.col("count") - pl.col("left"))
        right = gone.filter("long").select((pl.min_horizontal("gone", pl.col("count") - 1) * pl.col("bytes")).sum())
        removed = gone.select((pl.col("gone") * pl.col("bytes")).sum()).item()
        lost = gone.filter(pl.col("left") == 0).height
        return {"recall": right.item() / wanted, "precision": right.item() / removed, "lost lines": lost}

    return chosen, score


def polars_lines(documents: pl.DataFrame) -> pl.DataFrame:
    """Lines by Polars alone."""
    each = documents.select("id", pl.col("text").str.split("\n")).explode("text")
    line = pl.col("text").str.strip_chars()
    short = line.str.count_matches(" ", literal=True) < LINE_WORDS - 1
    kept = each.filter(short | line.is_first_distinct())
    return kept.group_by("id", maintain_order=True).agg(pl.col("text").str.join("\n"))


def line_counts(frame: pl.DataFrame) -> pl.DataFrame:
    """Every line (stripped) by document, how often, its bytes, and whether it has enough words."""
    line = pl.col("text").str.strip_chars().str.replace_all(r"\s+", " ")
    each = frame.select("id", pl.col("text").str.split("\n")).explode("text").select("id", line=line)
    counts = each.filter(pl.col("line") != "").group_by("id", "line").agg(count=pl.len())
    words = pl.col("line").str.count_matches(" ", literal=True) + 1
    return counts.with_columns(bytes=pl.col("line").str.len_bytes(), long=words >= LINE_WORDS)


def spans(frame: pl.DataFrame, source: Path, planted: list[tuple[int, int, int]]) -> Task:
    """The contenders for spans, and their score by the bytes of all texts joined by a zero byte."""
    target, found = source.parent / "spans.parquet", source.parent / "spans.npy"
    ours = our("substring_dedup", min_words=SPAN_WORDS)
    given: list = []  # type: ignore[type-arg]

    def stage(documents: pl.DataFrame) -> pl.DataFrame:
        given[:] = ours(documents)
        return edited(documents, given)

    python = peers.python("suffix_array", "pydivsufsort==0.0.20", "polars==2.1.0", "numpy")
    chosen = {
        "palimpsest": files(source, target, stage),
        "suffix array": elsewhere(python, "suffix_array.py", source, found, SPAN_BYTES),
    }
    data = [text.encode() for text in frame["text"]]
    starts = np.cumsum([0, *(len(one) + 1 for one in data)])
    twice = stands_twice(data, starts)
    is_planted = np.zeros(starts[-1], bool)
    for document, start, end in planted:
        is_planted[starts[document] + start : starts[document] + end] = True

    def score(name: str) -> dict[str, object]:
        removed = np.zeros(starts[-1], bool)
        if name == "palimpsest":
            for number, one in enumerate(given):
                for at, start, end in one.edits.select("at", "start", "end").iter_rows():
                    removed[starts[number * PART + at] + start : starts[number * PART + at] + end] = True
                for at in np.flatnonzero(one.reason.is_not_null()):
                    removed[starts[number * PART + at] : starts[number * PART + at + 1] - 1] = True
        else:
            removed[:-1] = np.load(found)
        return {
            "MB removed": removed.sum() / 1e6,
            "recall": (removed & is_planted).sum() / is_planted.sum(),
            "precision": (removed & twice).sum() / removed.sum(),
        }

    return chosen, score


def stands_twice(data: list[bytes], starts: np.ndarray) -> np.ndarray:
    """By byte of the joined texts: whether it lies in (the white space around) 50 words that stand there twice.

    Words get numbers, then each pair of equal runs of words one number, for runs of 1, 2, 4, ... 32 words.
    """
    places = [(start + one.start(), start + one.end(), one.group()) for start, text in zip(starts, data, strict=False)
              for one in re.finditer(rb"\S+", text)]  # fmt: skip
    document = np.searchsorted(starts, [begin for begin, _, _ in places], side="right")
    names = np.unique([word for _, _, word in places], return_inverse=True)[1].astype(np.int64)
    length = 1
    while 2 * length <= SPAN_WORDS:
        names = np.unique(names[:-length] * (names.max() + 1) + names[length:], return_inverse=True)[1].astype(np.int64)
        length *= 2
    rest = SPAN_WORDS - length
    names = names[: len(names) - rest] * (names.max() + 1) + names[rest:]
    whole = document[: len(names)] == document[SPAN_WORDS - 1 :][: len(names)]
    _, place, count = np.unique(names[whole], return_inverse=True, return_counts=True)
    found = np.zeros(starts[-1], bool)
    for first in np.flatnonzero(whole)[count[place] > 1].tolist():
        last = first + SPAN_WORDS - 1
        found[places[first][0] : places[last][1]] = True
    for begin, end in zip([one[1] for one in places[:-1]], [one[0] for one in places[1:]], strict=True):
        if found[begin - 1] or (end < len(found) and found[end]):
            found[begin:end] = True
    return found


TASKS = {"exact": exact, "lines": lines, "spans": spans}

if __name__ == "__main__":
    main()
