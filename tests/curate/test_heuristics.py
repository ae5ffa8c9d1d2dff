"""The Gopher, C4 and FineWeb rules: datatrove's own filters decide the same; what each rule drops and cuts."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from datatrove.pipeline.filters import C4QualityFilter
from datatrove.pipeline.filters.gopher_repetition_filter import (
    find_duplicates,
    find_top_duplicate,
    get_n_grams,
)
from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import edits
from curate.heuristics import Heuristics, measured
from curate.sample import make_sample
from tests.benchmarks.quality_filters import KEYS, WORD, Words, decide, filters
from tests.curate.corpus import sentences

PIECES = ["a", "b ", "the ", "that\n", "ab-c ", "1", "é", "１", "_", "°", " ", "\t", "\n", "\n\n", "\r\n", "\r", "\x0b"]
PIECES += [
    "\x1f",
    "\x85",
    "\u2028",
    "\xa0",
    ".",
    "...",
    "…",
    "!",
    "。",
    "\u093f",
    "\u094d",
    "e\u0301",
    "।",
    "”",
    "#",
    "-",
    "•",
    "-",
    "a long word ",
    "中",
    "𝐱",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)
LINES = st.lists(
    st.sampled_from(
        ["", " ", "One two three.", "Two words.", "One two three four", "It goes on...", "See [1] and [23].", "[edit]"]
        + [
            "Cited. [4]",
            "It is so.[citation needed]",
            "[[2]]x [] yes it is.",
            "Turn on JavaScript now.",
            '"He said so."',
        ]
        + ["We use cookies now.", "Lorem Ipsum dolor is.", "a { b c.", "x" * 30 + " is a word.", "  Blanks around it. "]
    ),
    max_size=9,
)
SIGNS = st.sampled_from(["\n", "\n\n", "\r\n", "\x0b", "\u2028"])


def frame(*texts: str) -> pl.DataFrame:
    return pl.DataFrame({"row": range(len(texts)), "text": list(texts)}, schema={"row": pl.UInt32, "text": pl.String})


def reason(text: str, **keys: object) -> str | None:
    return Heuristics(**keys).judge(frame(text)).reason[0]


def share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_counts_equal_plain_python(text: str) -> None:
    words, lines, plain = WORD.findall(text), text.splitlines(), [line for line in text.split("\n") if line.strip()]
    named = [word for word in words if any(character not in PUNCTUATION_SET for character in word)]
    found = measured(pl.Series([text])).row(0, named=True)
    expected = {
        "words": len(words),
        "named": len(named),
        "word_length": share(sum(map(len, named)), len(named)),
        "hashes": share(text.count("#"), len(words)),
        "ellipses": share(text.count("...") + text.count("…"), len(words)),
        "bullet_lines": share(sum(line.lstrip().startswith(("-", "•")) for line in lines), len(lines)),
        "ellipsis_lines": share(sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines)),
        "alphabetic": share(sum(any(map(str.isalpha, word)) for word in words), len(words)),
        "stop_words": len({"the", "be", "to", "of", "and", "that", "have", "with"}.intersection(words)),
        "sentences": sum(len(Words().span_tokenize(line.strip())) for line in lines if line.strip()),
        "terminated_lines": share(sum(line.endswith(tuple(TERMINAL_PUNCTUATION)) for line in plain), len(plain)),
        "short_lines": share(sum(len(line) <= 30 for line in plain), len(plain)),
        "newlines": share(text.count("\n"), len(words)),
    }
    assert {name: found[name] for name in expected} == expected


def test_a_hindi_word_is_one_word_with_its_signs() -> None:
    """Vowel signs, viramas, a nukta; a danda is a sign of its own."""
    text = "मुझे हिन्दी पढ़ना अच्छा लगता है। जगत् की बड़ी कहानी थी।"
    found = measured(pl.Series([text])).row(0, named=True)
    assert (found["words"], found["named"]) == (13, 11) and found["alphabetic"] == 11 / 13
    assert found["word_length"] == pytest.approx(sum(map(len, text.replace("।", "").split())) / 11)
    assert reason(text * 10, rules=["gopher"], min_stop_words=0, max_top_ngram={}, max_repeated_ngrams={}) is None


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_repetition_equals_datatrove(text: str) -> None:
    words, plain = WORD.findall(text), [line for line in text.split("\n") if line.strip()]
    paragraphs, lines = re.split(r"\n{2,}", text.strip()), re.split(r"\n+", text)
    (few, inside), (repeated, size) = find_duplicates(paragraphs), find_duplicates(lines)
    expected = {
        "repeated_lines": repeated / len(lines),
        "repeated_line_characters": share(size, len(text)),
        "repeated_paragraphs": few / len(paragraphs),
        "repeated_paragraph_characters": share(inside, len(text)),
        "repeated_characters": share(find_duplicates(plain)[1], len(text.replace("\n", ""))),
    }
    for n in (2, 3, 4):
        grams = get_n_grams(words, n)
        expected[f"top_{n}_gram"] = share(find_top_duplicate(grams) if grams else 0, len(text))
    expected |= {f"repeated_{n}_grams": share(repeated_words(words, n), len(text)) for n in range(5, 11)}
    if text:  # datatrove drops an empty text before it measures
        found = measured(pl.Series([text])).row(0, named=True)
        assert {name: found[name] for name in expected} == expected


def repeated_words(words: list[str], n: int) -> int:
    """datatrove's find_all_duplicate with n-grams as tuples: joined, `1 11` would be `11 1`."""
    seen, size, at = set(), 0, 0
    while at + n <= len(words):
        gram = tuple(words[at : at + n])
        size += len("".join(gram)) * (gram in seen)
        at += n if gram in seen else 1
        seen.add(gram)
    return size


def corpus(folder: Path, documents: int) -> list[str]:
    """So many texts of every source, evenly."""
    files = sorted([*folder.glob("domain/*.jsonl.gz"), *folder.glob("general/*.jsonl.gz")])
    sources = [pl.read_ndjson(file, schema={"text": pl.String})["text"] for file in files]
    return [text for one in sources for text in one.gather_every(max(len(one) // documents, 1)).head(documents)]


def check_decisions(texts: list[str]) -> Counter[str]:
    """Every filter of datatrove, with our words, drops what we drop; returns how many each drops."""
    dropped: Counter[str] = Counter()
    for name, one in filters(Words()).items():
        verdicts = Heuristics(**KEYS[name]).judge(frame(*texts))
        for text, ours in zip(texts, verdicts.reason, strict=True):
            theirs, _ = decide(one, text)
            assert (theirs is None) == (ours is None), (name, theirs, ours, text[:200])
            dropped[name] += theirs is not None
    return dropped


def test_datatrove_decides_the_same_on_real_text(real_data: Path) -> None:
    dropped = check_decisions(corpus(real_data, 45))
    assert all(count > 2 for count in dropped.values())


def test_datatrove_decides_the_same_without_line_rules(real_data: Path) -> None:
    texts = corpus(real_data, 45)
    off: dict[str, Any] = {"remove_citations": False, "filter_no_terminal_punct": False, "filter_javascript": False}
    off |= {"filter_policy": False, "max_word_length": -1, "min_words_per_line": 1}  # 1: blank lines are no sentences
    theirs = C4QualityFilter(language=Words(), **off)
    ours = Heuristics(rules=["c4"]).judge(frame(*texts)).reason.to_list()
    assert ours == [decide(theirs, text)[0] for text in texts] and len(set(ours)) > 2


def test_datatrove_decides_the_same_on_the_sample(tmp_path: Path) -> None:
    make_sample(tmp_path)
    texts = corpus(tmp_path, 60)
    assert len(texts) > 300
    damaged = [text[:900] + text[k : 900 - k] + "\n" + "# ... " * (k % 40) for k, text in enumerate(texts[:120])]
    assert sum(check_decisions([*texts, *damaged]).values()) > 50


def left(texts: list[str], **keys: object) -> tuple[list[str | None], list[str]]:
    """Reasons and the texts with their edits."""
    verdicts = Heuristics(**keys).judge(frame(*texts))
    assert verdicts.edits is not None
    edited = edits.apply(pl.Series(texts), verdicts.edits)
    return verdicts.reason.to_list(), [
        after if after is not None else text for after, text in zip(edited, texts, strict=True)
    ]


def plain(text: str) -> str:
    """Without blank lines and blanks at line edges, which datatrove takes out and we leave."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


@settings(max_examples=400, deadline=None)
@given(LINES, SIGNS, st.integers(0, 3))
def test_datatrove_cuts_the_same_lines(lines: list[str], end: str, min_sentences: int) -> None:
    text = end.join(lines)
    theirs, rest = decide(C4QualityFilter(language=Words(), min_num_sentences=min_sentences), text)
    [ours], [after] = left([text], rules=["c4", "c4_lines"], min_sentences=min_sentences)
    if theirs is None and not rest:
        assert ours == "no_lines_left"  # datatrove keeps an empty document
    else:
        assert (ours is None) == (theirs is None)
    if ours is None:
        assert plain(after) == plain(rest)


@settings(max_examples=200, deadline=None)
@given(LINES, st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.sampled_from([0, 20, 1000]))
def test_line_rules_are_turned_off_by_their_keys(
    lines: list[str], terminated: bool, javascript: bool, policy: bool, citations: bool, word: int
) -> None:
    text = "\n".join(lines)
    same = {"remove_citations": citations, "filter_no_terminal_punct": terminated, "max_word_length": word or -1}
    same |= {"filter_javascript": javascript, "filter_policy": policy, "min_words_per_line": 1}
    theirs, rest = decide(C4QualityFilter(language=Words(), min_num_sentences=1, **same), text)
    keys = {"cut_citations": citations, "cut_unterminated": terminated, "max_line_word": word, "min_line_words": 1}
    keys |= {"cut_javascript": javascript, "cut_policy": policy, "min_sentences": 1}
    [ours], [after] = left([text], rules=["c4", "c4_lines"], **keys)
    assert (ours is None) == (theirs is None)
    if ours is None:
        assert plain(after) == plain(rest)


def test_cut_lines_leave_one_blank_line_between_paragraphs() -> None:
    good = ["It is a first line.", "It is a second line.", "It is a third line."]
    texts = [
        "menu\n\n{}\nhome\n{}",
        "{}\nmenu\n\n{}",
        "{}\n\nmenu\n{}",
        "{}\n\nmenu\n\nhome\n\n{}\n\nfoot\n\nend",
        "{}\n{}\nfoot\n",
    ]
    ends = ["{}\n{}", "{}\n\n{}", "{}\n\n{}", "{}\n\n{}", "{}\n{}"]
    _, after = left([text.format(*good) for text in texts], rules=["c4_lines"])
    assert after == [text.format(*good) for text in ends]


def test_edits_say_what_was_cut_and_why() -> None:
    text = "Home\nIt was shown before [12] by us.\n" + "y" * 1200 + " ends it.\nYes, no.\nJavascript is needed here."
    verdicts = Heuristics(rules=["c4_lines"]).judge(frame("menu only", text))
    assert verdicts.reason.to_list() == ["no_lines_left", None] and verdicts.edits is not None
    spans = [
        (text.encode()[row["start"] : row["end"]].decode()[:12], row["reason"], json.loads(row["detail"]))
        for row in verdicts.edits.rows(named=True)
    ]
    assert set(verdicts.edits["at"]) == {1}
    assert spans == [
        ("Home\n", "unterminated_line", {}),
        ("[12]", "citation", {}),
        ("\n" + "y" * 11, "long_word_line", {"characters": 1200}),
        ("Yes, no.\n", "short_line", {"words": 2}),
        ("Javascript i", "javascript_line", {}),
    ]


def test_many_blank_lines_do_not_fill_the_table() -> None:
    assert measured(pl.Series([" \n" * 5000 + "\n\n \t\n" * 3000]))["words"][0] == 0


def test_no_text_is_dropped_and_no_rows_are_no_error() -> None:
    rules = ["gopher", "c4", "c4_lines", "fineweb"]
    assert Heuristics(rules=rules).judge(frame("", "\n \n")).reason.to_list() == ["empty_text"] * 2
    assert Heuristics(rules=rules).judge(frame()).reason.to_list() == []


def test_good_text_is_kept() -> None:
    assert reason(sentences(5, 12), rules=["gopher", "c4", "c4_lines", "fineweb"]) is None


@pytest.mark.parametrize(
    ("text", "expected"),
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
        (" ".join(f"alpha{k} beta{k}" for k in range(60)), "too_few_stop_words"),
        ("\n\n".join([*["the same line of text\nstands here again"] * 9, "the end"]), "repeated_paragraphs"),
        ("\n".join(["the same line of text stands here again"] * 12), "repeated_lines"),
    ],
)
def test_gopher_rules_have_their_reasons(text: str, expected: str) -> None:
    assert reason(text, rules=["gopher", "c4", "fineweb"]) == expected


@pytest.mark.parametrize(
    ("rules", "text", "expected"),
    [
        ("c4", "Lorem ipsum dolor sit amet. " + sentences(3, 12), "lorem_ipsum"),
        ("c4", sentences(4, 12) + " {", "curly_bracket"),
        ("c4", sentences(6, 12).replace(".", ","), "too_few_sentences"),
        ("fineweb", sentences(5, 12).replace(".", "\n"), "too_few_terminated_lines"),
        ("fineweb", sentences(5, 12).replace(" ", ".\n"), "too_many_short_lines"),
        ("fineweb", sentences(5, 30).replace(". ", ".\n") + "\n" + sentences(5, 1), "repeated_characters"),
        ("fineweb", sentences(5, 12).replace(". ", "." + "\n" * 9), "too_many_newlines"),
    ],
)
def test_other_rules_have_their_reasons(rules: str, text: str, expected: str) -> None:
    assert reason(text, rules=[rules]) == expected


def test_a_rule_is_turned_off_by_zero() -> None:
    off = {"min_words": 0, "min_stop_words": 0, "max_top_ngram": {}, "min_alphabetic": 0}
    assert reason("Too short to say anything.", rules=["gopher"], **off) is None
    assert reason("{}", rules=[]) is None


def test_detail_gives_value_and_limit() -> None:
    verdicts = Heuristics(rules=["gopher"]).judge(frame("Too short to say anything.", sentences(5, 12)))
    assert json.loads(verdicts.detail[0]) == {"found": 5.0, "limit": 50} and verdicts.detail[1] is None


def test_unknown_ngram_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"n-grams of \[7\] words are not measured"):
        Heuristics(max_top_ngram={7: 0.1})
