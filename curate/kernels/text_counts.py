"""What the Gopher, C4 and FineWeb rules count in a text, and its words as hashes.

A word is a run of non-blank characters from its first to its last letter, combining mark, digit or underscore; every
other sign is a word of its own: `W(?:\\S*W)?|\\S` in Python's `re`, where W is \\w or a mark.
"""

import numpy as np
from numba import njit

from curate.kernels.character_kinds import BLANK, LETTER, LINE_END, NAMING, TAIL, TERMINAL, WORD, characters, strip
from curate.kernels.words import _below, _load, _trailing_zeros

NAMES = (
    "words",
    "named",
    "named_characters",
    "alphabetic",
    "stop_words",
    "sentences",
    "hashes",
    "ellipses",
    "characters",
    "lines",
    "bullet_lines",
    "ellipsis_lines",
    "newlines",
    "filled_lines",
    "terminated_lines",
    "short_lines",
)
"""Columns of the counts: words; those that are no mere punctuation, and their characters; words with a letter;
different stop words; sentences; `#`; ellipses; characters; lines as str.splitlines ends them, those that start with a
bullet, those that end in an ellipsis; then of lines that end in \\n alone: line ends, lines that are not blank, those
that end in a terminal mark, those that are short."""
WORDS, NAMED, NAMED_CHARACTERS, ALPHABETIC, STOP_WORDS, SENTENCES, HASHES, ELLIPSES, CHARACTERS = range(9)
LINES, BULLET_LINES, ELLIPSIS_LINES, NEWLINES, FILLED_LINES, TERMINATED_LINES, SHORT_LINES = range(9, 16)
COUNTS = len(NAMES)

STOPS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Gopher's English stop words (Rae et al. 2021, arXiv 2112.11446, table A1), as they stand, in lower case."""
_STOPS = np.array([int.from_bytes(word.encode(), "little") for word in STOPS], np.uint64)

_ONES = np.uint64(0x0101010101010101)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_MIX = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def scan(text, kind, row, words, before, marks, ends):
    """Count words and sentences of `text` into `row` (int64[COUNTS]); returns (words, line ends).

    words[k] (uint64) is the hash of word k, before[k] the characters of the words before it, marks[k] (uint8) LETTER if
    it has one and NAMING if it is no mere punctuation; they have room for one more than bytes. ends[k] is where the
    k-th character stands that ends a line. `kind` is of `classify`.
    """
    count, found, first, inside, ended = 0, 0, 0, np.uint64(0), True
    before[0] = 0
    stops, sentences = np.uint64(0), 0
    for base in range(0, text.size + 1, 64):
        filled = _below(kind, base, np.uint8(BLANK))
        line_ends = ~_below(kind, base, np.uint8(LINE_END))
        edges = filled ^ (filled << np.uint64(1) | inside)  # where a run of non-blanks begins or has ended
        inside = filled >> np.uint64(63)
        events = edges | line_ends
        while events:
            bit = _trailing_zeros(events)
            events &= events - np.uint64(1)
            at = base + np.int64(bit)
            if filled >> bit & np.uint64(1):
                first = at
                continue
            if edges >> bit & np.uint64(1):
                count, stop = _run(text, kind, first, at, words, before, marks, count)
                stops |= stop
                ended = ends_sentence(text, first, at)
                sentences += ended
            if line_ends >> bit & np.uint64(1):
                ends[found] = at
                found += 1
                sentences += not ended  # what follows the last full stop of a line is a sentence too
                ended = True
    row[WORDS], row[SENTENCES] = count, sentences + (not ended)
    named = size = alphabetic = 0
    for k in range(count):
        is_named = (marks[k] & NAMING) != 0
        named += is_named
        size += (before[k + 1] - before[k]) * is_named
        alphabetic += marks[k] & LETTER
    row[NAMED], row[NAMED_CHARACTERS], row[ALPHABETIC] = named, size, alphabetic
    while stops:
        row[STOP_WORDS] += np.int64(stops & np.uint64(1))
        stops >>= np.uint64(1)
    return count, found


@njit(cache=True, nogil=True)
def _run(text, kind, first, end, words, before, marks, count):
    """Add the words of a run of non-blanks; returns (number of words, bit of the stop word in it)."""
    stop, last = np.uint64(0), end
    while first < end and not kind[first] & WORD:
        first, count = _sign(text, kind, first, words, before, marks, count)
    while last > first and not kind[last - 1] & WORD:
        last -= 1
    if first < last:
        stop = _word(text, kind, first, last, words, before, marks, count)
        count += 1
        while last < end:
            last, count = _sign(text, kind, last, words, before, marks, count)
    return count, stop


@njit(cache=True, nogil=True)
def _sign(text, kind, first, words, before, marks, count):
    """Add a sign as a word; returns (where it ends, number of words)."""
    marks[count] = kind[first] & NAMING
    value, i = np.uint64(text[first]), first + 1
    while kind[i] & (TAIL | BLANK) == TAIL:
        value = value << np.uint64(8) | np.uint64(text[i])
        i += 1
    words[count], before[count + 1] = value * _MIX, before[count] + 1
    return i, count + 1


@njit(cache=True, nogil=True, inline="always")
def _word(text, kind, first, last, words, before, marks, count):
    """Add the word from `first` to `last`; returns its bit if it is a stop word."""
    value, found, tails, size = np.uint64(last - first), np.uint64(0), np.uint64(0), last - first
    while True:
        left = last - first
        mask = _ALL if left >= 8 else _ALL >> np.uint64(64 - 8 * left)
        eight = _eight(text, first) & mask
        of = _load(kind, first) & mask
        value = (value ^ eight) * _MIX
        value ^= value >> np.uint64(32)
        found |= of
        tails += (of >> np.uint64(3) & _ONES) * _ONES >> np.uint64(56)
        if left <= 8:
            break
        first += 8
    stop = np.uint64(0)
    if size <= 4:
        for k in range(_STOPS.size):
            stop |= np.uint64(eight == _STOPS[k]) << np.uint64(k)
    size -= np.int64(tails)
    words[count], before[count + 1] = value, before[count] + size
    letters, naming = found & _ONES * np.uint64(LETTER), found & _ONES * np.uint64(NAMING)
    marks[count] = (letters != 0) * LETTER | (naming != 0) * NAMING
    return stop


@njit(cache=True, nogil=True, inline="always")
def _eight(text, i):
    """Eight bytes from i on, with what lies behind the text as 0."""
    if i + 8 <= text.size:
        return _load(text, i)
    value = np.uint64(0)
    for k in range(text.size - 1, i - 1, -1):
        value = value << np.uint64(8) | np.uint64(text[k])
    return value


@njit(cache=True, nogil=True)
def ends_sentence(text, start, end):
    """Whether text[start:end], without blanks, ends in . ! or ? before closing quotes and brackets."""
    last = end - 1
    while last > start and (text[last] == 34 or text[last] == 39 or text[last] == 41 or text[last] == 93):
        last -= 1
    return text[last] == 46 or text[last] == 33 or text[last] == 63


@njit(cache=True, nogil=True)
def count_signs(text, kind, row):
    """Count characters, `#` and ellipses; dots count by threes."""
    row[CHARACTERS] = characters(kind, 0, text.size)
    hashes = ellipses = dotted = 0
    for byte in text:
        hashes += byte == 35
    for i in range(text.size - 2):
        ellipses += (text[i] == 0xE2) & (text[i + 1] == 0x80) & (text[i + 2] == 0xA6)
        dotted += (text[i] == 46) & (text[i + 1] == 46) & (text[i + 2] == 46)
    i = 0
    while dotted and i < text.size - 2:
        if text[i] == 46 and text[i + 1] == 46 and text[i + 2] == 46:
            ellipses += 1
            i += 2
        i += 1
    row[HASHES], row[ELLIPSES] = hashes, ellipses


@njit(cache=True, nogil=True)
def count_lines(text, kind, ends, short, row, lines):
    """Count the lines of `text`, which end at `ends`; returns how many stand in `lines`.

    lines[k] is (start, end, characters, 1 if blank) of what stands between two line ends \\n, where anything does.
    `short` is the most characters of a short line.
    """
    count, line, begin = 0, 0, 0
    for k in range(ends.size + 1):
        stop, newline = text.size, True
        following = stop
        if k < ends.size:
            stop = ends[k]
            following, newline = stop + 1, text[stop] == 10
            while kind[following] & (TAIL | BLANK) == TAIL | BLANK:
                following += 1
            row[NEWLINES] += newline
        pair = newline and stop == line > 0 and text[stop - 1] == 13  # \\r\\n ends one line, not two
        if not pair and (k < ends.size or line < stop):
            _line(text, kind, line, stop, row)
        line = following
        if newline:
            if stop > begin:
                lines[count, 0], lines[count, 1] = begin, stop
                lines[count, 2], lines[count, 3] = _newline_line(kind, begin, stop, short, row)
                count += 1
            begin = line
    return count


@njit(cache=True, nogil=True)
def _line(text, kind, start, end, row):
    """Count a line of str.splitlines."""
    row[LINES] += 1
    start, end = strip(kind, start, end)
    if end - start >= 3:
        bullet = text[start] == 0xE2 and text[start + 1] == 0x80 and text[start + 2] == 0xA2
        row[BULLET_LINES] += text[start] == 45 or bullet
        dots = text[end - 1] == 46 and text[end - 2] == 46 and text[end - 3] == 46
        row[ELLIPSIS_LINES] += dots or (text[end - 1] == 0xA6 and text[end - 2] == 0x80 and text[end - 3] == 0xE2)
    elif end > start:
        row[BULLET_LINES] += text[start] == 45


@njit(cache=True, nogil=True)
def _newline_line(kind, start, end, short, row):
    """Count a line between two \\n; returns (its characters, whether it is blank)."""
    size = characters(kind, start, end)
    first, last = strip(kind, start, end)
    if first == last:
        return size, True
    row[FILLED_LINES] += 1
    row[SHORT_LINES] += size <= short
    row[TERMINATED_LINES] += (kind[end - 1] & TERMINAL) != 0
    return size, False
