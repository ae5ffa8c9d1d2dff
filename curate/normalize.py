"""The first stage: one way to write the same text."""

import functools
import importlib.util
import re
import unicodedata
from collections.abc import Callable

import ftfy
import polars as pl

from curate.stage import Stage, Verdicts

MOJIBAKE = r"[Â-ô][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|ï¿½|ï»¿"
"""UTF-8 that was once read as Latin-1 or Windows-1252 has these pairs; only such documents go through ftfy."""
UNEVEN = (
    r"[\x00-\x08\x0b-\x1f\x7f-\u00a0\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff\ufffe\uffff]"
    r"|  |[ \t]\n|\n\n\n|\A[ \t\n]|[ \t\n]\z"
)
"""What `_even` would change; most texts have nothing of it, and one scan finds out."""
ANY_INDIC = "[\u0900-\u0d7f]"
INDIC = {
    "hi": "\u0900-\u097f",
    "bn": "\u0980-\u09ff",
    "pa": "\u0a00-\u0a7f",
    "gu": "\u0a80-\u0aff",
    "or": "\u0b00-\u0b7f",
    "ta": "\u0b80-\u0bff",
    "te": "\u0c00-\u0c7f",
    "kn": "\u0c80-\u0cff",
    "ml": "\u0d00-\u0d7f",
}
"""Code points of each Indic script, by the language whose rules stand for all that are written in it."""


class Normalize(Stage, name="normalize"):
    """Brings a text into one form: encoding mended, Unicode NFC, no control characters, plain white space.

    Line ends become \\n, other control characters go, runs of blanks inside a line become one space, three or more
    line ends become two, blanks at line ends and around the text go. Tabs are kept: tables need them. Mojibake is
    mended by ftfy.fix_encoding, on the documents that show it. A second round changes nothing. About 150 MB/s a core on
    English text. The ledger gets the documents of which nothing is left.
    Reason: empty_text.

    With `indic`, words in Devanagari, Bengali, Gurmukhi, Gujarati, Oriya, Tamil, Telugu, Kannada and Malayalam script
    go through indic-nlp-library (Kunchukuttan 2020, github.com/anoopkunchukuttan/indic_nlp_library): joiners inside
    words removed, vowel signs in several pieces joined, old chillus and the scripts' own dandas replaced. Only
    documents with such a script pay for it. The library gets single words and not the text, because it would change
    more than the script: on 765 Hindi sentences it turns 18 colons into visargas, all of which are colons, and in every
    language it replaces quotes, dashes and `|`. Removing joiners also loses a distinction that Marathi makes (eyelash
    ra).
    """

    edits = True
    version = 2

    indic: bool = False
    """Normalise Indic scripts; needs the extra `indic`. false turns it off."""

    def inputs(self) -> list[str]:
        if self.indic and importlib.util.find_spec("indicnlp") is None:
            raise ValueError(
                f"{self.workspace.where}.indic: indic-nlp-library is not installed, so Indic scripts cannot be "
                "normalised. Run `pip install 'palimpsest[indic]'`, or set indic: false."
            )
        return []

    def judge(self, documents: pl.DataFrame) -> Verdicts:
        text = documents["text"]
        wide = text.str.len_bytes() > text.str.len_chars()
        mended = _where(text, wide, _mended)
        text = _where(mended, mended.str.contains(UNEVEN), _even)
        text = _where(text, wide, _composed)
        text = _where(text, wide & (text != mended), _mended)  # what stood between the halves of a pair is gone
        if self.indic:
            text = _where(text, wide, _indic)
        empty = text == ""
        reason = pl.select(pl.when(empty).then(pl.lit("empty_text"))).to_series()
        evidence = pl.select(pl.when(empty).then(pl.lit("{}"))).to_series()
        changed = pl.select(pl.when(text != documents["text"]).then(text)).to_series()
        return Verdicts(reason, evidence, text=changed)


def _where(text: pl.Series, mask: pl.Series, change: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """The texts with those that the mask names changed."""
    # scatter writes into the series itself
    return text.clone().scatter(mask.arg_true(), change(text.filter(mask))) if mask.any() else text


def _mended(text: pl.Series) -> pl.Series:
    while (broken := text.str.contains(MOJIBAKE)).any():
        some = text.filter(broken)
        mended = pl.Series([ftfy.fix_encoding(one) for one in some])
        if (mended == some).all():
            break
        text = text.clone().scatter(broken.arg_true(), _composed(_even(mended)))
    return text


def _even(text: pl.Series) -> pl.Series:
    return (
        text.str.replace_all(r"\r\n?|\u2028|\u2029|\u0085", "\n")
        .str.replace_all(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\u200b\u2060\ufffe\uffff]", "")
        .str.replace_all(
            r"[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]{2,}|[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]", " "
        )
        .str.replace_all(r"[ \t]+\n", "\n")
        .str.replace_all(r"\n{3,}", "\n\n")
        .str.strip_chars(" \t\n")
    )


def _composed(text: pl.Series) -> pl.Series:
    return _where(text, text.str.contains(_composable()), lambda some: some.str.normalize("NFC"))


@functools.cache
def _composable() -> str:
    """The class of characters of which NFC may change something, alone or beside others; normalising is slow.

    Those with another canonical form, those with a combining class, and those that follow in a composition (Unicode
    annex 15, quick check No and Maybe). None is below U+0300; planes 4 and up have none.
    """
    parts = (unicodedata.decomposition(chr(code)).split(" ") for code in range(0xC0, 0x30000))
    second = {pair[1] for pair in parts if len(pair) == 2 and "<" not in pair[0]}
    found = "".join(
        chr(code)
        for code in range(0x300, 0x30000)
        if unicodedata.combining(chr(code))
        or 0x1161 <= code <= 0x11C2  # the second and third parts of a Hangul syllable
        or f"{code:04X}" in second
        or not unicodedata.is_normalized("NFC", chr(code))
    )
    return f"[{found}]"


def _indic(text: pl.Series) -> pl.Series:
    return _where(text, text.str.contains(ANY_INDIC), _settled)


def _settled(text: pl.Series) -> pl.Series:
    for language, script in INDIC.items():
        written = text.str.contains(f"[{script}]")
        if written.any():
            word, rule = re.compile(f"[{script}][{script}\u200c\u200d]*"), _indic_rule(language)
            text = text.clone().scatter(written.arg_true(), [word.sub(rule, one) for one in text.filter(written)])
    return text.str.normalize("NFC")


@functools.cache
def _indic_rule(language: str) -> Callable[[re.Match[str]], str]:
    """What stands for a word in the script of `language`: the library's rules applied until nothing changes."""
    from indicnlp.normalize.indic_normalize import IndicNormalizerFactory

    normalizer = IndicNormalizerFactory().get_normalizer(language)

    @functools.lru_cache(1 << 16)
    def settled(word: str) -> str:
        once = unicodedata.normalize("NFC", normalizer.normalize(word))
        return once if once == word else settled(once)

    return lambda found: settled(found[0])
