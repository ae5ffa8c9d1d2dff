"""Drops documents in other languages."""

import functools
import sys
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from curate.stage import Stage, Verdicts, detail

MODEL = Path(sys.prefix) / "share" / "palimpsest" / "lid.176.ftz"
"""Where set-up puts fastText's language model (0.9 MB, CC BY-SA 3.0)."""


class Language(Stage, name="language"):
    """Drops documents that are not in a wanted language.

    fastText lid.176 over `chars` characters, half from the head and half from the middle (Joulin et al. 2016, arXiv
    1607.01759); about 3.5 MB/s a core, so the characters read decide the speed. Below about 20 words its answer is a
    guess. Reasons: wrong_language, language_unsure; detail: language, score.
    """

    keep: list[str] = ["en"]
    """ISO 639-1 codes to keep; empty keeps all."""
    min_score: float = Field(0.5, ge=0, le=1)
    """Probability below which a document is dropped as language_unsure; 0 turns it off."""
    chars: int = Field(600, ge=0)
    """Characters read per document; 0 reads all."""
    model: str = ""
    """Path of another fastText model; empty takes the one that set-up installed."""

    def inputs(self) -> list[str]:
        path = Path(self.model or MODEL)
        if not path.exists():
            raise ValueError(
                f"{self.workspace.where}.model: {path} is not there, so no language can be told. "
                "Run `python -m curate.language_model`, or name a lid.176 file."
            )
        return [str(path)]

    def judge(self, documents: pl.DataFrame) -> Verdicts:
        lines = self._excerpts(documents["text"]).str.replace_all(r"\s+", " ").to_list()
        labels, probabilities = _load(self.inputs()[0]).predict(lines) if lines else ([], [])
        reasons: list[str | None] = []
        details: list[str | None] = []
        for label, probability in zip(labels, probabilities, strict=True):
            language = label[0].removeprefix("__label__") if label else "none"
            score = min(float(probability[0]), 1.0) if label else 0.0
            reason = self._reason(language, score)
            reasons.append(reason)
            details.append(detail(language=language, score=round(score, 4)) if reason else None)
        return Verdicts(pl.Series("reason", reasons, pl.String), pl.Series("detail", details, pl.String))

    def _excerpts(self, text: pl.Series) -> pl.Series:
        if not self.chars:
            return text
        half, length = self.chars // 2, text.str.len_chars()
        middle = text.str.slice((length // 2).cast(pl.Int64), half)
        return pl.select(
            pl.when(length <= self.chars).then(text).otherwise(text.str.head(half) + " " + middle)
        ).to_series()

    def _reason(self, language: str, score: float) -> str | None:
        if self.keep and language not in self.keep:
            return "wrong_language"
        return "language_unsure" if score < self.min_score else None


@functools.cache
def _load(path: str) -> Any:
    import fasttext

    fasttext.FastText.eprint = lambda *_: None  # it prints a warning about its own API on every load
    return fasttext.load_model(path)
