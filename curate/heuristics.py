"""Drops documents by the published Gopher and C4 rules."""

from typing import Literal

import polars as pl
from pydantic import Field, ValidationInfo, field_validator

from curate.stage import Stage, Verdicts, detail

Limit = tuple[str, str, float]


class Heuristics(Stage, name="heuristics"):
    """Drops documents that break a rule of Gopher (arXiv 2112.11446, table A1) or C4 (arXiv 1910.10683, section 2.2).

    Words are what stands between blanks, without the punctuation around it. Of C4 the rules that drop a document are
    here, not those that cut lines: most lines of a clinical note end without a full stop. The first rule broken, in the
    order of the keys, is the reason; detail: the value found and the limit. Each limit is a key; 0 turns it off.
    """

    rules: list[Literal["gopher", "c4"]] = ["gopher", "c4"]
    """Which sets of rules apply."""
    min_words: int = Field(50, ge=0)
    """gopher: words, at least (too_few_words)."""
    max_words: int = Field(100_000, ge=0)
    """gopher: words, at most (too_many_words)."""
    min_word_length: float = Field(3, ge=0)
    """gopher: mean characters per word, at least (words_too_short)."""
    max_word_length: float = Field(10, ge=0)
    """gopher: mean characters per word, at most (words_too_long)."""
    max_hashes: float = Field(0.1, ge=0)
    """gopher: `#` per word, at most (too_many_hashes)."""
    max_ellipses: float = Field(0.1, ge=0)
    """gopher: ellipses per word, at most (too_many_ellipses)."""
    max_bullet_lines: float = Field(0.9, ge=0, le=1)
    """gopher: share of lines that start with a bullet, at most (too_many_bullet_lines)."""
    max_ellipsis_lines: float = Field(0.3, ge=0, le=1)
    """gopher: share of lines that end in an ellipsis, at most (too_many_ellipsis_lines)."""
    min_alphabetic: float = Field(0.8, ge=0, le=1)
    """gopher: share of words with a letter, at least (too_few_alphabetic_words)."""
    min_stop_words: int = Field(2, ge=0, le=8)
    """gopher: how many of the, be, to, of, and, that, have, with occur, at least (too_few_stop_words)."""
    max_repeated_lines: float = Field(0.3, ge=0, le=1)
    """gopher: share of lines that came before, at most (repeated_lines)."""
    max_repeated_line_characters: float = Field(0.2, ge=0, le=1)
    """gopher: share of bytes in such lines, at most (repeated_line_characters)."""
    max_repeated_paragraphs: float = Field(0.3, ge=0, le=1)
    """gopher: share of paragraphs that came before, at most (repeated_paragraphs)."""
    max_repeated_paragraph_characters: float = Field(0.2, ge=0, le=1)
    """gopher: share of bytes in such paragraphs, at most (repeated_paragraph_characters)."""
    max_top_ngram: dict[int, float] = {2: 0.2, 3: 0.18, 4: 0.16}
    """gopher: share of characters in the most frequent n-gram, by n from 2 to 4 (top_N_gram)."""
    max_repeated_ngrams: dict[int, float] = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1}
    """gopher: share of characters in repeated n-grams, by n from 5 to 10 (repeated_N_grams)."""
    min_sentences: int = Field(5, ge=0)
    """c4: sentences, at least (too_few_sentences)."""
    drop_lorem_ipsum: bool = True
    """c4: drop documents with the words lorem ipsum (lorem_ipsum)."""
    drop_curly_bracket: bool = True
    """c4: drop documents with a curly bracket: mostly code (curly_bracket)."""

    @field_validator("max_top_ngram", "max_repeated_ngrams")
    @classmethod
    def _known_lengths(cls, limits: dict[int, float], info: ValidationInfo) -> dict[int, float]:
        known = range(2, 5) if info.field_name == "max_top_ngram" else range(5, 11)
        if unknown := sorted(set(limits) - set(known)):
            raise ValueError(f"n-grams of {unknown} words are not measured. Use n from {known[0]} to {known[-1]}.")
        return limits

    def warm_up(self) -> None:
        """Compile the counting kernel."""
        _values(pl.Series(["text"]))

    def judge(self, documents: pl.DataFrame) -> Verdicts:
        values = _values(documents["text"])
        reason, found = pl.lit(None, pl.String), pl.lit(None, pl.Float64)
        limits = dict.fromkeys(name for name, _, _ in self._limits())
        for name, column, limit in reversed(self._limits()):
            broken = (
                pl.col(column) < limit
                if name.startswith("too_few") or name == "words_too_short"
                else pl.col(column) > limit
            )
            reason = pl.when(broken).then(pl.lit(name)).otherwise(reason)
            found = pl.when(broken).then(pl.col(column).cast(pl.Float64)).otherwise(found)
            limits[name] = limit
        judged = values.select(reason=reason, found=found)
        details = [
            detail(found=round(value, 4), limit=limits[name]) if name else None for name, value in judged.iter_rows()
        ]
        return Verdicts(judged["reason"], pl.Series("detail", details, pl.String))

    def _limits(self) -> list[Limit]:
        """(reason, column of `_values`, limit) of every rule that is on, in order."""
        limits: list[Limit] = []
        if "gopher" in self.rules:
            limits += [
                ("too_few_words", "words", self.min_words),
                ("too_many_words", "words", self.max_words),
                ("words_too_short", "word_length", self.min_word_length),
                ("words_too_long", "word_length", self.max_word_length),
                ("too_many_hashes", "hashes", self.max_hashes),
                ("too_many_ellipses", "ellipses", self.max_ellipses),
                ("too_many_bullet_lines", "bullet_lines", self.max_bullet_lines),
                ("too_many_ellipsis_lines", "ellipsis_lines", self.max_ellipsis_lines),
                ("too_few_alphabetic_words", "alphabetic", self.min_alphabetic),
                ("too_few_stop_words", "stop_words", self.min_stop_words),
                ("repeated_lines", "repeated_lines", self.max_repeated_lines),
                ("repeated_line_characters", "repeated_line_characters", self.max_repeated_line_characters),
                ("repeated_paragraphs", "repeated_paragraphs", self.max_repeated_paragraphs),
                (
                    "repeated_paragraph_characters",
                    "repeated_paragraph_characters",
                    self.max_repeated_paragraph_characters,
                ),
                *((f"top_{n}_gram", f"top_{n}_gram", limit) for n, limit in sorted(self.max_top_ngram.items())),
                *(
                    (f"repeated_{n}_grams", f"repeated_{n}_grams", limit)
                    for n, limit in sorted(self.max_repeated_ngrams.items())
                ),
            ]
        if "c4" in self.rules:
            limits += [
                ("lorem_ipsum", "lorem_ipsum", 0.5 * self.drop_lorem_ipsum),
                ("curly_bracket", "curly_bracket", 0.5 * self.drop_curly_bracket),
                ("too_few_sentences", "sentences", self.min_sentences),
            ]
        return [rule for rule in limits if rule[2]]


def _values(text: pl.Series) -> pl.DataFrame:
    """What the rules compare, a row a document."""
    from curate import repetition, text_counts
    from curate.words import string_buffers

    data, offsets = string_buffers(text)
    counts, shares = repetition.measure(data, offsets, text_counts.stop_hashes())
    c = {name.lower(): counts[:, index] for index, name in enumerate(text_counts.NAMES)}
    words, tokens, lines = (c[name].clip(min=1) for name in ("words", "tokens", "lines"))
    named = ["repeated_lines", "repeated_line_characters", "repeated_paragraphs", "repeated_paragraph_characters"]
    named += [f"top_{n}_gram" for n in repetition.TOP] + [f"repeated_{n}_grams" for n in repetition.DUPLICATE]
    return pl.DataFrame(
        {
            "words": c["words"],
            "word_length": c["characters"] / words,
            "hashes": c["hashes"] / tokens,
            "ellipses": c["ellipses"] / tokens,
            "bullet_lines": c["bullet_lines"] / lines,
            "ellipsis_lines": c["ellipsis_lines"] / lines,
            "alphabetic": c["alphabetic"] / tokens,
            "stop_words": c["stop_words"],
            "sentences": c["sentences"],
            "lorem_ipsum": text.str.contains("(?i)lorem ipsum").cast(pl.Int64),
            "curly_bracket": text.str.contains("{", literal=True).cast(pl.Int64),
        }
        | {name: shares[:, index] for index, name in enumerate(named)}
    )
