"""What kind of character each byte of a text belongs to, as Python's str methods and datatrove's sets have it."""

import sys
import unicodedata
from functools import cache

import numpy as np
from numba import njit

from curate.kernels.words import _below, _code_point, _trailing_zeros

BLANK, WORD, LINE_END, LETTER, NAMING, TERMINAL, TAIL = 128, 64, 192, 1, 2, 4, 8
"""Bits of a kind. White space; letter, mark, digit or underscore; both: white space where str.splitlines ends a line.
Letter; outside datatrove's set of punctuation; in its set of terminal marks; second or later byte of a character."""
PADDING = 128
"""Bytes of white space behind the kinds of a text, so that they can be read 64 at a time."""
_WIDE = 255  # for a moment: no ASCII, to be looked up


@cache
def kinds() -> np.ndarray:
    """The kind of every code point, [0x110000] uint8; made once a process, in .4 s."""
    from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION

    points = [chr(code) for code in range(0x110000)]
    table = np.full(len(points), NAMING, np.uint8)
    for bit, test in ((WORD, str.isalnum), (LETTER, str.isalpha), (BLANK, str.isspace)):
        table |= bit * np.fromiter(map(test, points), np.uint8, len(points))
    table[[ord("_"), *map(ord, marks())]] |= WORD
    table[[ord(one) for one in PUNCTUATION_SET]] &= 255 - NAMING
    table[[ord(one) for one in TERMINAL_PUNCTUATION]] |= TERMINAL
    table[[ord(one) for one in "\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"]] |= LINE_END
    return table


def marks() -> str:
    """All combining marks: vowel signs and viramas of Indic scripts, accents that stand behind their letter."""
    return "".join(one for one in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(one)[0] == "M")


@njit(cache=True, nogil=True)
def classify(text, table, kind):
    """Set kind[i] to the kind of the character that byte i of `text` (UTF-8) belongs to, from the `table` of `kinds`;
    PADDING more bytes are blank. A line end's tail bytes are plain white space."""
    size = text.size
    for i in range(size):
        byte = text[i]
        kind[i] = table[byte] if byte < 128 else np.uint8(_WIDE)
    kind[size : size + PADDING] = BLANK
    after = 0
    for base in range(0, size, 64):
        wide = ~_below(kind, base, np.uint8(_WIDE))
        while wide:
            i = base + np.int64(_trailing_zeros(wide))
            wide &= wide - np.uint64(1)
            if i >= after:
                code, after = _code_point(text, i)
                value = table[code]
                tail = value | np.uint8(TAIL)
                if value >= LINE_END:
                    tail &= np.uint8(255 - WORD)
                kind[i] = value
                for k in range(i + 1, after):
                    kind[k] = tail


@njit(cache=True, nogil=True)
def characters(kind, start, end):
    """Characters of the bytes from `start` to `end`."""
    count = 0
    for one in kind[start:end]:
        count += (one & TAIL) == 0
    return count


@njit(cache=True, nogil=True)
def strip(kind, start, end):
    """(start, end) without white space at both edges."""
    while start < end and kind[start] & BLANK:
        start += 1
    while start < end and kind[end - 1] & BLANK:
        end -= 1
    return start, end
