"""datatrove's quality filters with our words, and the keys of our stage that stand for each."""

import re
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.utils.word_tokenizers import WordTokenizer

from curate.kernels.character_kinds import marks

W = rf"[\w{marks()}]"
WORD = re.compile(rf"{W}(?:\S*{W})?|\S")
SENTENCE_END = re.compile(r"(?:^|(?<=\s))(?=\S*[^\s\"')\]])\S*[.!?][\"')\]]*(?=\s|$)")
"""A run of non-blanks with . ! or ? at its end, before closing quotes and brackets."""

BLOCKS = ("paragraphs", "paragraph_characters", "lines", "line_characters")
NO_REPETITION: dict[str, Any] = {f"max_repeated_{name}": 0 for name in BLOCKS}
NO_REPETITION |= {"max_top_ngram": {}, "max_repeated_ngrams": {}}
NO_QUALITY = dict.fromkeys(
    ["min_words", "max_words", "min_word_length", "max_word_length", "max_hashes", "max_ellipses"], 0
) | dict.fromkeys(["max_bullet_lines", "max_ellipsis_lines", "min_alphabetic", "min_stop_words"], 0)
KEYS: dict[str, dict[str, Any]] = {
    "gopher_quality": {"rules": ["gopher"], **NO_REPETITION},
    "gopher_repetition": {"rules": ["gopher"], **NO_QUALITY},
    "c4": {"rules": ["c4", "c4_lines"]},
    "fineweb": {"rules": ["fineweb"]},
}
"""Keys of the stage that stand for each of datatrove's filters."""


class Words(WordTokenizer):
    """The words and sentences of curate.kernels.text_counts, by regular expressions."""

    def word_tokenize(self, text: str) -> list[str]:
        """Words as `WORD` finds them."""
        return WORD.findall(text)

    def sent_tokenize(self, text: str) -> list[str]:
        """Sentences with the white space before them."""
        return [text[start:end] for start, end in self.span_tokenize(text)]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of every sentence."""
        ends = [match.end() for match in SENTENCE_END.finditer(text)]
        if not ends or text[ends[-1] :].strip():
            ends.append(len(text))
        return list(zip([0, *ends[:-1]], ends, strict=True))


def filters(words: WordTokenizer | str) -> dict[str, BaseFilter]:
    """The four filters with published limits."""
    return {
        "gopher_quality": GopherQualityFilter(language=words),
        "gopher_repetition": GopherRepetitionFilter(language=words),
        "c4": C4QualityFilter(language=words),
        "fineweb": FineWebQualityFilter(language=words),
    }


def decide(one: BaseFilter, text: str) -> tuple[str | None, str]:
    """(reason or None, the text that is left)."""
    document = Document(text=text, id="")
    result = one.filter(document)
    return (None if result is True else result[1]), document.text
