import json

from hypothesis import given
from hypothesis import strategies as st

from curate.exact_dedup import ExactDedup
from tests.curate.drive import parts_of, verdicts

TEXTS = st.lists(st.text("ab \n\té", max_size=6), max_size=30)


@given(TEXTS, st.integers(1, 9))
def test_the_first_of_equal_texts_is_kept(texts, rows):
    given_verdicts = verdicts(ExactDedup(), parts_of(texts, rows), None)
    seen = {}
    for number, (text, reason, evidence) in enumerate(zip(texts, *given_verdicts.get_columns(), strict=True)):
        folded = " ".join(text.split())
        if folded in seen:
            assert reason == "exact_duplicate"
            assert json.loads(evidence) == {"duplicate_of": f"notes/{seen[folded]}"}
        else:
            assert reason is None and evidence is None
            seen[folded] = number


def test_case_and_punctuation_count(tmp_path):
    texts = ["One text.", "one text.", "One text", "One  text.\n"]
    given_verdicts = verdicts(ExactDedup(), parts_of(texts), tmp_path)
    assert given_verdicts["reason"].to_list() == [None, None, None, "exact_duplicate"]
