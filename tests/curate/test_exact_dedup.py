import json
import struct

import numpy as np
import polars as pl
import xxhash
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.exact_dedup import ExactDedup
from curate.kernels.text_hashes import LEAST, first_rows, text_hashes
from tests.curate.corpus import sentences
from tests.curate.drive import parts_of, verdicts

TEXTS = st.lists(st.text("ab \n\té", max_size=6), max_size=30)
PIECES = st.sampled_from(
    ["a", "é", "漢字", " ", "\n", "\t \v\f\r", "\0", " " * 70, "words of some length " * 9, "\u3000"]
)


def folded(text):
    return b" ".join(text.encode().split())  # bytes are split at ASCII white space alone


@given(TEXTS, st.integers(1, 9))
@settings(deadline=None)
def test_the_first_of_equal_texts_is_kept(texts, rows):
    given_verdicts = verdicts(ExactDedup(), parts_of(texts, rows), None)
    seen = {}
    for number, (text, reason, evidence) in enumerate(zip(texts, *given_verdicts.get_columns(), strict=True)):
        folded_text = folded(text)
        if folded_text in seen:
            assert reason == "exact_duplicate"
            assert json.loads(evidence) == {"duplicate_of": f"notes/{seen[folded_text]}"}
        else:
            assert reason is None and evidence is None
            seen[folded_text] = number


def test_case_and_punctuation_count(tmp_path):
    texts = ["One text.", "one text.", "One text", "One  text.\n"]
    given_verdicts = verdicts(ExactDedup(), parts_of(texts), tmp_path)
    assert given_verdicts["reason"].to_list() == [None, None, None, "exact_duplicate"]


@given(st.lists(st.lists(PIECES, max_size=40).map("".join), max_size=12), st.integers(0, 3))
@example([" " * size + "x" * 60 + " " * size for size in range(70)], 0)
@settings(max_examples=200, deadline=None)
def test_the_hash_is_xxh3_of_the_folded_text_and_its_length(texts, first):
    hashes = text_hashes(pl.Series(texts, dtype=pl.String)[first:])
    for text, (low, high) in zip(texts[first:], hashes.tolist(), strict=True):
        data = folded(text)
        data = data.ljust(LEAST, b"\0") + struct.pack("<Q", len(data))
        assert high << 64 | low == xxhash.xxh3_128_intdigest(data)


def test_a_null_counts_as_an_empty_text():
    assert np.array_equal(*text_hashes(pl.Series(["", None])))


def test_text_changed_in_one_character_anywhere_is_another():
    text = sentences(1, 30)
    others = [text[:place] + "#" + text[place + 1 :] for place in range(len(text))]
    hashes = text_hashes(pl.Series([text, *others]))
    assert len(np.unique(hashes[:, 0])) == len(np.unique(hashes[:, 1])) == len(others) + 1
    flipped = np.unpackbits((hashes[1:] ^ hashes[0]).view(np.uint8), axis=1).mean(axis=1)
    assert flipped.min() > 0.3 and abs(flipped.mean() - 0.5) < 0.01


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=60))
@settings(deadline=None)
def test_first_rows_need_both_halves_to_agree(rows):
    first = first_rows(np.array(rows, np.uint64).reshape(-1, 2))
    assert first.tolist() == [rows.index(row) for row in rows]


def test_a_long_document_and_its_copy(tmp_path):
    text = "word after word, é and 漢 " * 100_000
    given_verdicts = verdicts(ExactDedup(), parts_of([text, text + ".", "\n" + text.replace(" ", "\n")]), tmp_path)
    assert given_verdicts["reason"].to_list() == [None, None, "exact_duplicate"]
