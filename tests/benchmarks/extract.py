"""Main text from HTML: words found of the gold text, words too many, and speed, on one core.

    python tests/benchmarks/extract.py [--rounds 5] [--data ../shared/data]

187 pages of one site with advertisements, navigation and scripts; gold is the clinical note on the page. Precision and
recall count words (lower case, as often as they stand) over all pages together; F1 joins the two; no text: pages of
which nothing came out. `palimpsest` is the stage `extract`, the lines with trafilatura its other settings, `tags
stripped` all text outside scripts and styles.
"""

import argparse
import contextlib
import gzip
import io
import json
import logging
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
from timing import interleaved, report

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
Texts = list[str | None]
SETTINGS: dict[str, dict[str, bool]] = {
    "trafilatura, no tables": {"include_tables": False},
    "trafilatura, precision": {"favor_precision": True},
    "trafilatura, recall": {"favor_recall": True},
    "trafilatura, no fallback": {"no_fallback": True},
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    rows = [json.loads(line) for line in gzip.open(options.data / "noisy" / "web_html_gold.jsonl.gz")]
    pages, gold = [row["html"] for row in rows], [row["gold_text"] for row in rows]
    found: dict[str, Texts] = {}
    contenders: dict[str, Callable[[list[str]], Texts]] = {
        "palimpsest": palimpsest,
        "datatrove": datatrove,
        "tags stripped": stripped,
        "jusText": justext,
    } | {name: trafilatura_with(keys) for name, keys in SETTINGS.items()}

    def call(name: str) -> Callable[[], None]:
        return lambda: found.update({name: contenders[name](pages)})

    seconds = interleaved({name: call(name) for name in contenders}, options.rounds)
    megabytes = sum(len(page.encode()) for page in pages) / 1e6
    table = {
        name: {**taken, "pages/s": len(pages) / taken["median_s"], "MB/s": megabytes / taken["median_s"]}
        | quality(found[name], gold)
        for name, taken in seconds.items()
    }
    report("extract", f"{len(pages)} pages, {megabytes:.1f} MB of HTML", table)


def quality(texts: Texts, gold: list[str]) -> dict[str, float]:
    """Precision, recall and F1 over the words of all pages, and pages without a text."""
    same = given = wanted = 0
    for text, truth in zip(texts, gold, strict=True):
        one, other = words(text or ""), words(truth)
        same += sum((one & other).values())
        given += sum(one.values())
        wanted += sum(other.values())
    shares = {"precision": same / max(given, 1), "recall": same / wanted, "F1": 2 * same / (given + wanted)}
    return shares | {"no text": sum(not text for text in texts)}


def words(text: str) -> Counter[str]:
    """Words and how often each stands in the text."""
    return Counter(re.findall(r"\w+", text.lower()))


def palimpsest(pages: list[str]) -> Texts:
    """The stage as it stands in a pipeline."""
    from curate.extract import Extract

    text = Extract().judge(pl.DataFrame({"text": pages, "origin": "web_html_gold.jsonl.gz#0"})).text
    assert text is not None
    return text.to_list()


def datatrove(pages: list[str]) -> Texts:
    """Its Trafilatura step with its defaults: settings for precision, repeated segments out, a second a page."""
    from datatrove.data import Document
    from datatrove.pipeline.extractors import Trafilatura
    from loguru import logger

    logger.remove()
    documents = [Document(page, str(number)) for number, page in enumerate(pages)]
    with contextlib.redirect_stderr(io.StringIO()):
        kept = {document.id: document.text for document in Trafilatura().run(iter(documents))}  # type: ignore[arg-type]
    return [kept.get(str(number)) for number in range(len(pages))]


def stripped(pages: list[str]) -> Texts:
    """All text outside scripts and styles."""
    import lxml.html

    texts: Texts = []
    for page in pages:
        tree = lxml.html.document_fromstring(page)
        for element in tree.xpath("//script|//style|//noscript"):
            element.drop_tree()
        texts.append(str(tree.text_content()))
    return texts


def justext(pages: list[str]) -> Texts:
    """jusText with its English stop words."""
    import justext as library

    stops = library.get_stoplist("English")
    return ["\n".join(one.text for one in library.justext(page, stops) if not one.is_boilerplate) for page in pages]


def trafilatura_with(keys: dict[str, bool]) -> Callable[[list[str]], Texts]:
    """trafilatura with other settings, page after page."""
    import trafilatura

    return lambda pages: [trafilatura.extract(page, include_comments=False, **keys) for page in pages]


if __name__ == "__main__":
    main()
