"""Drops documents by the published Gopher, C4 and FineWeb rules."""

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import polars as pl
from pydantic import Field, ValidationInfo, field_validator

from curate.stage import Stage, Verdicts, detail

if TYPE_CHECKING:
    from curate.line_rules import Limits


BLOCKS = ("repeated_paragraphs", "repeated_paragraph_characters", "repeated_lines", "repeated_line_characters")


class Rule(NamedTuple):
    """One limit: what a document must reach (`least`) or must not pass."""

    reason: str
    column: str
    """Of `measured`."""
    limit: float
    least: bool = False

    @property
    def broken(self) -> pl.Expr:
        """Whether a document breaks it; not where there is nothing to measure."""
        value = pl.col(self.column)
        return (value < self.limit if self.least else value > self.limit).fill_null(False)


SHARES = {
    "word_length": ("named_characters", "named"),
    "hashes": ("hashes", "words"),
    "ellipses": ("ellipses", "words"),
    "bullet_lines": ("bullet_lines", "lines"),
    "ellipsis_lines": ("ellipsis_lines", "lines"),
    "alphabetic": ("alphabetic", "words"),
    "repeated_paragraphs": ("repeated_paragraphs", "paragraphs"),
    "repeated_paragraph_characters": ("repeated_paragraph_characters", "characters"),
    "repeated_lines": ("repeated_lines", "all_lines"),
    "repeated_line_characters": ("repeated_line_characters", "characters"),
    **{f"top_{n}_gram": (f"top_{n}_gram", "characters") for n in range(2, 5)},
    **{f"repeated_{n}_grams": (f"repeated_{n}_grams", "characters") for n in range(5, 11)},
    "terminated_lines": ("terminated_lines", "filled_lines"),
    "short_lines": ("short_lines", "filled_lines"),
    "repeated_characters": ("repeated_filled_characters", "unbroken_characters"),
    "newlines": ("newlines", "words"),
}
"""Shares that are compared, each as (part, whole) of the counts."""


class Heuristics(Stage, name="heuristics"):
    """Drops documents that break a rule of Gopher, C4 or FineWeb, and cuts lines by C4's.

    Gopher: arXiv 2112.11446, table A1; C4: arXiv 1910.10683, section 2.2; FineWeb: arXiv 2406.17557, section 3.6. The
    formulas, the order of the rules and all published limits are those of datatrove 0.10's GopherQualityFilter,
    GopherRepetitionFilter, C4QualityFilter and FineWebQualityFilter; a test compares the decisions. Each limit is a
    key, and 0 turns it off. The first rule broken, in the order of the keys, is the reason; detail: the value found and
    the limit. Every rule sees the text as it came; name the stage twice to judge what `c4_lines` left.

    Where it differs from datatrove:
    - A word is a run of non-blank characters from its first to its last letter, combining mark (Hindi vowel signs and
      viramas are some), digit or underscore; every other sign is a word too (`W(?:\\S*W)?|\\S`, W being \\w or a mark).
      datatrove asks spaCy, which also splits at hyphens, contractions and units (`5mg`); given our words as its
      WordTokenizer it decides the same.
    - A sentence ends with a word that ends in . ! or ? before closing quotes or brackets, and with a line.
    - Repeated n-grams are the same words in a row; datatrove compares them joined, so that `1 11` repeats `11 1`.
    - A document without any word is dropped as empty_text where datatrove would divide by 0.
    - c4 without c4_lines looks at the whole text (datatrove: no line rule on; each blank line counts as a sentence).
    - c4_lines keeps blank lines between paragraphs and blanks at line edges, which datatrove takes out, and looks for
      phrases before citations go. A document of which no line is left goes (no_lines_left); datatrove keeps it empty.

    On 4,998 real documents datatrove with our words decides all the same; with spaCy's 42 of 720 otherwise by
    GopherQuality (nearly all by the share of words with a letter), 6 by GopherRepetition, 1 by C4, none by FineWeb. All
    four sets on one core take 1/184 of the time of datatrove's filters with spaCy, 1/26 with words at blanks; gopher,
    c4 and fineweb run at 94 MB/s (tests/benchmarks/heuristics.py).
    """

    version = 3

    rules: list[Literal["gopher", "c4", "c4_lines", "fineweb"]] = ["gopher", "c4"]
    """Which sets of rules apply. c4_lines cuts lines, recorded in edited/; most lines of a clinical note would go."""
    min_words: int = Field(50, ge=0)
    """gopher: words that are no punctuation, at least (too_few_words)."""
    max_words: int = Field(100_000, ge=0)
    """gopher: words that are no punctuation, at most (too_many_words)."""
    min_word_length: float = Field(3, ge=0)
    """gopher: mean characters of these words, at least (words_too_short)."""
    max_word_length: float = Field(10, ge=0)
    """gopher: mean characters of these words, at most (words_too_long)."""
    max_hashes: float = Field(0.1, ge=0)
    """gopher: `#` per word, at most (too_many_hashes)."""
    max_ellipses: float = Field(0.1, ge=0)
    """gopher: ellipses per word, at most (too_many_ellipses)."""
    max_bullet_lines: float = Field(0.9, ge=0, le=1)
    """gopher: share of lines that start with a bullet, at most (too_many_bullet_lines)."""
    max_ellipsis_lines: float = Field(0.3, ge=0, le=1)
    """gopher: share of lines that end in an ellipsis, at most (too_many_ellipsis_lines)."""
    min_alphabetic: float = Field(0.8, ge=0, le=1)
    """gopher: share of words with a letter, at least (too_few_alphabetic_words); a full stop is a word without."""
    min_stop_words: int = Field(2, ge=0, le=8)
    """gopher: how many of the, be, to, of, and, that, have, with occur, at least (too_few_stop_words)."""
    max_repeated_paragraphs: float = Field(0.3, ge=0, le=1)
    """gopher: share of paragraphs that came before, at most (repeated_paragraphs)."""
    max_repeated_paragraph_characters: float = Field(0.2, ge=0, le=1)
    """gopher: share of characters in such paragraphs, at most (repeated_paragraph_characters)."""
    max_repeated_lines: float = Field(0.3, ge=0, le=1)
    """gopher: share of lines that came before, at most (repeated_lines)."""
    max_repeated_line_characters: float = Field(0.2, ge=0, le=1)
    """gopher: share of characters in such lines, at most (repeated_line_characters)."""
    max_top_ngram: dict[int, float] = {2: 0.2, 3: 0.18, 4: 0.16}
    """gopher: share of characters in the most frequent n-gram, by n from 2 to 4 (top_N_gram)."""
    max_repeated_ngrams: dict[int, float] = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1}
    """gopher: share of characters in repeated n-grams, by n from 5 to 10 (repeated_N_grams)."""
    drop_lorem_ipsum: bool = True
    """c4: drop documents with the words lorem ipsum (lorem_ipsum)."""
    drop_curly_bracket: bool = True
    """c4: drop documents with a curly bracket: mostly code (curly_bracket)."""
    min_sentences: int = Field(5, ge=0)
    """c4: sentences, at least (too_few_sentences)."""
    max_line_word: int = Field(1000, ge=0)
    """c4_lines: cut lines with a word of more characters (long_word_line)."""
    cut_unterminated: bool = True
    """c4_lines: cut lines that do not end in . ? ! \\" or ', or that end in ... (unterminated_line)."""
    min_line_words: int = Field(3, ge=0)
    """c4_lines: cut lines with fewer words, at blanks (short_line)."""
    cut_javascript: bool = True
    """c4_lines: cut lines with the word javascript (javascript_line)."""
    cut_policy: bool = True
    """c4_lines: cut lines about cookies, privacy policies and terms of use (policy_line)."""
    cut_citations: bool = True
    """c4_lines: cut [1], [edit] and [citation needed] out of lines (citation)."""
    min_terminated_lines: float = Field(0.12, ge=0, le=1)
    """fineweb: share of lines that end in a terminal mark, at least (too_few_terminated_lines)."""
    max_short_lines: float = Field(0.67, ge=0, le=1)
    """fineweb: share of short lines, at most (too_many_short_lines)."""
    short_line: int = Field(30, ge=0)
    """fineweb: characters of a short line, at most."""
    max_repeated_characters: float = Field(0.01, ge=0, le=1)
    """fineweb: share of characters in lines that came before, at most (repeated_characters)."""
    max_newlines: float = Field(0.3, ge=0)
    """fineweb: line ends per word, at most (too_many_newlines)."""

    @field_validator("max_top_ngram", "max_repeated_ngrams")
    @classmethod
    def _known_lengths(cls, limits: dict[int, float], info: ValidationInfo) -> dict[int, float]:
        known = range(2, 5) if info.field_name == "max_top_ngram" else range(5, 11)
        if unknown := sorted(set(limits) - set(known)):
            raise ValueError(f"n-grams of {unknown} words are not measured. Use n from {known[0]} to {known[-1]}.")
        return limits

    @property
    def edits(self) -> bool:  # type: ignore[override]
        """Only the line rules change texts."""
        return "c4_lines" in self.rules

    def warm_up(self) -> None:
        """Compile the kernels."""
        self.judge(pl.DataFrame({"text": ["text"]}))

    def judge(self, documents: pl.DataFrame) -> Verdicts:
        text = documents["text"]
        values, edits = measured(text, self.short_line), None
        if "c4_lines" in self.rules:
            from curate.line_rules import cut_lines

            left, edits = cut_lines(text, self._line_limits())
            values = values.with_columns(left)
        reason, found = pl.lit(None, pl.String), pl.lit(None, pl.Float64)
        limits = {}
        for rule in reversed(self.active()):
            limits[rule.reason] = rule.limit
            reason = pl.when(rule.broken).then(pl.lit(rule.reason)).otherwise(reason)
            found = pl.when(rule.broken).then(pl.col(rule.column).cast(pl.Float64)).otherwise(found)
        judged = values.select(reason=reason, found=found)
        details = [
            detail(found=round(value, 4), limit=limits[name]) if name else None for name, value in judged.iter_rows()
        ]
        if edits is not None:
            edits = edits.filter(judged["reason"].is_null().gather(edits["at"]))
        return Verdicts(judged["reason"], pl.Series("detail", details, pl.String), edits=edits)

    def _line_limits(self) -> "Limits":
        from curate.line_rules import Limits

        return Limits(
            self.min_line_words,
            self.max_line_word,
            self.cut_unterminated,
            self.cut_javascript,
            self.cut_policy,
            self.cut_citations,
        )

    def active(self) -> list[Rule]:
        """The rules that are on, in the order in which a reason is chosen."""
        rules: list[Rule] = []
        if "gopher" in self.rules or "fineweb" in self.rules:
            rules += [Rule("empty_text", "words", 1, least=True)]
        if "gopher" in self.rules:
            rules += [*self._gopher_quality(), *self._gopher_repetition()]
        if "c4_lines" in self.rules:
            rules += [Rule("no_lines_left", "lines_left", 1, least=True)]
        if "c4" in self.rules:
            rules += [
                Rule("lorem_ipsum", "lorem_ipsum", 0.5 * self.drop_lorem_ipsum),
                Rule("curly_bracket", "curly_bracket", 0.5 * self.drop_curly_bracket),
                Rule("too_few_sentences", "sentences", self.min_sentences, least=True),
            ]
        if "fineweb" in self.rules:
            rules += [
                Rule("too_few_terminated_lines", "terminated_lines", self.min_terminated_lines, least=True),
                Rule("too_many_short_lines", "short_lines", self.max_short_lines),
                Rule("repeated_characters", "repeated_characters", self.max_repeated_characters),
                Rule("too_many_newlines", "newlines", self.max_newlines),
            ]
        return [rule for rule in rules if rule.limit]

    def _gopher_quality(self) -> list[Rule]:
        return [
            Rule("too_few_words", "named", self.min_words, least=True),
            Rule("too_many_words", "named", self.max_words),
            Rule("words_too_short", "word_length", self.min_word_length, least=True),
            Rule("words_too_long", "word_length", self.max_word_length),
            Rule("too_many_hashes", "hashes", self.max_hashes),
            Rule("too_many_ellipses", "ellipses", self.max_ellipses),
            Rule("too_many_bullet_lines", "bullet_lines", self.max_bullet_lines),
            Rule("too_many_ellipsis_lines", "ellipsis_lines", self.max_ellipsis_lines),
            Rule("too_few_alphabetic_words", "alphabetic", self.min_alphabetic, least=True),
            Rule("too_few_stop_words", "stop_words", self.min_stop_words, least=True),
        ]

    def _gopher_repetition(self) -> list[Rule]:
        limits = {name: getattr(self, f"max_{name}") for name in BLOCKS}
        limits |= {f"top_{n}_gram": limit for n, limit in sorted(self.max_top_ngram.items())}
        limits |= {f"repeated_{n}_grams": limit for n, limit in sorted(self.max_repeated_ngrams.items())}
        return [Rule(name, name, limit) for name, limit in limits.items()]


def measured(text: pl.Series, short_line: int = 30) -> pl.DataFrame:
    """What the rules compare, a row a document; null where there is nothing to divide by."""
    from curate.kernels import repetition, text_counts
    from curate.kernels.character_kinds import kinds
    from curate.kernels.words import string_buffers

    data, offsets = string_buffers(text)
    counts, repeats = repetition.measure(data, offsets, short_line, kinds())
    frame = pl.DataFrame(np.hstack([counts, repeats]), schema=[*text_counts.NAMES, *repetition.NAMES])
    frame = frame.with_columns(
        unbroken_characters=pl.col("characters") - pl.col("newlines"),
        lorem_ipsum=text.str.contains_any(["lorem ipsum"], ascii_case_insensitive=True).cast(pl.Int64),
        curly_bracket=text.str.contains("{", literal=True).cast(pl.Int64),
    )
    shares = (
        pl.when(pl.col(whole) > 0).then(pl.col(part) / pl.col(whole)).alias(name)
        for name, (part, whole) in SHARES.items()
    )
    return frame.with_columns(shares)
