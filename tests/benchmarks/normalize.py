"""Normalisation: speed beside datatrove's formatters and the libraries text after text, on one core.

    python tests/benchmarks/normalize.py [--rounds 5] [--megabytes 20] [--data ../shared/data]

English: documents of the domain; mixed: sentences in 16 languages, a quarter of them with mojibake planted (UTF-8 read
as Windows-1252). `mended` is the share of planted texts that come out as the text they were made from comes out.
datatrove's chain is FTFYFormatter, SymbolLinesFormatter and a strip; ftfy alone is ftfy.fix_text and NFC.
"""

import argparse
import contextlib
import gzip
import io
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from timing import interleaved, report

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
EVERY = 4
"""Of the sentences with letters outside ASCII every fourth gets mojibake."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    compare("normalize_english", english(options.data, options.megabytes), None, options.rounds)
    clean, broken = mixed(options.data)
    compare("normalize_mixed", broken, clean, options.rounds)


def compare(name: str, texts: pl.Series, truth: pl.Series | None, rounds: int) -> None:
    """One table; with `truth`, the share of the texts that differ from it which are mended."""
    contenders: dict[str, Callable[[pl.Series], list[str]]] = {
        "palimpsest": palimpsest,
        "palimpsest, indic": lambda given: palimpsest(given, indic=True),
        "datatrove": datatrove,
        "ftfy": ftfy_alone,
    }
    found: dict[str, list[str]] = {}

    def call(contender: str) -> Callable[[], None]:
        return lambda: found.update({contender: contenders[contender](texts)})

    seconds = interleaved({contender: call(contender) for contender in contenders}, rounds)
    size = int(texts.str.len_bytes().sum()) / 1e6
    rows: dict[str, dict[str, Any]] = {}
    for contender, taken in seconds.items():
        rows[contender] = {**taken, "MB/s": size / taken["median_s"]}
        if truth is not None:
            wanted = contenders[contender](truth)
            mended = [one == other for one, other in zip(found[contender], wanted, strict=True)]
            planted = (texts != truth).to_list()
            rows[contender]["mended"] = sum(m and p for m, p in zip(mended, planted, strict=True)) / sum(planted)
    report(name, f"{len(texts):,} texts, {size:.1f} MB, one core", rows)


def english(data: Path, megabytes: float) -> pl.Series:
    """Documents of the domain's files, every file in the same share, up to that size."""
    files = sorted(data.glob("domain/*.jsonl.gz"))
    text = pl.concat([pl.read_ndjson(file, schema={"text": pl.String}) for file in files])["text"]
    return text.gather_every(max(1, round(int(text.str.len_bytes().sum()) / 1e6 / megabytes)))


def mixed(data: Path) -> tuple[pl.Series, pl.Series]:
    """Sentences, and the same with mojibake in every fourth that has letters outside ASCII and can have it."""
    rows = [json.loads(line) for line in gzip.open(data / "multilingual" / "langid_sentences.jsonl.gz")]
    clean = [row["text"] for row in rows]
    broken, candidates = list(clean), 0
    for number, text in enumerate(clean):
        if text.isascii():
            continue
        candidates += 1
        if candidates % EVERY == 0:
            with contextlib.suppress(UnicodeDecodeError):  # five bytes have no character in Windows-1252
                broken[number] = text.encode().decode("cp1252")
    return pl.Series(clean), pl.Series(broken)


def palimpsest(texts: pl.Series, indic: bool = False) -> list[str]:
    """The stage as it stands in a pipeline; removed texts come out empty."""
    from curate.normalize import Normalize

    changed = Normalize(indic=indic).judge(texts.to_frame("text")).text
    assert changed is not None
    return pl.select(pl.coalesce(changed, texts)).to_series().to_list()


def datatrove(texts: pl.Series) -> list[str]:
    """Its formatters, document after document."""
    from datatrove.data import Document
    from datatrove.pipeline.formatters import FTFYFormatter, SymbolLinesFormatter
    from loguru import logger

    logger.remove()
    ftfy, symbols = FTFYFormatter(normalization="NFC"), SymbolLinesFormatter()
    documents = (Document(text, str(number)) for number, text in enumerate(texts))
    with contextlib.redirect_stderr(io.StringIO()):
        return [document.text.strip() for document in symbols.run(ftfy.run(documents))]


def ftfy_alone(texts: pl.Series) -> list[str]:
    """ftfy's whole text repair and NFC, text after text."""
    import ftfy

    return [unicodedata.normalize("NFC", ftfy.fix_text(text)) for text in texts]


if __name__ == "__main__":
    main()
