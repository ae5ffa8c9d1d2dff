import json
import random

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from curate.kernels.minhash import shingles, signatures
from curate.kernels.near_duplicates import Earlier, band_keys, find_duplicates
from curate.near_dedup import NearDedup, found
from tests.curate.corpus import sentences
from tests.curate.drive import parts_of, verdicts
from tests.curate.kernels.test_minhash import edited, jaccard


@pytest.fixture(scope="module")
def planted():
    """Texts of which a third are edited copies of an earlier one, and of which one."""
    draw = random.Random(0)
    texts, of = [], []
    for number in range(600):
        if number > 20 and number % 3 == 0:
            source = draw.choice([k for k in range(number) if of[k] is None])
            texts.append(edited(texts[source], draw.choice([0.002, 0.01, 0.02]), number))
            of.append(source)
        else:
            texts.append(sentences(number, 25))
            of.append(None)
    return texts, of


def test_planted_copies_go_and_the_ledger_says_whose(planted, tmp_path):
    texts, of = planted
    given = verdicts(NearDedup(), parts_of(texts), tmp_path)
    similar = [k for k, source in enumerate(of) if source is not None and jaccard(texts[k], texts[source]) >= 0.8]
    assert len(similar) > 100
    assert given["reason"].gather(similar).eq("near_duplicate").mean() >= 0.99
    for number, (reason, evidence) in enumerate(given.rows()):
        if reason is None:
            assert evidence is None
            continue
        evidence = json.loads(evidence)
        kept = int(evidence["duplicate_of"].removeprefix("notes/"))
        assert kept < number and given["reason"][kept] is None
        assert evidence["similarity"] >= 0.72
        assert jaccard(texts[number], texts[kept]) > 0.6


def test_case_punctuation_and_numbers_do_not_hide_a_copy(tmp_path):
    text = sentences(1, 20) + " Seen on 12 May, dose 5 mg."
    other = text.upper().replace("12 MAY", "7 MAY").replace(".", " !")
    given = verdicts(NearDedup(), parts_of([text, other]), tmp_path)
    assert given["reason"].to_list() == [None, "near_duplicate"]


def test_documents_without_words_are_kept(tmp_path):
    given = verdicts(NearDedup(), parts_of(["", "...", "", "— —"]), tmp_path)
    assert given["reason"].null_count() == 4


def test_how_documents_are_cut_into_parts_changes_nothing(planted, tmp_path):
    texts, _ = planted
    one = verdicts(NearDedup(), parts_of(texts), tmp_path)
    assert one.equals(verdicts(NearDedup(), parts_of(texts, rows=7), tmp_path))


def test_kept_documents_of_earlier_blocks_stand_for_the_blocks(planted):
    rows = signatures(pl.Series(planted[0]))
    of, agreement = find_duplicates(rows, 14, 8, 82)
    for cut in (1, 100, 300, 599):
        first_of, _ = find_duplicates(rows[:cut], 14, 8, 82)
        assert np.array_equal(of[:cut], first_of)
        kept = np.flatnonzero(first_of < 0)
        earlier = [Earlier(band_keys(some, 14, 8), lambda some=some: some) for some in np.array_split(rows[kept], 3)]
        later, later_agreement = find_duplicates(rows[cut:], 14, 8, 82, earlier)
        numbers = np.concatenate([kept, np.arange(cut, len(rows))])
        assert np.array_equal(np.where(later < 0, -1, numbers[later]), of[cut:])
        assert np.array_equal(later_agreement, agreement[cut:])


def test_decisions_are_those_of_comparing_every_pair_with_a_common_band():
    draw = np.random.default_rng(3)
    families = draw.integers(0, 2**32 - 1, (30, 112), dtype=np.uint32)
    rows = families[draw.integers(0, 30, 600)]
    rows = np.where(draw.random(rows.shape) < 0.85, rows, draw.integers(0, 2**32 - 1, rows.shape, dtype=np.uint32))
    expected: list[int] = []
    for number, row in enumerate(rows):
        same = rows[:number] == row
        alike = same.reshape(number, 14, 8).all(axis=2).any(axis=1) & (same.sum(axis=1) >= 82)
        kept = [other for other in np.flatnonzero(alike) if expected[other] < 0]
        expected.append(kept[0] if kept else -1)
    assert 200 < sum(one >= 0 for one in expected) < 570
    assert find_duplicates(rows, 14, 8, 82)[0].tolist() == expected


def test_every_kept_member_of_a_bucket_is_compared():
    draw = np.random.default_rng(0)
    rows = draw.integers(0, 2**32 - 1, (40, 112), dtype=np.uint32)
    rows[:, :8] = rows[0, :8]  # all in one bucket, otherwise unlike
    last = rows[23].copy()
    last[8:12] += 1
    of, agreement = find_duplicates(np.vstack([rows, last]), 14, 8, 82)
    assert of.tolist() == [-1] * 40 + [23]
    assert agreement[-1] == 108


def test_agreement_without_a_common_band_is_not_compared():
    draw = np.random.default_rng(1)
    row = draw.integers(0, 2**32 - 1, 112, dtype=np.uint32)
    other = row.copy()
    other[::8] += 1
    assert find_duplicates(np.stack([row, other]), 14, 8, 82)[0].tolist() == [-1, -1]
    other[0] -= 1
    assert find_duplicates(np.stack([row, other]), 14, 8, 82)[0].tolist() == [-1, 0]


def test_pairs_are_found_as_often_as_the_formula_says():
    draw = np.random.default_rng(2)
    for share in (0.6, 0.7, 0.8):
        one = draw.integers(0, 2**32 - 1, (2000, 112), dtype=np.uint32)
        other = np.where(draw.random((2000, 112)) < share, one, one + np.uint32(1))
        of, _ = find_duplicates(np.concatenate([one, other]), 14, 8, agree=1)
        assert abs((of[2000:] >= 0).mean() - found(share, 14, 8)) < 0.04


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"threshold": 1.3}, "1.3 is not between 0 and 1, so nothing would ever match"),
        ({"threshold": 0}, "is not between 0 and 1, so everything would match"),
        ({"verify": -0.1}, "is not between 0 and 1"),
        ({"threshold": 0.5}, "only 5% of the pairs at threshold: 0.5 would be compared"),
        ({"memory_mb": 0}, "greater than or equal to 1"),
        ({"bands": 0}, "greater than or equal to 1"),
        ({"similarity": 0.8}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_keys_are_refused(keys, message):
    with pytest.raises(ValidationError, match=message):
        NearDedup(**keys)


def test_verify_is_two_standard_errors_below_threshold_or_as_given():
    assert NearDedup().agree == 82
    assert NearDedup(verify=0.5).agree == 56
    assert NearDedup(threshold=1.0).agree == 112


def test_real_text_with_planted_copies(real_data, tmp_path):
    frame = pl.read_ndjson(real_data / "domain" / "clinical_notes.jsonl.gz", schema={"text": pl.String})
    texts = frame["text"].unique(maintain_order=True).to_list()
    copies = [edited(text, 0.01, number) for number, text in enumerate(texts[:400])]
    given = verdicts(NearDedup(), parts_of(texts + copies), tmp_path)
    similar = [k for k in range(400) if len(shingles(texts[k])) > 20 and jaccard(texts[k], copies[k]) >= 0.8]
    assert len(similar) > 250
    assert given["reason"][len(texts) :].gather(similar).is_not_null().mean() >= 0.99
    assert given["reason"][: len(texts)].is_not_null().mean() < 0.15
