import json
import re
from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate import edits
from curate.paragraph_dedup import ParagraphDedup
from tests.curate.corpus import sentences

SEPARATORS = {"paragraph": ["\n\n", "\n \n", "\r\n\r\n", "\n\n\n\t"], "line": ["\n", "\r\n", "\n \n"]}
PARAGRAPH = st.lists(st.sampled_from(["a", "b", "c,", "é"]), min_size=1, max_size=5)


@st.composite
def document(draw, unit):
    """A text of few different paragraphs, white space of all kinds around and inside them."""
    text = draw(st.sampled_from(["", " ", "\n\n"]))
    for words in draw(st.lists(PARAGRAPH, max_size=7)):
        inside = [" ", "  ", "\t"] + (["\n"] if unit == "paragraph" else [])
        text += "".join(word + draw(st.sampled_from(inside)) for word in words[:-1]) + words[-1]
        text += draw(st.sampled_from(SEPARATORS[unit]))
    return text.rstrip("\n") if draw(st.booleans()) else text


def paragraphs_of(text, unit):
    parts = re.split(r"\n\s*\n" if unit == "paragraph" else r"\n", text)
    return [" ".join(part.split()) for part in parts if part.strip()]


def run(texts, rows=1000, **keys):
    """The verdicts of every part, and the texts edited and reasons of all documents, in order."""
    ids = [f"notes/{number}" for number in range(len(texts))]
    frame = pl.DataFrame({"id": ids, "text": texts}, schema={"id": pl.String, "text": pl.String})
    parts = list(frame.iter_slices(rows)) or [frame]
    stage = ParagraphDedup(**keys)
    given = list(stage.decide([part.select("id").hstack(stage.measure(part)) for part in parts]))
    edited, reasons = [], []
    for part, verdicts in zip(parts, given, strict=True):
        assert len(verdicts.reason) == len(verdicts.detail) == part.height
        cut = verdicts.edits["at"].unique()
        assert verdicts.reason.gather(cut).null_count() == len(cut)
        new = edits.apply(part["text"], verdicts.edits.cast(edits.EDITS)) if len(cut) else part["text"]
        edited += [after or before for before, after in zip(part["text"], new, strict=True)]
        reasons += verdicts.reason.to_list()
    return given, edited, reasons


@given(st.data(), st.sampled_from(["paragraph", "line"]), st.integers(1, 4), st.integers(1, 6), st.integers(1, 5))
@settings(max_examples=300, deadline=None)
def test_the_paragraphs_left_are_those_of_plain_python(data, unit, min_words, min_left, rows):
    texts = data.draw(st.lists(document(unit), max_size=8))
    given_verdicts, edited, reasons = run(texts, rows, unit=unit, min_words=min_words, min_left=min_left)
    evidence = pl.concat([one.detail for one in given_verdicts]).to_list()
    seen = {}
    for number, text in enumerate(texts):
        new, left, owners = {}, [], []
        for paragraph in paragraphs_of(text, unit):
            if len(paragraph.split()) >= min_words and (paragraph in seen or paragraph in new):
                owners.append(seen.get(paragraph, number))
            else:
                new.setdefault(paragraph, number)
                left.append(paragraph)
        words = len(" ".join(left).split())
        if owners and words < min_left:
            assert reasons[number] == "nothing_left"
            found = {"first_in": f"notes/{owners[0]}", "words": len(text.split()), "left": words}
            assert json.loads(evidence[number]) == found
            continue
        seen |= new
        assert reasons[number] is None and evidence[number] is None
        assert paragraphs_of(edited[number], unit) == left
        assert owners or edited[number] == text
    whole = run(texts, 1000, unit=unit, min_words=min_words, min_left=min_left)
    assert whole[1:] == (edited, reasons)
    for column in ("start", "end", "reason", "detail", "after"):
        assert pl.concat([one.edits[column] for one in given_verdicts]).equals(whole[0][0].edits[column])


@given(st.data(), st.sampled_from(["paragraph", "line"]), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_afterwards_every_paragraph_stands_once_and_a_second_run_cuts_nothing(data, unit, min_words):
    texts = data.draw(st.lists(document(unit), max_size=8))
    _, edited, reasons = run(texts, unit=unit, min_words=min_words, min_left=1)
    left = [text for text, reason in zip(edited, reasons, strict=True) if reason is None]
    counts = Counter(one for text in left for one in paragraphs_of(text, unit) if len(one.split()) >= min_words)
    assert not counts or max(counts.values()) == 1
    again, same, gone = run(left, unit=unit, min_words=min_words, min_left=1)
    assert same == left and not any(gone) and not any(one.edits.height for one in again)


def test_headings_and_findings_stay_and_a_repeated_paragraph_goes():
    consent = "INFORMED CONSENT: " + sentences(1, 3)
    note = "PAST MEDICAL HISTORY:\n\n{}\n\nALLERGIES: No known drug allergies.\n\n{}\n\nREVIEW OF SYSTEMS:\n\n{}"
    texts = [note.format(sentences(k, 4), consent, sentences(k + 10, 4)) for k in range(3)]
    [verdicts], edited, reasons = run(texts)
    assert reasons == [None] * 3
    assert edited == [texts[0], *(text.replace(consent + "\n\n", "") for text in texts[1:])]
    assert verdicts.edits["at"].to_list() == [1, 2] and set(verdicts.edits["reason"]) == {"repeated_paragraph"}
    expected = {"first_in": "notes/0", "words": len(consent.split())}
    assert [json.loads(one) for one in verdicts.edits["detail"]] == [expected] * 2


def test_white_space_does_not_count_and_case_and_punctuation_do():
    text = sentences(1, 4)
    others = [text.replace(" ", "\n"), text.upper(), text.replace(".", " .")]
    _, edited, _ = run([text, *(f"{sentences(k + 2, 3)}\n\n{one}" for k, one in enumerate(others))])
    assert edited[1] == sentences(2, 3)
    assert all(one in new for one, new in zip(others[1:], edited[2:], strict=True))


def test_at_the_end_of_a_text_the_gap_before_goes_too():
    one, other, own = sentences(1, 3), sentences(2, 3), sentences(3, 3)
    _, edited, _ = run([f"{one}\n\n{other}", f"{own}\n\n\n{one}\n\n{other}\n", f"{one}\n\n{own} more"])
    assert edited[1:] == [own, f"{own} more"]


def test_what_stood_only_in_a_dropped_document_is_kept_in_the_next():
    one, other = sentences(1, 3), "A short paragraph that stands in two documents."
    texts = [one, f"{one}\n\n{other}", f"{sentences(2, 3)}\n\n{other}"]
    _, edited, reasons = run(texts, min_words=5, min_left=10)
    assert reasons == [None, "nothing_left", None]
    assert edited[2] == texts[2]


def test_scripts_written_without_spaces():
    text = "这是一个关于病人的记录，其中描述了症状和治疗方法。"
    _, edited, _ = run([text, f"{sentences(1, 3)}\n\n{text}"])
    assert edited[1] == sentences(1, 3)


def test_empty_documents_are_kept():
    assert run(["", " ", "\n\n", ""], rows=2)[1:] == (["", " ", "\n\n", ""], [None] * 4)
    assert run([])[1] == []


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"min_words": 0}, "greater than or equal to 1"),
        ({"min_left": 0}, "greater than or equal to 1"),
        ({"unit": "sentence"}, "'paragraph' or 'line'"),
        ({"max_copies": 2}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_keys_are_refused(keys, message):
    with pytest.raises(ValidationError, match=message):
        ParagraphDedup(**keys)


def test_real_notes_keep_their_headings(real_data):
    texts = pl.read_ndjson(real_data / "domain" / "clinical_notes.jsonl.gz", schema={"text": pl.String})[
        "text"
    ].to_list()
    _, edited, reasons = run(texts)
    kept = [text for text, reason in zip(edited, reasons, strict=True) if reason is None]
    counts = Counter(one for text in kept for one in paragraphs_of(text, "paragraph"))
    assert counts["REVIEW OF SYSTEMS"] > 100 and counts["ALLERGIES: No known drug allergies."] > 40
    assert max(count for one, count in counts.items() if len(one.split()) >= 20) == 1
    assert 0 < sum(map(len, texts)) - sum(map(len, kept)) < 0.02 * sum(map(len, texts))
