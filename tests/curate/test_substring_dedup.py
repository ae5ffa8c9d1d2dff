import json
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate import edits, substring_dedup
from curate.kernels.spaced_words import LONGEST, spaced_words, unspaced, word_places
from curate.kernels.word_cuts import byte_spans
from curate.stage import Verdicts
from curate.substring_dedup import SubstringDedup
from tests.curate.corpus import sentences

GAPS = ["", " ", " ", " ", "\n", "\n\n", " " * 9, "\t"]
CHARACTERS = st.sampled_from(["a", "b", "c", "dé", "漢", "字"])
DOCUMENT = st.lists(st.tuples(CHARACTERS, st.sampled_from(GAPS)), max_size=24).map(
    lambda pairs: "".join(one + gap for one, gap in pairs)
)
TEXTS = st.lists(DOCUMENT, max_size=10)
"""Few different words, so that spans repeat inside and between documents, overlap, and meet at cuts."""


def words_of(text):
    """The words as the stage sees them."""
    data = text.encode()
    words = spaced_words(pl.Series([text]))
    begins, ends, gaps = (np.empty(len(words.places), np.int64) for _ in range(3))
    word_places(words.places, words.far, begins, ends, gaps)
    return [data[a:b].decode() for a, b in zip(begins[:-1], ends[:-1], strict=True)]


def run(texts, rows=1000, **keys):
    """The verdicts of every part, and the ids, texts edited and reasons, in order."""
    ids = [f"notes/{number}" for number in range(len(texts))]
    frame = pl.DataFrame({"id": ids, "text": texts}, schema={"id": pl.String, "text": pl.String})
    parts = list(frame.iter_slices(rows)) or [frame]
    stage = SubstringDedup(**keys)
    given = list(stage.decide([part.select("id").hstack(stage.measure(part)) for part in parts]))
    edited, reasons = [], []
    for part, verdicts in zip(parts, given, strict=True):
        assert isinstance(verdicts, Verdicts) and verdicts.edits is not None
        assert len(verdicts.reason) == len(verdicts.detail) == part.height
        if verdicts.edits.height:
            assert verdicts.reason.gather(verdicts.edits["at"].unique()).null_count() == verdicts.edits["at"].n_unique()
            new = edits.apply(part["text"], verdicts.edits.cast(edits.EDITS))
            edited += [after or before for before, after in zip(part["text"], new, strict=True)]
        else:
            edited += part["text"].to_list()
        reasons += verdicts.reason.to_list()
    return given, edited, reasons


def windows_of(text, length):
    words = words_of(text)
    return [tuple(words[k : k + length]) for k in range(len(words) - length + 1)]


def plain(texts, length, least):
    """The words that are left of each document by the same rule in plain Python, None where it is dropped."""
    texts = [words_of(text) for text in texts]
    changed = True
    while changed:
        changed, owners = False, set()
        for number, words in enumerate(texts):
            if words is None:
                continue
            windows = [tuple(words[k : k + length]) for k in range(len(words) - length + 1)]
            cut = [False] * len(words)
            for k, window in enumerate(windows):
                if window in owners:
                    cut[k : k + length] = [True] * length
            first = {}
            for k, window in enumerate(windows):
                if window in owners:
                    continue
                if window in first:
                    for i in range(max(k, first[window] + length), k + length):
                        cut[i] = True
                elif not any(cut[k : k + length]):
                    first[window] = k
            left = [word for word, gone in zip(words, cut, strict=True) if not gone]
            changed |= len(left) < len(words)
            texts[number] = left
            if len(left) < len(words) and len(left) < least:
                texts[number] = None
                continue
            owners |= {window for window, k in first.items() if not any(cut[k : k + length])}
    return texts


@given(TEXTS, st.integers(2, 7), st.integers(1, 5))
@example(["a b c a b d", "a b c", "b c a b d"], 3, 1)
@example(["a a a a a a a a"], 3, 1)
@settings(max_examples=400, deadline=None)
def test_the_words_left_are_those_of_the_rule_in_plain_python(texts, length, least):
    least = min(least, length)
    _, edited, reasons = run(texts, min_words=length, min_left=least)
    expected = plain(texts, length, least)
    for text, reason, words in zip(edited, reasons, expected, strict=True):
        assert (reason == "nothing_left") == (words is None)
        if words is not None:
            assert words_of(text) == words


@given(TEXTS, st.integers(2, 7), st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_no_span_stands_twice_afterwards_and_a_second_run_cuts_nothing(texts, length, rows):
    given_one, edited, reasons = run(texts, min_words=length, min_left=1)
    left = [text for text, reason in zip(edited, reasons, strict=True) if reason is None]
    windows = Counter(window for text in left for window in windows_of(text, length))
    assert not windows or max(windows.values()) == 1
    again, same, gone = run(left, min_words=length, min_left=1)
    assert same == left and not any(gone) and not any(verdicts.edits.height for verdicts in again)
    by_part, edited_by_part, reasons_by_part = run(texts, rows, min_words=length, min_left=1)
    assert edited_by_part == edited and reasons_by_part == reasons
    for column in ("start", "end", "reason", "detail", "after"):
        assert pl.concat([one.edits[column] for one in by_part]).equals(given_one[0].edits[column])
    assert pl.concat([one.detail for one in by_part]).equals(given_one[0].detail)


@given(TEXTS, st.integers(2, 7))
@settings(max_examples=200, deadline=None)
def test_what_is_cut_once_stands_whole_in_the_document_named(texts, length):
    """A piece may be shorter than the span it belongs to, and the gap around it another; its words are there."""
    [verdicts], _, _ = run(texts, min_words=length, min_left=1)
    for at, start, end, reason, evidence, after in verdicts.edits.iter_rows():
        evidence = json.loads(evidence)
        cut = words_of(texts[at].encode()[start:end].decode())
        assert reason == "repeated_span" and after == "" and evidence["words"] == len(cut) > 0
        first = int(evidence["first_in"].removeprefix("notes/"))
        assert first <= at
        assert set(cut) <= set(words_of(texts[first]))


def test_a_planted_span_is_cut_at_its_words_and_the_first_is_kept():
    span = sentences(1, 6)
    texts = [
        f"{sentences(2, 4)} {span} {sentences(3, 4)}",
        f"Unlike the first. {span} And so on, until here, with ten words and two more.",
        f"{sentences(4, 5)}\n\n{span}\n\n{sentences(5, 5)}",
        f"{sentences(6, 5)}\n\n{span}",
    ]
    assert len(span.split()) > 50
    [verdicts], edited, reasons = run(texts)
    assert reasons == [None] * 4
    assert edited == [
        texts[0],
        "Unlike the first. And so on, until here, with ten words and two more.",
        f"{sentences(4, 5)}\n\n{sentences(5, 5)}",
        sentences(6, 5),
    ]
    assert [json.loads(one) for one in verdicts.edits["detail"]] == [
        {"first_in": "notes/0", "words": len(span.split())}
    ] * 3


def test_a_document_with_too_little_left_goes_and_its_words_are_no_first_occurrence():
    span, rest = sentences(1, 6), "only these few words are left"
    texts = [f"{sentences(2, 3)} {span}", f"{span} {rest}", f"{sentences(3, 3)} {rest} {sentences(4, 3)}"]
    [verdicts], edited, reasons = run(texts, min_left=10)
    assert reasons == [None, "nothing_left", None]
    assert json.loads(verdicts.detail[1]) == {"first_in": "notes/0", "words": len(texts[1].split()), "left": 6}
    assert edited[2] == texts[2]
    [_], edited, reasons = run(texts, min_left=6)
    assert reasons == [None] * 3 and edited[1] == rest


def test_a_repeat_inside_a_document_is_cut_save_what_both_share():
    [verdicts], edited, _ = run(["na " * 200 + "the end of it"], min_left=1)
    assert edited == ["na " * 50 + "the end of it"]
    span = sentences(1, 6)
    [verdicts], edited, _ = run([f"{span}\nThen {sentences(2, 3)} Again\n{span}\nLast {sentences(3, 3)}"])
    assert edited == [f"{span}\nThen {sentences(2, 3)} Again\nLast {sentences(3, 3)}"]
    assert json.loads(verdicts.edits["detail"][0])["first_in"] == "notes/0"


def test_what_a_cut_joins_is_cut_where_it_repeats():
    left, right, planted = (" ".join(f"{name}{k}" for k in range(40)) for name in ("l", "r", "p"))
    planted = f"{planted} {planted.upper()}"
    texts = [
        planted,
        f"{left} {right}",
        f"first {left} {planted} {right} last and some more words stand here to keep it",
    ]
    [verdicts], edited, _ = run(texts)
    assert edited[:2] == texts[:2]
    assert edited[2] == "first last and some more words stand here to keep it"
    assert [json.loads(one)["first_in"] for one in verdicts.edits["detail"]] == ["notes/1", "notes/0", "notes/1"]


def test_case_and_punctuation_count_and_white_space_does_not():
    span = sentences(1, 6)
    around = [sentences(k, 3) for k in range(2, 10)]
    other = [span.replace(" ", "\n"), span.upper(), span.replace(".", ",")]
    texts = [f"{around[0]} {span}", *(f"{around[k + 1]} {one} {around[k + 4]}" for k, one in enumerate(other))]
    _, edited, _ = run(texts)
    assert [one == text for one, text in zip(edited, texts, strict=True)] == [True, False, True, True]
    assert edited[1] == f"{around[1]} {around[4]}"


def test_anchors_gone_through_by_ranges_are_the_same(monkeypatch):
    texts = [f"{sentences(k, 8)} {sentences(k // 2, 6)}" for k in range(60)]
    one = run(texts)
    monkeypatch.setattr(substring_dedup, "ANCHORS_AT_ONCE", 40)
    assert run(texts)[1:] == one[1:]
    assert one[1] != texts


def test_empty_documents_are_kept():
    _, edited, reasons = run(["", " ", "\n\n", "", "one word"], rows=2)
    assert reasons == [None] * 5 and edited == ["", " ", "\n\n", "", "one word"]
    assert run([])[1] == []


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"min_words": 1}, "greater than or equal to 2"),
        ({"min_left": 0}, "greater than or equal to 1"),
        ({"min_words": 20, "min_left": 21}, "Set min_left to at most min_words"),
        ({"words": 50}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_keys_are_refused(keys, message):
    with pytest.raises(ValidationError, match=message):
        SubstringDedup(**keys)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=80), max_size=5))
@example(["a" * 5000 + " é" + "ü" * 3000, "漢字\u3000かな ภาษา𠀀x", " " * 100_000 + "x" + "\n" * 70_000])
@settings(max_examples=300, deadline=None)
def test_words_are_those_of_plain_python(texts):
    own = unspaced()
    for text in texts:
        expected = []
        for word in "".join(" " if one <= " " else one for one in text).split(" "):
            piece = ""
            for one in word:
                alone = bool(own[ord(one)]) if ord(one) < 0x20000 else ord(one) < 0x40000
                if piece and (alone or len((piece + one).encode()) > LONGEST):
                    expected.append(piece)
                    piece = ""
                piece += one
                if alone:
                    expected.append(piece)
                    piece = ""
            expected += [piece] if piece else []
        assert words_of(text) == expected


def test_gaps_around_a_cut():
    text = "a b\n\nc d e\nf\n"
    words = spaced_words(pl.Series([text]))
    places = tuple(np.empty(len(words.places), np.int64) for _ in range(3))
    word_places(words.places, words.far, *places)
    cut = lambda *runs: "".join(  # noqa: E731
        one
        for k, one in enumerate(text)
        if not any(a <= k < b for a, b in byte_spans([list(run) for run in runs], *places))
    )
    assert cut([0, 1]) == "b\n\nc d e\nf\n"
    assert cut([1, 2]) == "a\n\nc d e\nf\n"
    assert cut([2, 3]) == "a b\n\nd e\nf\n"
    assert cut([1, 3]) == "a d e\nf\n"
    assert cut([1, 2], [2, 3]) == "a d e\nf\n"
    assert cut([3, 4], [4, 5]) == "a b\n\nc\nf\n"
    assert cut([5, 6]) == "a b\n\nc d e"


def test_real_text_has_no_repeat_afterwards(real_data):
    texts = pl.read_ndjson(real_data / "domain" / "clinical_notes.jsonl.gz", schema={"text": pl.String})[
        "text"
    ].to_list()
    _, edited, reasons = run(texts[:800], rows=100)
    left = [text for text, reason in zip(edited, reasons, strict=True) if reason is None]
    windows = Counter(hash(window) for text in left for window in windows_of(text, 50))
    assert max(windows.values()) == 1
    assert edited != texts[:800]
