"""What tests/benchmarks/scale.py measures, each piece in a process of its own; seconds are of processor time."""

import gzip
import json
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from pipeline import REPO, corpus

BATCH = 20_000
"""Documents of a part, as curate.part_rows."""
COPIES = 20
"""Of so many synthetic documents one is a copy of an earlier one of its part."""
WORDS, LETTERS, VOCABULARY = 32, 7, 1 << 20
"""Words of a synthetic document, letters of each, and how many different ones there are."""
SEQ_LEN = 4096
MEDIAN, SPREAD = 493, 1.1
"""Of the synthetic documents' tokens, log-normal: as tests/benchmarks/packing.py."""


def real(data: str, megabytes: float) -> dict[str, float]:
    """Curate some of the real text by pipelines/clinical.yaml, encode what is kept with GPT-2's ids and pack it."""
    from curate import passes
    from curate.curation import resolve_curation, run_curation
    from pipelines import config

    spent = {"prepare": 0.0, "decide": 0.0}
    once = passes.Runner.once

    def timed(self: passes.Runner, name: str, label: str, work: Callable[[], None]) -> None:
        start = processor()
        once(self, name, label, work)
        spent[name.rpartition("-")[2]] += processor() - start

    passes.Runner.once = timed  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory(dir=REPO / "build") as name:
        folder = Path(name)
        documents, size = corpus(Path(data), folder / "data", megabytes * 1e6)
        run = folder / "run"
        file = REPO / "pipelines" / "clinical.yaml"
        keys: dict[str, Any] = {"data_root": str(folder / "data"), "output": str(run), "curate.executor.workers": 1}
        start = processor()
        run_curation(resolve_curation(config.load(file, keys), str(file), lambda line: None))
        curated = processor() - start
        encoded, packed, tokens, kept = _packed(run, Path(data))
        return {
            "documents": documents,
            "text bytes": size,
            "kept": kept,
            "tokens": tokens,
            "curate s": curated - spent["prepare"],
            "of it deciding s": spent["decide"],
            "preparing s": spent["prepare"],
            "encode s": encoded,
            "pack s": packed,
            "input bytes": on_disk(folder / "data", "[dg]*/*.gz"),
            "work bytes": on_disk(run / "work", "*/*/*.parquet"),
            "documents bytes": on_disk(run, "documents/**/*.parquet"),
            "packed bytes": on_disk(run / "packed", "*/*/*"),
        }


def _packed(run: Path, data: Path) -> tuple[float, float, int, int]:
    """Seconds of encoding and of packing, tokens and documents."""
    from mix.build import POOLS
    from mix.config import MixConfig
    from mix.source import find_documents, pack_sources
    from tokenization.encode import Encoder

    shutil.rmtree(run / "tokenizer", ignore_errors=True)
    (run / "tokenizer").mkdir()
    definition = gzip.decompress((data / "tokenizers" / "gpt2.tokenizer.json.gz").read_bytes())
    (run / "tokenizer" / "tokenizer.json").write_bytes(definition)
    (run / "tokenizer" / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    sources, encoder, spent = find_documents(run / "documents", POOLS), Encoder(run / "tokenizer"), 0.0
    for _ in range(2):  # the second time counts: the first one opens the tokenizer
        start = processor()
        for source in sources:
            for _ in source.encoded(encoder):
                pass
        spent = processor() - start
    start = processor()
    packed = pack_sources(run, sources, encoder, MixConfig(seq_len=SEQ_LEN))
    whole = processor() - start
    tokens, documents = (sum(getattr(one.plan, name) for one in packed) for name in ("tokens", "documents"))
    return spent, whole - spent, tokens, documents


def signatures(documents: int) -> dict[str, float]:
    """MinHash signatures of made texts, part by part."""
    from curate.near_dedup import NearDedup

    stage, rng, seconds = NearDedup(), np.random.default_rng(0), 0.0
    stage.warm_up()
    letters = rng.integers(97, 123, (VOCABULARY, LETTERS + 1), np.uint8)
    letters[:, LETTERS] = 32
    words = letters.view(np.uint64).ravel()
    for first in range(0, documents, BATCH):
        part = pl.DataFrame({"text": texts(rng, words, min(BATCH, documents - first))})
        start = processor()
        stage.measure(part)
        seconds += processor() - start
    return {"documents": documents, "seconds": seconds, "text bytes": documents * WORDS * (LETTERS + 1)}


def texts(rng: np.random.Generator, words: np.ndarray, documents: int) -> pl.Series:
    """Documents of WORDS of these words, each with the space after it as eight bytes (uint64)."""
    text = words[rng.integers(0, len(words), documents * WORDS)]
    ends = pa.array(np.arange(documents + 1) * (WORDS * text.itemsize))
    return pl.Series(pa.LargeStringArray.from_buffers(documents, ends.buffers()[1], pa.py_buffer(text)))


def exact_keys(documents: int) -> dict[str, float]:
    """exact_dedup's decisions from hashes."""
    from curate.exact_dedup import ExactDedup

    def part(rng: np.random.Generator, ids: pl.Series) -> pl.DataFrame:
        hashes = rng.integers(0, 1 << 64, (len(ids), 2), np.uint64)
        hashes[COPIES - 1 :: COPIES] = hashes[::COPIES][: len(ids) // COPIES]
        return pl.DataFrame({"id": ids, "low": hashes[:, 0], "high": hashes[:, 1]})

    return _decided(ExactDedup(), Made(documents, part))


def near_keys(documents: int, memory_mb: int) -> dict[str, float]:
    """near_dedup's decisions from signatures, in blocks of so much memory."""
    from curate.near_dedup import NearDedup
    from curate.stage import Workspace

    stage = NearDedup(memory_mb=memory_mb)

    def part(rng: np.random.Generator, ids: pl.Series) -> pl.DataFrame:
        rows = rng.integers(0, 1 << 32, (len(ids), stage.bands * stage.rows), np.uint32)
        rows[COPIES - 1 :: COPIES] = rows[::COPIES][: len(ids) // COPIES]
        return pl.DataFrame({"id": ids, "signature": pl.Series(rows, dtype=pl.Array(pl.UInt32, rows.shape[1]))})

    with tempfile.TemporaryDirectory(dir=REPO / "build") as folder:
        stage._workspace = Workspace(Path(folder), [], [], False, "benchmark")
        return _decided(stage, Made(documents, part)) | {"memory_mb": memory_mb}


class Made:
    """Parts that a global stage has measured, made anew each time they are gone through."""

    def __init__(self, documents: int, part: Callable[[np.random.Generator, pl.Series], pl.DataFrame]):
        self.documents, self.part, self.seconds = documents, part, 0.0

    def __iter__(self) -> Iterator[pl.DataFrame]:
        rng = np.random.default_rng(0)
        for first in range(0, self.documents, BATCH):
            start = processor()
            numbers = pl.int_range(first, min(first + BATCH, self.documents), eager=True)
            frame = self.part(rng, ("source/" + numbers.cast(pl.String)).alias("id"))
            self.seconds += processor() - start
            yield frame


def _decided(stage: Any, made: Made) -> dict[str, float]:
    """Seconds without those of making the parts; every planted copy has to be found, and nothing else."""
    for _ in stage.decide(Made(BATCH, made.part)):  # compiles
        pass
    start = processor()
    removed = sum(verdicts.reason.len() - verdicts.reason.null_count() for verdicts in stage.decide(made))
    seconds = processor() - start - made.seconds
    assert removed == made.documents // COPIES, f"{removed} of {made.documents} removed"
    return {"documents": made.documents, "seconds": seconds}


def packing(documents: int) -> dict[str, float]:
    """mix.pack on lengths, and the check that every token has one place."""
    from mix.pack import by_document, pack

    rng = np.random.default_rng(0)
    lengths = np.empty(documents, np.int64)
    for first in range(0, documents, 1 << 20):
        some = lengths[first : first + (1 << 20)]
        some[:] = rng.lognormal(np.log(MEDIAN), SPREAD, len(some)).clip(16, 200_000)
    for warm in (lengths[:2000], lengths):
        start = processor()
        made = pack(warm, SEQ_LEN)
        *_, wrong = by_document(made.documents, made.starts, made.lengths, warm)
        assert wrong < 0
    return {"documents": documents, "seconds": processor() - start, "tokens": int(lengths.sum()), "rows": made.rows}


def plan(documents: int) -> dict[str, float]:
    """The order of an epoch of the rows that so many documents make, 8,192 rows at a time, and every source's count."""
    from mix.plan import Plan, Pool, Source

    tokens = documents * MEDIAN * float(np.exp(SPREAD**2 / 2))
    rows = int(tokens / SEQ_LEN)
    pools = []
    for name, share in (("domain", Fraction(4, 5)), ("replay", Fraction(1, 5))):
        sizes = [int(rows * share) // 21 * weight for weight in (1, 2, 3, 4, 5, 6)]
        pools.append(Pool(name, share, tuple(Source(f"s{k}", size, 0, 0, 0, ()) for k, size in enumerate(sizes))))
    made = Plan(0, SEQ_LEN, "made", 10, tuple(pools))
    rows = sum(pool.rows for pool in pools)
    for last in (8192, rows):
        start, counts = processor(), np.zeros(len(made.sources), np.int64)
        for first in range(0, last, 8192):
            found = made.rows(first, min(8192, last - first))
            counts += np.bincount(found.source, minlength=len(counts))
        assert counts.tolist() == made.taken(last)
    return {"documents": documents, "seconds": processor() - start, "tokens": tokens, "rows": rows}


def processor() -> float:
    """Seconds of processor time so far, finished child processes included."""
    return time.process_time() + sum(os.times()[2:4])


def on_disk(folder: Path, pattern: str) -> int:
    """Bytes of the files of a pattern."""
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())


def run(name: str, arguments: list[Any]) -> dict[str, float]:
    """A piece's figures, with `peak` and `before`: most bytes this process held, at the end and before its work."""
    import curate.stages  # noqa: F401  (imports are no part of what a document takes)

    (REPO / "build").mkdir(exist_ok=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    started = time.monotonic()
    figures = globals()[name](*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return figures | {"peak": peak, "before": before, "elapsed": time.monotonic() - started}
