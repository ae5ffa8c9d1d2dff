"""Packing loses nothing, cuts only what is longer than a row, and leaves little free space."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mix import pack as packing_module
from mix.pack import Packing, pack

LENGTHS = st.lists(st.one_of(st.integers(0, 40), st.integers(0, 400)), max_size=120)


def row_of_segments(packing: Packing) -> np.ndarray:
    return np.repeat(np.arange(packing.rows), np.diff(packing.row_offsets))


@settings(max_examples=200, deadline=None)
@given(LENGTHS, st.integers(8, 100))
def test_every_token_is_in_exactly_one_place(lengths: list[int], seq_len: int) -> None:
    packing = pack(np.array(lengths, np.int64), seq_len)
    seen = [np.zeros(length, int) for length in lengths]
    for document, start, length in zip(packing.documents, packing.starts, packing.lengths, strict=True):
        seen[document][start : start + length] += 1
    assert all((places == 1).all() for places in seen)
    filled = np.bincount(row_of_segments(packing), packing.lengths, packing.rows)
    assert (filled <= seq_len).all() and (filled > 0).all()


@settings(max_examples=200, deadline=None)
@given(LENGTHS, st.integers(8, 100))
def test_only_documents_longer_than_a_row_are_cut_and_only_at_rows(lengths: list[int], seq_len: int) -> None:
    packing = pack(np.array(lengths, np.int64), seq_len)
    pieces = np.bincount(packing.documents, minlength=len(lengths))
    assert pieces.tolist() == [-(-length // seq_len) for length in lengths]
    assert (packing.starts % seq_len == 0).all()


@settings(max_examples=200, deadline=None)
@given(LENGTHS, st.integers(8, 100))
def test_at_most_one_row_is_half_empty(lengths: list[int], seq_len: int) -> None:
    """Best fit opens a row only where a piece fits no other: two rows at most half full would have been one."""
    packing = pack(np.array(lengths, np.int64), seq_len)
    filled = np.bincount(row_of_segments(packing), packing.lengths, packing.rows)
    assert (2 * filled <= seq_len).sum() <= 1


def test_windows_do_not_share_rows(monkeypatch) -> None:
    monkeypatch.setattr(packing_module, "WINDOW", 10)
    packing = pack(np.full(95, 7, np.int64), 64)
    windows = packing.documents // 10
    for row in range(packing.rows):
        assert len(set(windows[packing.row_offsets[row] : packing.row_offsets[row + 1]])) == 1
    assert packing.rows == 9 * 2 + 1


def test_short_documents_fill_what_long_ones_leave() -> None:
    packing = pack(np.array([50, 30, 14, 34, 64, 70], np.int64), 64)
    filled = np.bincount(row_of_segments(packing), packing.lengths, packing.rows)
    assert sorted(filled.tolist()) == [6, 64, 64, 64, 64]


def test_no_documents_give_no_rows() -> None:
    assert pack(np.empty(0, np.int64), 64).rows == 0
    assert pack(np.zeros(3, np.int64), 64).rows == 0
