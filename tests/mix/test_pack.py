"""Packing loses nothing, leaves a thousandth free at most, and cuts documents only where that needs it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mix import pack as packing_module
from mix.pack import METHODS, Packing, by_document, pack

LENGTHS = st.lists(st.one_of(st.integers(0, 40), st.integers(0, 400)), max_size=120)


def filled(packing: Packing) -> np.ndarray:
    """Tokens in each row."""
    row = np.repeat(np.arange(packing.rows), np.diff(packing.row_offsets))
    return np.bincount(row, packing.lengths, packing.rows).astype(int)


def pieces(packing: Packing, documents: int) -> np.ndarray:
    return np.bincount(packing.documents, minlength=documents)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=200, deadline=None)
@given(LENGTHS, st.integers(8, 100))
def test_every_token_is_in_exactly_one_place(method: str, lengths: list[int], seq_len: int) -> None:
    packing = pack(np.array(lengths, np.int64), seq_len, method)
    seen = [np.zeros(length, int) for length in lengths]
    for document, start, length in zip(packing.documents, packing.starts, packing.lengths, strict=True):
        seen[document][start : start + length] += 1
    assert all((places == 1).all() for places in seen)
    assert (filled(packing) <= seq_len).all() and (filled(packing) > 0).all()
    assert packing.cut == (pieces(packing, len(lengths)) > 1).sum()
    assert by_document(packing.documents, packing.starts, packing.lengths, np.array(lengths, np.int64))[2] == -1


@settings(max_examples=200, deadline=None)
@given(LENGTHS, st.integers(8, 100), st.integers(1, 50), st.integers(2, 30))
def test_padding_is_at_most_its_share_and_a_row(lengths: list[int], seq_len: int, window: int, padding: int) -> None:
    """Of any lengths, in any number of windows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing_module, "WINDOW", window)
        patch.setattr(packing_module, "PADDING", padding)
        packing = pack(np.array(lengths, np.int64), seq_len)
    free = packing.rows * seq_len - sum(lengths)
    assert free * padding < packing.rows * seq_len + seq_len * padding


@settings(max_examples=200, deadline=None)
@given(LENGTHS, st.integers(8, 100))
def test_documents_are_cut_at_rows_where_the_padding_allows_it(lengths: list[int], seq_len: int) -> None:
    """With half the places allowed to be free, best fit never has to cut a document that fits a row."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing_module, "PADDING", 2)
        packing = pack(np.array([*lengths, seq_len], np.int64), seq_len)
    limit = max(-(-(sum(lengths) + seq_len) // seq_len), (sum(lengths) + seq_len) * 2 // seq_len)
    assert packing.rows <= limit
    if packing.rows < limit:
        assert pieces(packing, len(lengths)).tolist()[:-1] == [-(-length // seq_len) for length in lengths]
        assert (packing.starts % seq_len == 0).all() and (2 * filled(packing) <= seq_len).sum() <= 1


def test_documents_that_do_not_fit_together_are_cut_to_fill_rows() -> None:
    """Abstracts a little longer than half a row: one a row would leave 40 % free."""
    packing = pack(np.full(10_000, 300, np.int64), 512)
    assert packing.rows == 10_000 * 300 * 1000 // (512 * 999)
    assert packing.cut < 10_000 * 0.75
    assert (filled(packing) == 512).mean() > 0.98


def test_documents_that_are_cut_anyway_are_cut_again_before_others() -> None:
    """Documents of 20 tokens fill what those of 40 leave of 64; only remainders of 30 are cut into what is left."""
    lengths = np.array([64 + 30] * 100 + [40] * 200 + [20] * 200, np.int64)
    packing = pack(lengths, 64)
    assert packing.rows == -(-int(lengths.sum()) // 64)
    assert pieces(packing, 500)[100:].max() == 1 and pieces(packing, 500)[:100].max() > 2


def test_windows_do_not_share_rows_and_have_a_thousand_of_them(monkeypatch) -> None:
    monkeypatch.setattr(packing_module, "WINDOW", 10)
    monkeypatch.setattr(packing_module, "PADDING", 3)
    lengths = np.full(95, 7, np.int64)  # 28 documents are the first to have 3 rows of text
    packing = pack(lengths, 64)
    for row in range(packing.rows):
        mine = packing.documents[packing.row_offsets[row] : packing.row_offsets[row + 1]]
        assert len(set(mine // 28)) == 1


def test_the_rows_are_those_of_best_fit_one_piece_at_a_time() -> None:
    """The kernel keeps a row in hand for pieces of one size; the plain definition gives the same rows."""
    lengths = np.random.default_rng(1).lognormal(3, 0.8, 3000).clip(2, 128).astype(np.int64)
    free: list[int] = []
    for size in sorted(lengths, reverse=True):
        fits = [space for space in free if space >= size]
        free.append(min(fits) if fits else 128)
        if fits:
            free.remove(min(fits))
        free[-1] -= size
    packing = pack(lengths, 128)
    assert packing.cut == 0 and sorted(128 - filled(packing)) == sorted(free)


def test_concatenated_only_the_last_row_has_padding() -> None:
    lengths = np.array([50, 0, 30, 14, 34, 64, 200], np.int64)
    packing = pack(lengths, 64, "concat")
    assert filled(packing).tolist() == [64] * 6 + [8]
    assert packing.documents.tolist() == sorted(packing.documents) and packing.cut == 2


@pytest.mark.parametrize("method", METHODS)
def test_no_documents_give_no_rows(method: str) -> None:
    assert pack(np.empty(0, np.int64), 64, method).rows == 0
    assert pack(np.zeros(3, np.int64), 64, method).rows == 0


def test_segments_that_do_not_cover_a_document_once_are_found() -> None:
    packing = pack(np.array([150, 20, 0, 64], np.int64), 64)
    arrays = packing.documents, packing.starts, packing.lengths
    tokens = np.array([150, 20, 0, 64], np.int64)
    for segment in range(len(packing.documents)):
        document = int(packing.documents[segment])
        missing = [np.delete(array, segment) for array in arrays]
        twice = [np.append(array, array[segment]) for array in arrays]
        shifted = (packing.documents, packing.starts + (np.arange(len(packing.starts)) == segment), packing.lengths)
        for wrong in (missing, twice, shifted):
            assert by_document(wrong[0], wrong[1], wrong[2], tokens)[2] == document
    assert by_document(packing.documents, packing.starts, packing.lengths, tokens + np.array([0, 0, 1, 0]))[2] == 2
