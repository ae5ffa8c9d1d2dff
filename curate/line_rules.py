"""C4's rules for single lines, as datatrove 0.10's C4QualityFilter takes them: which lines go, what is left.

Raffel et al. 2020 (arXiv 1910.10683, section 2.2) and the code published with it.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numba import njit

from curate.kernels.character_kinds import BLANK, LINE_END, PADDING, TAIL, classify, kinds, strip
from curate.kernels.words import _code_point, string_buffers
from curate.stage import detail

POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
REASONS = ("citation", "long_word_line", "unterminated_line", "short_line", "javascript_line", "policy_line")
"""Reasons of the edits, by the codes of the kernel."""
_CITATION, _LONG_WORD, _UNTERMINATED, _SHORT, _JAVASCRIPT, _POLICY = range(6)
LEFT = ("lines_left", "sentences", "lorem_ipsum", "curly_bracket")
LINES_LEFT, SENTENCES_LEFT, LOREM_IPSUM, CURLY_BRACKET = range(4)
_THREE_DOTS = 46 << 42 | 46 << 21 | 46


class Limits(NamedTuple):
    """What cuts a line; 0 and False turn a rule off."""

    min_words: int
    max_word: int
    terminated: bool
    javascript: bool
    policy: bool
    citations: bool


def cut_lines(text: pl.Series, limits: Limits) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(per document: lines, sentences, lorem_ipsum and curly_bracket of the lines left; the edits, see Verdicts)."""
    data, offsets = string_buffers(text)
    phrases = ["javascript", "lorem ipsum", "{", *POLICIES]
    marks = text.fill_null("").str.find_many(phrases, ascii_case_insensitive=True)
    bounds = np.concatenate([[0], marks.list.len().cum_sum().to_numpy()]).astype(np.int64)
    places = marks.explode(empty_as_null=False).to_numpy().astype(np.int64)
    left, at, spans, codes, found = _cut_lines(data, offsets, kinds(), places, bounds, limits)
    documents = pl.DataFrame(left, schema=list(LEFT))
    pairs, which = np.unique(found * len(REASONS) + codes, return_inverse=True)
    details = [_detail(pair % len(REASONS), pair // len(REASONS)) for pair in pairs.tolist()]
    edits = pl.DataFrame(
        {
            "at": pl.Series(at, dtype=pl.UInt32),
            "start": pl.Series(spans[:, 0], dtype=pl.Int64),
            "end": pl.Series(spans[:, 1], dtype=pl.Int64),
            "reason": pl.Series(REASONS).gather(codes),
            "detail": pl.Series(details, dtype=pl.String).gather(which),
            "after": pl.repeat("", len(at), dtype=pl.String, eager=True),
        }
    )
    return documents, edits


def _detail(code: int, found: int) -> str:
    return detail(characters=found) if code == _LONG_WORD else detail(words=found) if code == _SHORT else detail()


@njit(cache=True, nogil=True)
def _cut_lines(data, offsets, table, marks, bounds, limits):
    """(left int64[n, 4], then of each edit: document, its bytes' (start, end), code, number found).

    `marks` are where phrases begin in the documents, those of document d from bounds[d] to bounds[d + 1].
    """
    n = offsets.size - 1
    left = np.zeros((n, 4), np.int64)
    room = 0
    for byte in data[offsets[0] : offsets[n]]:  # lines and citations, at most
        room += (byte < 32) | (byte == 0xC2) | (byte == 0xE2) | (byte == 91)
    room += n
    at, spans = np.empty(room, np.uint32), np.empty((room, 2), np.int64)
    codes, found = np.empty(room, np.int8), np.empty(room, np.int64)
    kind = np.empty(np.max(np.diff(offsets)) + PADDING, np.uint8) if n else np.empty(0, np.uint8)
    count = 0
    for d in range(n):
        before = count
        text = data[offsets[d] : offsets[d + 1]]
        classify(text, table, kind)
        count = _document(text, kind, marks[bounds[d] : bounds[d + 1]], limits, left[d], spans, codes, found, count)
        at[before:count] = d
    return left, at[:count], spans[:count], codes[:count], found[:count]


@njit(cache=True, nogil=True)
def _document(text, kind, marks, limits, left, spans, codes, found, count):
    """Add the edits of one document behind the first `count`; returns their number.

    Of the blank lines around a cut one stays, and none at the edges of the text.
    """
    line, mark, kept_end, kept_count, after_blank, extend = 0, 0, 0, count, True, False
    while line < text.size:
        stop, following = _line_end(text, kind, line)
        first, last = strip(kind, line, stop)
        if first == last:
            if extend and after_blank:
                spans[count - 1, 1] = following
            else:
                after_blank = True
            line = following
            continue
        while mark < marks.size and marks[mark] < first:
            mark += 1
        behind = mark
        while behind < marks.size and marks[behind] < last:
            behind += 1
        citations = count
        count = _citations(text, first, last, limits, spans, codes, found, count)
        code, number = _verdict(text, kind, first, last, spans[citations:count], marks[mark:behind], limits, left)
        extend = code >= 0
        if extend:
            count = citations
            spans[count, 0], spans[count, 1], codes[count], found[count] = line, following, code, number
            count += 1
        else:
            kept_end, kept_count, after_blank = stop, count, False
        line, mark = following, behind
    if kept_count < count:  # nothing is left behind the last line kept
        spans[kept_count, 0] = kept_end
        for k in range(kept_count, count):
            spans[k, 1] = spans[k + 1, 0] if k + 1 < count else text.size
    return count


@njit(cache=True, nogil=True)
def _line_end(text, kind, start):
    """Where the line that begins at `start` ends, and where the next begins."""
    end = start
    while end < text.size and kind[end] < LINE_END:
        end += 1
    following = end + (end < text.size)
    if following < text.size and text[end] == 13 and text[following] == 10:
        following += 1
    while kind[following] & (TAIL | BLANK) == TAIL | BLANK:
        following += 1
    return end, following


@njit(cache=True, nogil=True)
def _citations(text, first, last, limits, spans, codes, found, count):
    """Add the spans of [1], [], [edit] and [citation needed] in a line."""
    i = first
    while limits.citations and i < last:
        if text[i] == 91:
            end = i + 1
            while end < last and 48 <= text[end] <= 57:
                end += 1
            if end == i + 1:
                end += _starts_with(text, end, last, b"edit") + _starts_with(text, end, last, b"citation needed")
            if end < last and text[end] == 93:
                spans[count, 0], spans[count, 1], codes[count], found[count] = i, end + 1, _CITATION, 0
                count += 1
                i = end
        i += 1
    return count


@njit(cache=True, nogil=True)
def _starts_with(text, i, last, name):
    """The length of `name` where it stands at i, else 0."""
    if i + len(name) > last:
        return 0
    for k in range(len(name)):
        if text[i + k] != name[k]:
            return 0
    return len(name)


@njit(cache=True, nogil=True)
def _verdict(text, kind, first, last, citations, marks, limits, left):
    """(code of the reason to cut the line or -1, number found); a line kept is counted into `left`."""
    words, longest, sentences, ending = _measure(text, kind, first, last, citations)
    if limits.max_word and longest > limits.max_word:
        return _LONG_WORD, longest
    final = ending & 0x1FFFFF
    closed = final == 46 or final == 63 or final == 33 or final == 34 or final == 39  # . ? ! " '
    if limits.terminated and (not closed or ending == _THREE_DOTS):
        return _UNTERMINATED, 0
    if words < limits.min_words:
        return _SHORT, words
    javascript = lorem = curly = policy = False
    for place in marks:
        byte = text[place] | 32  # in lower case; of { nothing else
        javascript |= byte == 106
        lorem |= byte == 108
        curly |= byte == 123
        policy |= byte != 106 and byte != 108 and byte != 123
    left[LOREM_IPSUM] |= lorem
    if limits.javascript and javascript:
        return _JAVASCRIPT, 0
    left[CURLY_BRACKET] |= curly
    if limits.policy and policy:
        return _POLICY, 0
    left[LINES_LEFT] += 1
    left[SENTENCES_LEFT] += sentences
    return -1, 0


@njit(cache=True, nogil=True)
def _measure(text, kind, first, last, citations):
    """(words at blanks, characters of the longest, sentences, the last three characters) of a line; what lies in
    citations counts for the first two only."""
    words = longest = size = sentences = ending = passed = 0
    inside = ended = rest = False
    i = first
    while i < last:
        code, following = _code_point(text, i)
        blank = (kind[i] & BLANK) != 0
        words += size == 0 and not blank
        size = 0 if blank else size + 1
        longest = max(longest, size)
        while passed < len(citations) and citations[passed, 1] <= i:
            passed += 1
        if passed == len(citations) or i < citations[passed, 0]:
            ending = (ending << 21 | code) & ((1 << 63) - 1)
            if blank and inside:
                sentences += ended
                rest, inside, ended = not ended, False, False
            elif not blank:
                inside = True
                if code == 46 or code == 33 or code == 63:
                    ended = True
                elif not (code == 34 or code == 39 or code == 41 or code == 93):
                    ended = False
        i = following
    return words, longest, max(sentences + (inside or rest), 1), ending
