"""What new rows are made of: weights of base tokens, by method."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenization.new_rows import Method, Parents, combinations

BASE = 10


@st.composite
def vocabularies(draw: st.DrawFn) -> Parents:
    """New tokens with two or more parents each, any of which may be new."""
    parents: dict[int, tuple[int, ...]] = {}
    for index in range(BASE, BASE + draw(st.integers(1, 12))):
        parents[index] = tuple(draw(st.lists(st.integers(0, index - 1), min_size=2, max_size=4)))
    return parents


def pieces(parents: Parents, index: int) -> list[int]:
    """The base tokens a new token takes the place of, in order."""
    return [base for part in parents[index] for base in pieces(parents, part)] if index in parents else [index]


@given(vocabularies())
def test_first_and_last_are_the_ends_of_the_base_tokens(parents: Parents) -> None:
    for method, end in (("first", 0), ("last", -1)):
        found = combinations(parents, method)  # type: ignore[arg-type]
        for index in parents:
            ids, weights = found[index]
            assert ids.tolist() == [pieces(parents, index)[end]] and weights.tolist() == [1.0]


@given(vocabularies())
def test_the_mean_is_that_of_the_parents_rows(parents: Parents) -> None:
    rows = {index: Fraction(index * index + 1) for index in range(BASE)}
    for index in sorted(parents):
        rows[index] = sum((rows[one] for one in parents[index]), Fraction()) / len(parents[index])
    for index, (ids, weights) in combinations(parents, "mean").items():
        assert set(ids.tolist()) == set(pieces(parents, index))
        assert weights.sum() == pytest.approx(1)
        made = sum(weight * float(rows[base]) for base, weight in zip(ids.tolist(), weights.tolist(), strict=True))
        assert made == pytest.approx(float(rows[index]))


@pytest.mark.parametrize("method", ["mean", "first", "last"])
def test_no_new_tokens_no_rows(method: Method) -> None:
    assert combinations({}, method) == {}
