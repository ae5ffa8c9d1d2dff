"""The Gopher and C4 rules against plain Python, and what each rule drops."""

import json
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.heuristics import Heuristics, _values
from tests.curate.corpus import sentences

LETTERS = st.text(st.sampled_from("ab c\n.é-•#…"), max_size=120)


def frame(*texts: str) -> pl.DataFrame:
    return pl.DataFrame({"row": range(len(texts)), "text": list(texts)}, schema={"row": pl.UInt32, "text": pl.String})


def reasons(text: str, **keys: object) -> str | None:
    return Heuristics(**keys).judge(frame(text)).reason[0]


def repeated(blocks: list[str]) -> tuple[int, int]:
    seen: set[str] = set()
    count = size = 0
    for block in blocks:
        if block in seen:
            count, size = count + 1, size + len(block.encode())
        seen.add(block)
    return count, size


@settings(max_examples=200, deadline=None)
@given(LETTERS)
def test_counts_equal_plain_python(text: str) -> None:
    found = _values(pl.Series([text])).row(0, named=True)
    blocks = text.replace("\t", " ").split()
    words = [core for core in (block.strip(".-•#…") for block in blocks) if core]
    assert found["words"] == len(words)
    assert found["word_length"] == pytest.approx(np.mean([len(word) for word in words]) if words else 0)
    lines = [line for line in text.split("\n") if line.strip(" \t")]
    bullets = sum(line.lstrip(" \t").startswith(("-", "•")) for line in lines)
    assert found["bullet_lines"] == pytest.approx(bullets / max(len(lines), 1))
    ended = sum(line.rstrip(" \t").endswith(("...", "…")) for line in lines)
    assert found["ellipsis_lines"] == pytest.approx(ended / max(len(lines), 1))


@settings(max_examples=200, deadline=None)
@given(LETTERS)
def test_repetition_equals_plain_python(text: str) -> None:
    found = _values(pl.Series([text])).row(0, named=True)
    size, words = max(len(text.encode()), 1), text.split()
    count, characters = repeated([line for line in text.split("\n") if line])
    total = max(len([line for line in text.split("\n") if line]), 1)
    assert found["repeated_lines"] == pytest.approx(count / total)
    assert found["repeated_line_characters"] == pytest.approx(characters / size)
    for n in (2, 3, 4):
        grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        most = max(grams.values(), default=0)
        best = {(len(" ".join(gram)) * times) / size for gram, times in grams.items() if times == most and most > 1}
        assert any(found[f"top_{n}_gram"] == pytest.approx(one) for one in best or {0.0})
    seen, at, characters = set(), 0, 0
    while at + 5 <= len(words):
        gram = tuple(words[at : at + 5])
        if gram in seen:
            characters, at = characters + len("".join(gram)), at + 5
        else:
            seen.add(gram)
            at += 1
    assert found["repeated_5_grams"] == pytest.approx(characters / size)


def test_many_blank_lines_do_not_fill_the_table() -> None:
    assert _values(pl.Series([" \n" * 5000 + "\n\n \t\n" * 3000]))["words"][0] == 0


def test_good_text_is_kept() -> None:
    assert reasons(sentences(5, 12)) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Too short to say anything.", "too_few_words"),
        ("a b of the c d e f g h. " * 20, "words_too_short"),
        (
            "the antidisestablishmentarianism of electroencephalographies with immunohistochemistries. " * 9,
            "words_too_long",
        ),
        ("# the # of # it # patient and doctor " * 20, "too_many_hashes"),
        ("the thing... of it... and... " * 20, "too_many_ellipses"),
        ("\n".join(f"- the patient {k} of another doctor {k * 7}." for k in range(30)), "too_many_bullet_lines"),
        (
            "\n".join(f"the patients {k} of another doctor are listed like this {k * 7} ..." for k in range(9)),
            "too_many_ellipsis_lines",
        ),
        ("the 1234 345 of 56456 7564568 90545 11343 " * 12, "too_few_alphabetic_words"),
        (" ".join(f"alpha{k} beta{k}." for k in range(60)), "too_few_stop_words"),
        ("\n".join(["the same line of text stands here again."] * 12), "repeated_lines"),
        ("Lorem ipsum dolor sit amet. " + sentences(3, 12), "lorem_ipsum"),
        (sentences(4, 12) + " {", "curly_bracket"),
        (sentences(6, 12).replace(".", ","), "too_few_sentences"),
    ],
)
def test_each_rule_has_its_reason(text: str, reason: str) -> None:
    assert reasons(text) == reason


def test_a_rule_is_turned_off_by_zero() -> None:
    assert reasons("Too short to say anything.", rules=["gopher"], min_words=0, min_stop_words=0) is None
    assert reasons("{}", rules=[]) is None


def test_detail_gives_value_and_limit() -> None:
    verdicts = Heuristics(rules=["gopher"]).judge(frame("Too short to say anything.", sentences(5, 12)))
    assert json.loads(verdicts.detail[0]) == {"found": 5.0, "limit": 50} and verdicts.detail[1] is None


def test_unknown_ngram_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"n-grams of \[7\] words are not measured"):
        Heuristics(max_top_ngram={7: 0.1})
