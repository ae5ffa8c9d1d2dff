"""What each character becomes before words are compared: one table of code points.

Lower case (full case folding), accents removed, compatibility forms unfolded (full-width letters, ligatures, raised
digits); everything that is no letter, mark or digit separates words; invisible format characters are dropped.
Characters of scripts written without spaces (Chinese, Japanese, Thai, ...) are a word each.
"""

import unicodedata
from functools import cache

import numpy as np

CODE_POINTS = 0x20000
"""Code points in the table. Beyond it up to 0x40000 lie Han characters, a word each; the rest separates."""
HAS_DIGITS = 128
_DIGITS = frozenset(b"0123456789")
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x31FF),  # radicals, kana, bopomofo
    (0x3400, 0x4DBF),  # Han extension A
    (0x4E00, 0x9FFF),  # Han
    (0xF900, 0xFAFF),  # Han compatibility
    (0x1B000, 0x1B16F),  # kana supplements
)


@cache
def folding_table() -> tuple[np.ndarray, np.ndarray]:
    """Folded bytes of every code point below 0x20000, and how many they are; made once a process, in .3 s.

    Values (uint64) hold the bytes from the lowest on: 0 separates words, digits are ASCII digits. Sizes (uint8) are 0
    where the character is dropped; `HAS_DIGITS` is added where a digit is among the bytes.
    """
    folded = [_folded(code) for code in range(CODE_POINTS)]
    values = np.array([one.ljust(8, b"\0") for one in folded], "S8").view("<u8").astype(np.uint64)
    sizes = np.array([len(one) + (HAS_DIGITS if _DIGITS.intersection(one) else 0) for one in folded], np.uint8)
    return values, sizes


def _folded(code: int) -> bytes:
    """Folded UTF-8 of one code point, at most twice as long as its own."""
    if 0xD800 <= code <= 0xDFFF:
        return b"\0"
    character = chr(code)
    own = character.encode()
    if 0xAC00 <= code <= 0xD7A3:  # Hangul syllables fold to themselves
        return own
    if not _is_word(character):
        return b"" if unicodedata.category(character) in ("Cf", "Mn", "Me") else b"\0"
    folded = _letters(character).encode()
    if any(low <= code <= high for low, high in _UNSPACED):
        return b"\0" + (folded if len(folded) + 2 <= 2 * len(own) else own) + b"\0"
    return folded if len(folded) <= 2 * len(own) else own


def _letters(character: str) -> str:
    """Case folded, compatibility forms unfolded, accents removed, digits as ASCII, other signs as separators."""
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    kept = unicodedata.normalize("NFC", "".join(part for part in parts if not _is_accent(part)))
    return "".join(_digit(part) if part.isdigit() else part if _is_word(part) else "\0" for part in kept)


def _is_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LN" or (
        unicodedata.category(character)[0] == "M" and not _is_accent(character)
    )


def _is_accent(character: str) -> bool:
    """Accents and vowel points; the vowel signs of Indic scripts and their like are letters to us."""
    kind = unicodedata.combining(character)
    return (
        10 <= kind <= 36 or kind >= 200 or unicodedata.category(character) == "Me" or 0xFE00 <= ord(character) <= 0xFE0F
    )


def _digit(character: str) -> str:
    return str(unicodedata.digit(character))
