"""Where in a document the items stand that it holds, and what to cut."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from curate.kernels.contamination import scan
from curate.kernels.words import find_words

if TYPE_CHECKING:
    from curate.contamination_index import Index

WIDEN = 200
"""Bytes that either end of a cut moves at most to the end of a sentence or line; else it ends with a word."""
ROUNDS = 10
"""Times that a document is cut and scanned again: a scan finds an item once, however often it stands there."""
_ENDS = re.compile(rb"[.!?](?:[)\]\"']|\xe2\x80[\x99\x9d])*(?=\s)|\n|\xe3\x80\x82|\xef\xbc[\x81\x9f]")
"""A sentence's end, also in Chinese and Japanese, or a line's."""

_OPTIONS = re.compile(rb"(?:\s*(?:\(?[A-J0-9][.):][^\S\n]|Answer\b)[^\n]{0,200}(?=\n|\Z))+")
"""Lines after a question: choices with their labels, the answer."""


@dataclass
class Span:
    """Bytes start..end-1 of a document's UTF-8, and the items that stand there: (item, score), the best first."""

    start: int
    end: int
    items: list[tuple[int, float]]


def find_spans(index: "Index", texts: pl.Series) -> Iterator[tuple[int, list[Span]]]:
    """Documents that hold items, in order: (position in `texts`, a span an item, the best first)."""
    array = texts.to_arrow()
    matches = list(scan(index, array))
    documents, _, _, firsts, lasts = np.array(matches, np.int64).reshape(-1, 5).T.copy()
    begins, ends = find_words(array, documents, firsts, lasts)
    placed = zip(matches, begins.tolist(), ends.tolist(), strict=True)
    for document, group in groupby(placed, lambda one: one[0].document):
        yield document, [Span(begin, end, [(match.item, match.score)]) for match, begin, end in group]


def cuts(index: "Index", texts: pl.Series) -> dict[int, list[Span] | None]:
    """What to cut from the documents that hold items, so that they hold none: disjoint spans in ascending order.

    None for a document that still holds one after `ROUNDS` rounds.
    """
    found: dict[int, list[Span] | None] = {}
    rows = list(range(len(texts)))
    for _ in range(ROUNDS):
        left, again = [], []
        for position, spans in find_spans(index, texts):
            row, raw = rows[position], texts[position].encode()
            spans = merge([_snap(raw, span) for span in spans])
            found[row] = merge([*(found.get(row) or []), *spans])
            blank = bytearray(raw)
            for span in spans:  # line ends instead of the text: no words, and bytes keep their places
                blank[span.start : span.end] = b"\n" * (span.end - span.start)
            left.append(row)
            again.append(blank.decode())
        rows, texts = left, pl.Series("text", again, pl.String)
    return found | {rows[position]: None for position, _ in find_spans(index, texts)}


def merge(spans: list[Span]) -> list[Span]:
    """The spans in ascending order, those that overlap as one."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if merged and span.start < merged[-1].end:
            last = merged.pop()
            items = sorted({*last.items, *span.items}, key=lambda one: (-one[1], one[0]))
            span = Span(last.start, max(last.end, span.end), items)
        merged.append(span)
    return merged


def _snap(raw: bytes, span: Span) -> Span:
    """The span from sentence to sentence, with choices and answer that follow it.

    Either end moves to the nearest end of a sentence or line, so a sentence of which less than half is in the span
    stays; and white space goes that a cut would leave twice.
    """
    low, high = max(0, span.start - WIDEN), min(len(raw), span.end + WIDEN)
    ends = [match.start() if match.group() == b"\n" else match.end() for match in _ENDS.finditer(raw, low, high)]
    ends = [0] * (low == 0) + ends + [len(raw)] * (high == len(raw))
    start = min((_skip_space(raw, end) for end in ends), key=lambda end: abs(end - span.start), default=span.start)
    end = min((end for end in ends if end > start), key=lambda end: abs(end - span.end), default=span.end)
    start = start if start < span.end and abs(start - span.start) <= WIDEN else span.start
    end = end if abs(end - span.end) <= WIDEN else span.end
    options = _OPTIONS.match(raw, end)
    end = options.end() if options else end
    if start == 0 or raw[start - 1 : start] == b"\n":
        end = _skip_space(raw, end)
    elif raw[start - 1 : start] == b" ":
        end = _skip_space(raw, end, b"\t ")
    return Span(start, end, span.items)


def _skip_space(raw: bytes, at: int, space: bytes = b"\n\r\t ") -> int:
    while at < len(raw) and raw[at : at + 1] in space:
        at += 1
    return at
