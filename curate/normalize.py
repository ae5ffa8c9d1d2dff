"""The first stage: one way to write the same text."""

import ftfy
import polars as pl

from curate.stage import Stage, Verdicts

MOJIBAKE = r"[ÂÃâð][\u0080-\u00ff€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|ï¿½|ï»¿"
"""UTF-8 that was once read as Latin-1 or Windows-1252 has these pairs; only such documents go through ftfy."""


class Normalize(Stage, name="normalize"):
    """Brings a text into one form: encoding mended, Unicode NFC, no control characters, plain white space.

    Line ends become \\n, other control characters go, runs of blanks inside a line become one space, three or more
    line ends become two, blanks at line ends and around the text go. Tabs are kept: tables need them. Mojibake is
    mended by ftfy.fix_encoding, on the documents that show it. The ledger gets the documents of which nothing is left.
    Reason: empty_text.
    """

    edits = True

    def judge(self, documents: pl.DataFrame) -> Verdicts:
        text = _plain(_mended(documents["text"]))
        empty = text == ""
        reason = pl.select(pl.when(empty).then(pl.lit("empty_text"))).to_series()
        evidence = pl.select(pl.when(empty).then(pl.lit("{}"))).to_series()
        changed = pl.select(pl.when(text != documents["text"]).then(text)).to_series()
        return Verdicts(reason, evidence, text=changed)


def _mended(text: pl.Series) -> pl.Series:
    broken = text.str.contains(MOJIBAKE)
    if not broken.any():
        return text
    mended = [ftfy.fix_encoding(one) for one in text.filter(broken)]
    return text.scatter(broken.arg_true(), mended)


def _plain(text: pl.Series) -> pl.Series:
    # Characters below U+0300 are in NFC already, and normalising is the slow step (25 MB/s).
    composable = text.str.contains(r"[^\x00-\u02ff]")
    if composable.any():
        text = text.scatter(composable.arg_true(), text.filter(composable).str.normalize("NFC"))
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
