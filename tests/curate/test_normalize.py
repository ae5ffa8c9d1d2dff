"""normalize: what changes, what stays, and that it settles after one round."""

import gzip
import json
import sys
import unicodedata
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.normalize import INDIC, Normalize
from curate.stage import Workspace


def normalized(text: str, **keys: object) -> str:
    verdicts = Normalize(**keys).judge(pl.DataFrame({"text": [text]}))
    assert verdicts.text is not None
    return text if verdicts.text[0] is None else verdicts.text[0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("plain text\nstays as it is", "plain text\nstays as it is"),
        ("line\r\nends\rdiffer", "line\nends\ndiffer"),
        ("caf\u0065\u0301", "caf\u00e9"),
        ("e\u200b\u0301 \u00c2\x08\u00a1", "\u00e9 \u00a1"),  # what comes together is composed and mended
        ("zero\u200bwidth\x00and\x07control\ufeff", "zerowidthandcontrol"),
        ("  many   blanks \u00a0 here  \n\n\n\n  end ", "many blanks here\n\n end"),
        ("a\ttable\tkeeps\ttabs", "a\ttable\tkeeps\ttabs"),
        ("donâ€™t mend what isnâ€™t broken", "don’t mend what isn’t broken"),
        ("naÃ¯ve cafÃ©", "naïve café"),
        ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "Привет"),
        ("Â is a letter and Ã too", "Â is a letter and Ã too"),
    ],
)
def test_examples(before: str, after: str) -> None:
    assert normalized(before) == after


def test_an_empty_text_is_removed() -> None:
    verdicts = Normalize().judge(pl.DataFrame({"text": [" \u200b\n", "x"]}))
    assert verdicts.reason.to_list() == ["empty_text", None]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_a_second_round_changes_nothing(text: str) -> None:
    once = normalized(text)
    assert normalized(once) == once and unicodedata.is_normalized("NFC", once)


def block(span: str) -> st.SearchStrategy[str]:
    """Characters of a script given as `first-last`."""
    first, last = span.split("-")
    return st.characters(min_codepoint=ord(first), max_codepoint=ord(last))


indic_library = pytest.mark.skipif(find_spec("indicnlp") is None, reason="indic-nlp-library is not installed")


@indic_library
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("\u0958\u0932\u092e", "\u0915\u093c\u0932\u092e"),  # Hindi: nukta, one spelling
        (
            "\u091f\u093f\u092a\u094d\u092a\u0923\u093f\u200d\u092f\u094b\u0902",
            "\u091f\u093f\u092a\u094d\u092a\u0923\u093f\u092f\u094b\u0902",
        ),
        ("\u09c7\u09d7 \u0995\u09f7", "\u09cc \u0995\u0964"),  # Bengali: vowel sign in two pieces, numerator for danda
        ("\u0c15\u0c46\u0c56\u0c64", "\u0c15\u0c48\u0964"),  # Telugu
        ("\u0d28\u0d4d\u200d", "\u0d7b"),  # Malayalam: chillu as written before Unicode 5.1
        ("\u0a05\u200d\u0a3e", "\u0a06"),  # Gurmukhi: only the second round joins these
    ],
)
def test_indic_words_get_one_spelling(before: str, after: str) -> None:
    assert normalized(before, indic=True) == unicodedata.normalize("NFC", after) != before


@indic_library
def test_indic_leaves_everything_else_alone() -> None:
    for text in [
        "\u201cplain\u201d | table \u2013 \u2026 English",
        "\u0909\u0938\u0928\u0947 \u0915\u0939\u093e: \u201c\u0939\u093e\u0901\u201d | \u2013",  # a colon is no visarga
        "\U0001f469\u200d\U0001f52c \u0645\u06cc\u200c\u0631\u0648\u062f \u0939\u0948",  # joiners of others
    ]:
        assert normalized(text, indic=True) == text


@indic_library
def test_indic_on_real_sentences(real_data: Path) -> None:
    rows = [json.loads(line) for line in gzip.open(real_data / "multilingual" / "langid_sentences.jsonl.gz")]
    frame = pl.DataFrame({"text": [row["text"] for row in rows], "lang": [row["meta"]["lang"] for row in rows]})
    plain = frame.with_columns(text=pl.coalesce(Normalize().judge(frame).text, "text"))
    edited = Normalize(indic=True).judge(plain).text
    assert edited is not None
    changed = plain.filter(edited.is_not_null())["lang"].to_list()
    assert changed and set(changed) <= {"hi", "mr", "te"}
    again = Normalize(indic=True).judge(plain.with_columns(text=pl.coalesce(edited, "text"))).text
    assert again is not None and again.null_count() == len(again)


@indic_library
@given(st.text(st.one_of(st.sampled_from("\u200c\u200d: |a\u0301\u200b"), *map(block, INDIC.values())), max_size=12))
def test_a_second_indic_round_changes_nothing(text: str) -> None:
    once = normalized(text, indic=True)
    assert normalized(once, indic=True) == once and unicodedata.is_normalized("NFC", once)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "indicnlp", None)  # what an import sees where the package is not there
    stage = Normalize(indic=True)
    stage._workspace = Workspace(Path(), [], [], False, "p.yaml: curate.stages[0].normalize")
    with pytest.raises(ValueError, match=r"normalize.indic: indic-nlp-library is not installed.*palimpsest\[indic\]"):
        stage.inputs()
    assert Normalize().inputs() == []
