"""normalize: what changes, what stays, and that it settles after one round."""

import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.normalize import Normalize


def normalized(text: str) -> str:
    verdicts = Normalize().judge(pl.DataFrame({"text": [text]}))
    assert verdicts.text is not None
    return text if verdicts.text[0] is None else verdicts.text[0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("plain text\nstays as it is", "plain text\nstays as it is"),
        ("line\r\nends\rdiffer", "line\nends\ndiffer"),
        ("caf\u0065\u0301", "caf\u00e9"),
        ("zero\u200bwidth\x00and\x07control\ufeff", "zerowidthandcontrol"),
        ("  many   blanks \u00a0 here  \n\n\n\n  end ", "many blanks here\n\n end"),
        ("a\ttable\tkeeps\ttabs", "a\ttable\tkeeps\ttabs"),
        ("donâ€™t mend what isnâ€™t broken", "don’t mend what isn’t broken"),
        ("naÃ¯ve cafÃ©", "naïve café"),
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
