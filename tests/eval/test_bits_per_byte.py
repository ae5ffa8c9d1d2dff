"""Bits per byte: against a computation token by token, and whatever the number of ranks."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from eval import held_out, hugging_face
from tests.eval import small_run


def naive_bits_per_byte(folder: Path, texts: list[str], seq_len: int, bos: bool) -> float:
    """One forward pass of one token more at a time, straight from the definition."""
    model, tokenizer = hugging_face.load(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    bits = 0.0
    counted = 0
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        tokens = [tokenizer.token_to_id("<s>"), *ids] if bos else ids
        counted += len(text.encode()) - (0 if bos else len(tokenizer.id_to_token(ids[0]) or ""))
        for place in range(1, len(tokens)):
            window = (place - 1) // seq_len * seq_len
            with torch.no_grad():
                logits = model(torch.tensor([tokens[window:place]])).logits[0, -1].double()
            bits -= torch.log_softmax(logits, 0)[tokens[place]].item() / math.log(2)
    return bits / counted


@pytest.mark.parametrize("bos", [True, False])
def test_equals_a_naive_computation_per_token(run: Path, tmp_path: Path, bos: bool) -> None:
    folder = small_run.make_model(tmp_path / "model", seed=3, bos=bos)
    documents = held_out.read(run, documents=2, characters=120)
    windows = held_out.build(documents, folder, seq_len=16)
    measured = held_out.bits_per_byte(windows, hugging_face.nll(hugging_face.load(folder)), batch=3)
    for pool in ("domain", "general"):
        texts = documents.filter(pool=pool)["text"].to_list()
        expected = naive_bits_per_byte(folder, texts, 16, bos)
        assert measured[f"{pool}_bits_per_byte"] == pytest.approx(expected, rel=1e-5)


def test_large_vocabularies_are_scored_in_slices(
    run: Path, models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = models_folder / "base"
    windows = held_out.load(run, folder, seq_len=32)
    whole = held_out.window_nats(windows, hugging_face.nll(hugging_face.load(folder)))
    monkeypatch.setattr(hugging_face, "LOGITS_AT_ONCE", 320 * 7)
    sliced = held_out.window_nats(windows, hugging_face.nll(hugging_face.load(folder)))
    np.testing.assert_allclose(sliced, whole, rtol=1e-5)


def toy_nll(inputs: np.ndarray, positions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Depends on every array and on the shape of the batch, as a real model's rounding does."""
    assert inputs.shape == positions.shape == labels.shape
    predicted = labels != held_out.IGNORED
    values = np.sin(inputs * 1.7 + positions * 0.3 + labels) + 1.1
    return np.where(predicted, values, 0).sum(axis=1) * (1 + 1e-7 * inputs.size)


@settings(max_examples=30, deadline=None)
@given(world=st.integers(1, 9), batch=st.integers(1, 11))
def test_result_does_not_depend_on_world_size(shared_windows: held_out.Windows, world: int, batch: int) -> None:
    alone = held_out.bits_per_byte(shared_windows, toy_nll, batch)
    calls = [0] * world
    parts: list[np.ndarray] = []
    for rank in range(world):

        def counted(*arrays: np.ndarray, rank: int = rank) -> np.ndarray:
            calls[rank] += 1
            return toy_nll(*arrays)

        def add_up(sums: np.ndarray) -> np.ndarray:
            parts.append(sums)
            return sums

        held_out.window_nats(shared_windows, counted, batch, rank, world, add_up)
    together = held_out.bits_per_byte(shared_windows, toy_nll, batch, 0, world, lambda _: np.sum(parts, axis=0))
    assert together == alone
    assert len(set(calls)) == 1, "every rank must take part in every collective"


@pytest.fixture(scope="module")
def shared_windows(tmp_path_factory: pytest.TempPathFactory) -> held_out.Windows:
    root = tmp_path_factory.mktemp("windows")
    for pool, source in (("domain", "notes"), ("replay", "books")):
        small_run.write_documents(root, "held_out", pool, source, small_run.documents(pool, source, 9, 0))
    return held_out.load(root, small_run.make_tokenizer(root / "tokenizer"), seq_len=16)


def test_windows_hold_every_token_once(shared_windows: held_out.Windows) -> None:
    windows = shared_windows
    predicted = windows.labels != held_out.IGNORED
    assert (predicted.sum(axis=1) == windows.lengths).all()
    assert (np.bincount(windows.document, weights=windows.lengths) == windows.documents["tokens"].to_numpy()).all()
    assert (np.diff(windows.lengths) <= 0).all()
    inside = predicted[:, :-1] & predicted[:, 1:]
    assert (windows.labels[:, :-1][inside] == windows.inputs[:, 1:][inside]).all()
    assert (windows.positions == np.arange(16)).all()


def test_first_documents_are_the_same_ones_and_from_all_sources(run: Path) -> None:
    few, all_of_them = held_out.read(run, 8), held_out.read(run)
    assert all_of_them.height == 36
    for pool in ("domain", "general"):
        assert few.filter(pool=pool)["id"].to_list() == all_of_them.filter(pool=pool)["id"].to_list()[:8]
    assert few.filter(pool="domain")["source"].n_unique() == 2


def test_beginnings_of_documents_count_only_their_own_bytes(run: Path, tmp_path: Path) -> None:
    windows = held_out.load(run, small_run.make_tokenizer(tmp_path / "tokenizer"), 64, characters=30)
    texts = held_out.read(run)["text"].to_list()
    assert windows.documents["bytes"].to_list() == [len(text[:30].encode()) for text in texts]


def test_text_that_looks_like_a_special_token_is_text(tmp_path: Path) -> None:
    folder = small_run.make_tokenizer(tmp_path)
    documents = pl.DataFrame({"id": ["a"], "text": ["</s> and <s>"], "pool": ["domain"], "source": ["x"]})
    windows = held_out.build(documents, folder, 64)
    assert windows.inputs[0, 0] == 0
    assert not np.isin(windows.labels[windows.labels >= 0], [0, 1]).any()
    assert windows.documents["bytes"].item() == 12


def test_a_document_of_one_token_without_bos_predicts_nothing(tmp_path: Path) -> None:
    folder = small_run.make_tokenizer(tmp_path, bos=False)
    both = {"id": ["a", "b"], "text": ["f", "fe\u0301ver"], "pool": ["domain"] * 2, "source": ["x"] * 2}
    documents = pl.DataFrame(both)
    windows = held_out.build(documents, folder, 8)
    assert windows.documents["tokens"][0] == windows.documents["bytes"][0] == 0
    assert set(windows.document) == {1}


def test_a_pool_without_held_out_documents_is_an_error(tmp_path: Path) -> None:
    small_run.write_documents(tmp_path, "held_out", "domain", "notes", small_run.documents("domain", "notes", 3, 0))
    with pytest.raises(ValueError, match=r"held_out.replay: there are no held-out documents.*eval\.held_out"):
        held_out.read(tmp_path)


def test_a_diverged_model_is_an_error_that_names_the_document(shared_windows: held_out.Windows) -> None:
    with pytest.raises(ValueError, match=r"notes/\d+.*not a finite number.*peak_lr"):
        held_out.bits_per_byte(shared_windows, lambda inputs, *_: np.full(len(inputs), np.nan))


def test_held_out_does_not_import_torch() -> None:
    code = "import sys, eval.held_out; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(held_out.__file__).parents[1])
