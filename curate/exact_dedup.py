"""Documents whose text is the same, white space apart."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import ClassVar

import polars as pl

from curate.stage import Stage, Verdicts, detail

_SPACES = bytes.maketrans(b"\t\n\v\f\r", b"     ")


class ExactDedup(Stage, name="exact_dedup"):
    """Drops documents whose text equals an earlier document's after runs of white space are made one space.

    Texts are compared by a 128-bit BLAKE2b hash; the first document in global order is kept.
    Reasons: exact_duplicate; detail: duplicate_of.
    """

    is_global: ClassVar[bool] = True

    def measure(self, documents: pl.DataFrame) -> pl.DataFrame:
        """The hash of every text as 16 bytes."""
        digests = [hashlib.blake2b(_folded(text), digest_size=16).digest() for text in documents["text"]]
        return pl.DataFrame({"digest": pl.Series(digests, dtype=pl.Binary)})

    def decide(self, measured: Iterable[pl.DataFrame]) -> Iterator[Verdicts]:
        """Verdicts in global order; ids and hashes are in memory."""
        parts = [part.select("id", "digest", part=pl.lit(number)) for number, part in enumerate(measured)]
        if not parts:
            return
        kept = pl.col("id").first().over("digest")
        repeats = ~pl.col("digest").is_first_distinct()
        of = pl.concat(parts).select("part", of=pl.when(repeats).then(kept))
        for number in range(len(parts)):
            yield _verdicts(of.filter(pl.col("part") == number)["of"])


def _folded(text: str) -> bytes:
    """UTF-8 with runs of ASCII white space as one space, none at the ends; ten times as fast as split and join."""
    data = text.encode().translate(_SPACES)
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data.strip(b" ")


def _verdicts(of: pl.Series) -> Verdicts:
    """Verdicts from the id of the document that each one repeats, null where kept."""
    evidence = [None if id is None else detail(duplicate_of=id) for id in of]
    reason = pl.DataFrame({"of": of}).select(reason=pl.when(pl.col("of").is_not_null()).then(pl.lit("exact_duplicate")))
    return Verdicts(reason["reason"], pl.Series("detail", evidence, pl.String))
