"""Perplexity on real text, one core: speed beside datatrove's, and which planted defects the scores find.

    python tests/benchmarks/perplexity.py [--rounds 5] [--documents 4000] [--data ../shared/data]

A KenLM (5-gram, singletons pruned) is trained on half of the biomedical text; every contender scores documents of the
other half with that file. palimpsest normalises, scores and finds the worst segment; datatrove's CCNetPerplexityStats
normalises in its own way and only scores. datatrove's words are those of str.split, in favour of it: its stock models
cut words by SentencePiece first, which `datatrove, sentencepiece` does (a vocabulary of 8,000 made from the same text).
The lines of `kenlm` are normalised before the clock starts.

The second table is the area under the ROC curve, defects against the documents they were planted in, by the score of
the document and of its worst segment of 30 words. Documents are compared within their source, as the stage's
percentiles do, and the sources averaged by their size; 0.5 is chance. `pairs in order` is the share of documents whose
defective copy scores above themselves.
"""

import argparse
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import peers
import polars as pl
from timing import interleaved, report

from curate import kenlm_model
from curate.kenlm_text import normalized_lines
from curate.perplexity import Perplexity
from curate.stage import Workspace

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
TINY = Path(__file__).resolve().parents[2] / "pipelines" / "models" / "tiny-llama"
DOMAIN = ("abstracts", "clinical_notes", "patient_qa", "guidelines", "dialogues")
GENERAL = ("books", "gov_web", "tech_docs", "textbooks_general", "wikitext2")
SHARE = 0.12
"""Share of a document's words that the passage planted in it has."""
LONG = 250
"""Words a document has at least to get a passage."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=4000, help="documents timed")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    sources = [texts(options.data / "domain" / f"{name}.jsonl.gz") for name in DOMAIN]
    domain = pl.concat(text.to_frame().with_columns(source=pl.lit(n)) for n, text in zip(DOMAIN, sources, strict=True))
    seen, held = domain.gather_every(2)["text"], domain.gather_every(2, 1).sample(fraction=1, shuffle=True, seed=0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model.binary"
        kenlm_model.train([normalized_lines(seen)], 5, 1, model, "benchmark")
        speed(model, held["text"].head(options.documents), options.rounds, folder)
        quality(model, held, options.data, folder)


def texts(path: Path) -> pl.Series:
    """The texts of a source."""
    return pl.read_ndjson(path, schema={"text": pl.String})["text"]


def stage(model: Path) -> Perplexity:
    """Our stage over a given model."""
    made = Perplexity(model=str(model))
    made._workspace = Workspace(model.parent, [], [], False, "benchmark")
    return made


def speed(model: Path, held: pl.Series, rounds: int, folder: Path) -> None:
    """The first table."""
    import kenlm

    ours, loaded = stage(model), kenlm.Model(str(model))
    frame = pl.DataFrame({"row": range(len(held)), "text": held})
    lines = normalized_lines(held).to_pylist()
    contenders: dict[str, Callable[[], Any]] = {
        "palimpsest": lambda: ours.measure(frame),
        "datatrove": lambda: datatrove(model, held, folder),
        "datatrove, sentencepiece": lambda: datatrove(model, held, folder, pieces(held, folder)),
        "kenlm score, ready lines": lambda: [loaded.score(line) for line in lines],
        "kenlm full_scores, ready lines": lambda: [sum(s[0] for s in loaded.full_scores(line)) for line in lines],
    }
    pieces(held, folder)  # trained before the clock starts
    megabytes = int(held.str.len_bytes().sum()) / 1e6
    rows: dict[str, dict[str, Any]] = {name: {**taken} for name, taken in interleaved(contenders, rounds).items()}
    for row in rows.values():
        row |= {"MB/s": megabytes / row["median_s"], "times ours": row["median_s"] / rows["palimpsest"]["median_s"]}
    report("perplexity", f"{len(held):,} documents, {megabytes:.1f} MB, one core", rows)


class _Words:
    """datatrove's tokenizer for a model of whole words."""

    def tokenize(self, text: str) -> str:
        return " ".join(text.split())


def datatrove(model: Path, held: pl.Series, folder: Path, tokenizer: Any = None) -> None:
    """CCNetPerplexityStats over the documents, its summary group only."""
    import kenlm
    from datatrove.data import Document
    from datatrove.pipeline.stats import CCNetPerplexityStats

    step = CCNetPerplexityStats(str(folder / "stats"), "wikipedia", groups_to_compute=["summary"])
    step.model._model, step.model._tokenizer = kenlm.Model(str(model)), tokenizer or _Words()
    documents = (Document(text=text, id=str(number)) for number, text in enumerate(held))
    for _ in step.run(documents):
        pass


def pieces(held: pl.Series, folder: Path) -> Any:
    """datatrove's own tokenizer over a SentencePiece model of this text, made once."""
    environment = Path(peers.python("sentencepiece", "sentencepiece==0.2.3")).parents[1]
    sys.path.append(str(next(environment.glob("lib/*/site-packages"))))  # it needs no other package
    import sentencepiece
    from datatrove.utils.perplexity import SentencePiece

    path = folder / "pieces.model"
    if not path.exists():
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(normalized_lines(held.head(3000)).to_pylist()),
            model_prefix=str(path.with_suffix("")),
            vocab_size=8000,
            max_sentence_length=100_000,
            minloglevel=2,
        )
    tokenizer = SentencePiece("", "")
    tokenizer._model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return tokenizer


def quality(model: Path, held: pl.DataFrame, data: Path, folder: Path) -> None:
    """The second table."""
    draw = random.Random(0)
    clean = held.head(3000)
    long = clean.filter(pl.col("text").str.split(" ").list.len() >= LONG)
    some = clean.head(150)
    prose, menus = " ".join(general(data, 60)["text"]).split(), " ".join(boilerplate(data)).split()
    pages = pl.read_ndjson(data / "noisy" / "ocr_pairs.jsonl.gz").with_columns(source=pl.lit("books"))
    gold = pages.select("source", text=pl.col("meta").struct.field("gold"))
    garbled = [
        k for k, (bad, good) in enumerate(zip(pages["text"], gold["text"], strict=True)) if unread(bad, good) > 0.1
    ]
    books = folder / "books.binary"
    kenlm_model.train([normalized_lines(texts(data / "general" / "books.jsonl.gz"))], 5, 1, books, "benchmark")
    defects: dict[str, tuple[Path, pl.DataFrame, pl.DataFrame]] = {
        "5 % of letters wrong": (model, clean, changed(clean, lambda text: misread(text, draw, 0.05))),
        "2 % of letters wrong": (model, clean, changed(clean, lambda text: misread(text, draw, 0.02))),
        "words shuffled": (model, clean, changed(clean, lambda text: shuffled(text, draw))),
        "off-domain documents": (model, clean, general(data, 400)),
        "12 % web menus inside": (model, long, changed(long, lambda text: planted(text, menus, draw))),
        "12 % general prose inside": (model, long, changed(long, lambda text: planted(text, prose, draw))),
        "real OCR of books": (books, gold, pages.select("source", "text")),
        "real OCR, > 10 % of words wrong": (books, gold[garbled], pages[garbled].select("source", "text")),
        "5 % of letters wrong, tiny-llama": (TINY, some, changed(some, lambda text: misread(text, draw, 0.05))),
        "words shuffled, tiny-llama": (TINY, some, changed(some, lambda text: shuffled(text, draw))),
    }
    rows: dict[str, dict[str, Any]] = {}
    for name, (scorer, good, bad) in defects.items():
        good, bad = (x.hstack(stage(scorer).measure(x.with_row_index("row"))) for x in (good, bad))
        rows[name] = {
            "documents": len(good),
            "with defect": len(bad),
            "AUC document": auc(bad, good, "score"),
            "AUC worst segment": auc(bad, good, "worst"),
            "pairs in order": in_order(bad["score"], good["score"]) if len(bad) == len(good) else None,
        }
    report("perplexity_quality", "area under the ROC curve, planted defects against clean documents", rows)


def changed(documents: pl.DataFrame, change: Callable[[str], str]) -> pl.DataFrame:
    """The documents with a defect each."""
    return documents.with_columns(text=pl.Series([change(text) for text in documents["text"]]))


def general(data: Path, each: int) -> pl.DataFrame:
    """That many documents of every general source, or all it has; without a source to compare them within."""
    sources = [texts(data / "general" / f"{name}.jsonl.gz") for name in GENERAL]
    chosen = pl.concat([source.sample(min(each, len(source)), seed=0) for source in sources])
    return chosen.to_frame().with_columns(source=pl.lit(None, pl.String))


def boilerplate(data: Path) -> list[str]:
    """Lines that a tenth of the web pages share: menus, notices, forms."""
    pages = pl.read_ndjson(data / "noisy" / "web_html_gold.jsonl.gz")["html"]
    counts = Counter(line for page in pages for line in set(_lines(page)))
    return [line for line, count in sorted(counts.items()) if count >= len(pages) / 10]


def _lines(page: str) -> Iterator[str]:
    bare = re.sub(r"(?is)<(script|style).*?</\1>|<!--.*?-->|<[^>]+>", "\n", page)
    for line in bare.splitlines():
        if re.search(r"[A-Za-z]{2}", line):
            yield " ".join(line.split())


def misread(text: str, draw: random.Random, share: float) -> str:
    """`text` with that share of its letters replaced."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return "".join(draw.choice(letters) if c.isalpha() and draw.random() < share else c for c in text)


def shuffled(text: str, draw: random.Random) -> str:
    """The words of `text` in another order."""
    words = text.split()
    draw.shuffle(words)
    return " ".join(words)


def planted(text: str, passage: list[str], draw: random.Random) -> str:
    """`text` with a stretch of `passage` somewhere inside."""
    words = text.split()
    count = max(1, round(len(words) * SHARE))
    at, begin = draw.randrange(len(words)), draw.randrange(max(1, len(passage) - count))
    return " ".join([*words[:at], *passage[begin : begin + count], *words[at:]])


def in_order(bad: pl.Series, good: pl.Series) -> float:
    """Share of rows in which the bad score is the higher one."""
    return int((bad > good).sum()) / len(bad)


def unread(bad: str, good: str) -> float:
    """Share of different words of an OCR page that its corrected text does not have."""
    words, right = (set(line.split()) for line in normalized_lines(pl.Series([bad, good])).to_pylist())
    return len(words - right) / max(1, len(words))


def auc(bad: pl.DataFrame, good: pl.DataFrame, column: str) -> float:
    """Probability that a bad document scores above a good one of its source (a bad one without a source: of any)."""
    total = 0.0
    for (source,), mine in good.drop_nulls(column).group_by("source", maintain_order=True):
        theirs = bad.filter(pl.col("source").is_null() | (pl.col("source") == source))[column].drop_nulls()
        ranks = pl.concat([theirs, mine[column]]).rank("average").to_numpy()[: len(theirs)]
        above = (np.sum(ranks) - len(theirs) * (len(theirs) + 1) / 2) / (len(theirs) * len(mine))
        total += float(above) * len(mine)
    return total / good[column].count()


if __name__ == "__main__":
    main()
