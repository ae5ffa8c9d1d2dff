"""Turns HTML into its main text."""

import functools
import logging
from collections.abc import Callable

import polars as pl
from pydantic import Field

from curate.sources import HTML_FORMATS
from curate.stage import Stage, Verdicts, detail

PAGE_TAGS = (
    "!doctype html|html|head|body|title|meta|link|script|style|main|article|section|header|nav|div|table|h[1-6]|p|ul|ol"
)
STARTS_AS_HTML = rf"(?is)\A(?:[\s\ufeff]|<\?.*?>|<!--.*?-->)*<(?:{PAGE_TAGS})\b[^>]*>"
"""A document that starts so is HTML whatever file it is from; prose that talks about tags does not."""
HAS_A_TAG = r"<[A-Za-z!/?]"
"""Enough in a document from an HTML or WARC file."""
FROM_HTML_FILE = rf"(?i)(?:{'|'.join(HTML_FORMATS).replace('.', '[.]')})(?:[.][a-z0-9]+)?#[0-9]+$"
"""How the origin of such a document ends."""
UNPARSABLE = r"\A[\s\ufeff]*<\?xml[^>]*>|[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]"
"""The XML declaration, whose encoding is not the text's any more, and characters at which the parser stops."""


class Extract(Stage, name="extract"):
    """Keeps the main text of documents that are HTML; other documents pass as they are.

    trafilatura (Barbaresi 2021, aclanthology.org/2021.acl-demo.15) with its balanced settings, tables kept, readers'
    comments left out; a table row becomes a line with `|` between its cells. A document is HTML when it starts with a
    tag of a page, or when it is from an HTML or WARC file and has a tag. Put it first, before normalize: it then runs
    while reading, and the HTML itself is not stored.

    On 187 pages with clinical notes (tests/benchmarks/extract.py, words against the notes) precision is .76 and recall
    .999; all text outside scripts gives .71 and .999, trafilatura's settings for precision the same as these at 3/4 of
    the speed, those for recall .76 and .98, without its fallback extractors .47 and .05. What is left beside the notes
    stands on every page of the site: let paragraph_dedup remove it. About 150 pages/s, 2.5 MB/s of HTML a core. No
    clock is read and no page depends on another one: trafilatura's own deduplication stays off, since it remembers
    earlier pages.

    Reasons: no_main_text (nothing found, or no tree: tags nested more than 255 deep), html_too_large, broken_html (the
    parser failed); detail: bytes, and the limit or the error.
    """

    edits = True

    max_bytes: int = Field(5_000_000, ge=0)
    """Bytes of HTML above which a document is dropped as html_too_large; 0 turns it off. Time grows faster than size:
    about 10 s for a page of this size that is all paragraphs."""

    def judge(self, documents: pl.DataFrame) -> Verdicts:
        pages = documents.select(pl.when(is_html()).then(pl.col("text").str.replace_all(UNPARSABLE, ""))).to_series()
        found = [self._page(page) if page is not None else (None, None, None) for page in pages]
        columns = pl.DataFrame(found, schema=dict.fromkeys(("text", "reason", "detail"), pl.String), orient="row")
        return Verdicts(columns["reason"], columns["detail"], text=columns["text"])

    def _page(self, page: str) -> tuple[str | None, str | None, str | None]:
        """(text, reason, detail) of one page."""
        size = len(page.encode())
        if self.max_bytes and size > self.max_bytes:
            return None, "html_too_large", detail(bytes=size, limit=self.max_bytes)
        try:
            text = _extractor()(page)
        except Exception as error:  # pages of the web find every hole in a parser; none may stop the run
            return None, "broken_html", detail(bytes=size, error=f"{type(error).__name__}: {error}"[:200])
        return (text, None, None) if text else (None, "no_main_text", detail(bytes=size))


def is_html() -> pl.Expr:
    """Whether a document (columns text, origin) is HTML."""
    text, from_file = pl.col("text"), pl.col("origin").str.contains(FROM_HTML_FILE)
    return text.str.contains(STARTS_AS_HTML) | (from_file & text.str.contains(HAS_A_TAG))


@functools.cache
def _extractor() -> Callable[[str], str | None]:
    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it logs a line for every page without a text
    return functools.partial(trafilatura.extract, include_comments=False)
