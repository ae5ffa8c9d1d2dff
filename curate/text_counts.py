"""One pass over a text's bytes: the counts that the Gopher and C4 rules need, and its words as hashes.

About 200 MB/s a core. Works on UTF-8 directly: a byte >= 0x80 belongs to a letter, except in the blocks of Latin-1
signs, general punctuation and symbols (U+0080-U+00BF, U+2000-U+2BFF).
"""

import numpy as np
from numba import njit

NAMES = (
    "WORDS",
    "CHARACTERS",
    "TOKENS",
    "ALPHABETIC",
    "HASHES",
    "ELLIPSES",
    "LINES",
    "BULLET_LINES",
    "ELLIPSIS_LINES",
    "STOP_WORDS",
    "SENTENCES",
)
"""Columns of the counts: words with a letter or digit and their characters; blank-separated tokens except lone
punctuation, and those with a letter; `#` and ellipses; non-empty lines, those that start with a bullet, those that end
in an ellipsis; different stop words; sentence ends."""
WORDS, CHARACTERS, TOKENS, ALPHABETIC, HASHES, ELLIPSES = 0, 1, 2, 3, 4, 5
LINES, BULLET_LINES, ELLIPSIS_LINES, STOP_WORDS, SENTENCES = 6, 7, 8, 9, 10
COUNTS = len(NAMES)

STOPS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Gopher's English stop words (Rae et al. 2021, arXiv 2112.11446, table A1)."""

_SIGN, _LETTER, _DIGIT, _BLANK, _LEAD, _TAIL = 0, 1, 2, 3, 4, 5


def _classes() -> np.ndarray:
    """What each byte is: the kinds above; _LEAD and _TAIL are the first and further bytes of a non-ASCII character."""
    classes = np.zeros(256, np.uint8)
    for letters in (b"abcdefghijklmnopqrstuvwxyz", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"):
        classes[list(letters)] = _LETTER
    classes[list(b"0123456789")] = _DIGIT
    classes[list(b" \t\n")] = _BLANK
    classes[0x80:0xC0], classes[0xC0:] = _TAIL, _LEAD
    return classes


_CLASS = _classes()
_OFFSET, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # FNV-1a, 64 bits


@njit(cache=True, nogil=True)
def hash_bytes(data, start, end):
    """FNV-1a of data[start:end]."""
    h = _OFFSET
    for i in range(start, end):
        h = (h ^ np.uint64(data[i])) * _PRIME
    return h ^ (h >> np.uint64(29))


@njit(cache=True, nogil=True)
def _ellipsis_ends(data, start, end):
    """Whether data[start:end] ends in ... or in U+2026."""
    if end - start < 3:
        return False
    dots = data[end - 1] == 46 and data[end - 2] == 46 and data[end - 3] == 46
    return dots or (data[end - 3] == 0xE2 and data[end - 2] == 0x80 and data[end - 1] == 0xA6)


@njit(cache=True, nogil=True)
def _line(data, start, end, row):
    """Count one line, given without its line end."""
    while start < end and (data[start] == 32 or data[start] == 9):
        start += 1
    while end > start and (data[end - 1] == 32 or data[end - 1] == 9):
        end -= 1
    if start == end:
        return
    row[LINES] += 1
    bullet = end - start >= 3 and data[start] == 0xE2 and data[start + 1] == 0x80 and data[start + 2] == 0xA2
    row[BULLET_LINES] += data[start] == 45 or bullet
    row[ELLIPSIS_LINES] += _ellipsis_ends(data, start, end)


@njit(cache=True, nogil=True, inline="always")
def _is_letter(data, i, end):
    """Whether the character whose first byte, >= 0x80, is at i counts as a letter."""
    c = data[i]
    second = data[min(i + 1, end - 1)]
    return not (c == 0xC2 or (c == 0xE2 and second <= 0xAF) or (c == 0xF0 and second == 0x9F))


@njit(cache=True, nogil=True)
def count(data, start, end, stops, row, words, lengths):
    """Fill `row` (int64[COUNTS]) for the text data[start:end]; returns the number of tokens.

    `stops` are the stop words' hashes; words[k] (uint64) and lengths[k] (characters) describe token k and must have
    room for (end - start) // 2 + 1 tokens.
    """
    tokens, seen, i, line = 0, np.uint64(0), start, start
    while i < end:
        c = data[i]
        if _CLASS[c] == _BLANK:
            if c == 10:
                _line(data, line, i, row)
                line = i + 1
            i += 1
            continue
        # One token: its hash, its characters, and its core, from the first letter or digit to the last.
        first, h, characters, letters = i, _OFFSET, 0, 0
        core_first, core_last, before_core, core_characters, dots_from = -1, -1, 0, 0, i
        while i < end:
            c = data[i]
            kind = _CLASS[c]
            if kind == _BLANK:
                break
            h = (h ^ np.uint64(c)) * _PRIME
            if kind == _LEAD:
                kind = _LETTER if _is_letter(data, i, end) else _SIGN
            if kind != _TAIL:
                characters += 1
            if kind == _LETTER or kind == _DIGIT:
                letters += kind == _LETTER
                if core_first < 0:
                    core_first, before_core = i, characters - 1
                core_characters = characters - before_core
                core_last = i
            elif kind == _TAIL:
                if core_last >= 0 and core_characters == characters - before_core:
                    core_last = i  # the tail of the core's last letter
            elif c == 35:
                row[HASHES] += 1
            elif (c == 46 or c == 0xE2) and i >= dots_from and i + 3 <= end and _ellipsis_ends(data, i, i + 3):
                row[ELLIPSES] += 1
                dots_from = i + 3
            i += 1
        words[tokens], lengths[tokens] = h ^ (h >> np.uint64(29)), characters
        tokens += 1
        _sentence_end(data, first, i, row)
        # Punctuation that stands alone (text cut into tokens before it came here) is no word that lacks a letter.
        row[TOKENS] += characters > 1 or core_first >= 0
        row[ALPHABETIC] += letters > 0
        if core_first >= 0:
            row[WORDS] += 1
            row[CHARACTERS] += core_characters
            if core_last - core_first < 4:
                core = hash_bytes(data, core_first, core_last + 1)
                for k in range(stops.size):
                    if core == stops[k]:
                        seen |= np.uint64(1) << np.uint64(k)
    if line < end:
        _line(data, line, end, row)
    while seen:
        row[STOP_WORDS] += np.int64(seen & np.uint64(1))
        seen >>= np.uint64(1)
    return tokens


@njit(cache=True, nogil=True, inline="always")
def _sentence_end(data, start, end, row):
    """Count a token that ends in . ! or ? before closing quotes and brackets."""
    last = end - 1
    while last > start and (data[last] == 34 or data[last] == 39 or data[last] == 41 or data[last] == 93):
        last -= 1
    if data[last] == 46 or data[last] == 33 or data[last] == 63:
        row[SENTENCES] += 1


def stop_hashes(words: tuple[str, ...] = STOPS) -> np.ndarray:
    """The hashes `count` compares words with; [len(words)] uint64."""
    return np.array([hash_bytes(np.frombuffer(word.encode(), np.uint8), 0, len(word)) for word in words], np.uint64)
