"""The interval of a change: what it covers, and what counts as no change."""

import numpy as np
import pytest

from eval import statistics
from eval.statistics import change_in_ratio


def sizes_and_bits(documents: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    sizes = random.integers(100, 5000, documents)
    return sizes, sizes * random.normal(2.5, 0.4, documents)


def test_the_same_model_is_no_change() -> None:
    sizes, bits = sizes_and_bits(50, 0)
    found = change_in_ratio(bits, sizes, bits, sizes)
    assert (found.change, found.low, found.high, found.verdict) == (0, 0, 0, "no change")


def test_a_shared_shift_is_found_where_documents_differ_far_more() -> None:
    sizes, bits = sizes_and_bits(200, 1)
    noise = np.random.default_rng(2).normal(0, 0.01, 200) * sizes
    found = change_in_ratio(bits, sizes, bits - 0.05 * sizes + noise, sizes)
    assert found.low is not None and found.high is not None
    assert found.verdict == "better" and found.low < found.change < found.high < 0
    assert found.change == pytest.approx(-0.05, abs=0.005)
    assert found.high - found.low < 0.02, "pairing must cancel what makes documents hard"
    assert change_in_ratio(bits - 0.05 * sizes, sizes, bits, sizes).verdict == "worse"


def test_the_interval_covers_the_truth_about_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 400)
    random = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        sizes = random.integers(500, 1500, 60)
        bits = random.normal(2.5, 0.4, 60) * sizes
        found = change_in_ratio(bits, sizes, bits + random.normal(0.02, 0.1, 60) * sizes, sizes, seed=trial)
        assert found.low is not None and found.high is not None
        covered += found.low <= 0.02 <= found.high
    assert 0.89 <= covered / 200 <= 0.99


def test_each_model_is_divided_by_its_own_bytes() -> None:
    ones = np.ones(10)
    found = change_in_ratio(10 * ones, 5 * ones, 9 * ones, 4 * ones)
    assert found.change == pytest.approx(9 / 4 - 2) and found.percent == pytest.approx(12.5)


def test_the_seed_decides_the_resamples() -> None:
    sizes, bits = sizes_and_bits(100, 4)
    other = bits * np.random.default_rng(5).normal(1, 0.05, 100)
    first = change_in_ratio(bits, sizes, other, sizes)
    assert first == change_in_ratio(bits, sizes, other, sizes)
    assert first != change_in_ratio(bits, sizes, other, sizes, seed=1)


def test_too_few_documents_give_no_interval() -> None:
    sizes, bits = sizes_and_bits(statistics.MIN_DOCUMENTS - 1, 6)
    found = change_in_ratio(bits, sizes, bits * 0.5, sizes)
    assert (found.low, found.high, found.verdict) == (None, None, "too few documents")
