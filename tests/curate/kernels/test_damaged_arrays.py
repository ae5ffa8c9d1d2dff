"""Files that kernels work on: damaged ones give a named error or a result, never a read past an array's end."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from curate import contamination_index, novelty
from curate.contamination_index import Index
from curate.kernels import contamination, kenlm_scores, language_scan
from curate.kernels.linear_text import LinearText

FUZZ = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ZEROS = {"MALLOC_MMAP_THRESHOLD_": "32"}
"""glibc: memory lies in pages of its own, which begin as zeros; curate/fasttext_train.py says why."""
TEXT = "the patient was given a dose of the new medicine and seen again after two weeks without pain or fever"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of two benchmark items on disk."""
    path = tmp_path_factory.mktemp("index") / "index.npz"
    leads, rests = [TEXT, "a second question about another thing that nobody has asked before today"], ["yes", "no"]
    contamination_index.build(leads, rests, [False, True], pl.Series(["some words of a background"]), 0.6).save(path)
    return path


def held(path: Path) -> list[Any]:
    """What the index finds in a text."""
    return list(contamination.scan(Index.load(path), pl.Series([TEXT, "nothing of it"])))


@FUZZ
@given(at=some.floats(0, 0.999), other=some.binary(max_size=5))
def test_a_damaged_index_is_refused(index: Path, tmp_path: Path, at: float, other: bytes) -> None:
    path = tmp_path / "index.npz"
    content = index.read_bytes()
    start = int(at * len(content))
    path.write_bytes(content[:start] + other + content[start + len(other) :] if other else content[:start])
    try:
        assert held(path) == held(index)
    except ValueError as error:
        assert type(error) is ValueError and "index.npz: is damaged" in str(error)


@FUZZ
@given(
    name=some.sampled_from(sorted(contamination_index.KINDS)),
    at=some.integers(0, 1 << 20),
    value=some.integers(-2, 1 << 20),
)
def test_an_index_of_other_values_is_refused_or_can_be_scanned(
    index: Path, tmp_path: Path, name: str, at: int, value: int
) -> None:
    made = Index.load(index)
    array = getattr(made, name).copy()
    if at % 5 == 0:
        array = array[: at % (len(array) + 1)]
    elif len(array):
        array[at % len(array)] = np.array(value).astype(array.dtype)
    path = tmp_path / "index.npz"
    replace(made, **{name: array}).save(path)
    try:
        held(path)
    except ValueError as error:
        assert type(error) is ValueError and "index.npz: is damaged" in str(error)


@pytest.mark.parametrize("change", ["keys", "weights", "full", "ngrams", "buckets", "pickle", "text"])
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, change: str) -> None:
    keys, weights = np.zeros(8, np.uint64), np.zeros(8, np.float32)
    arrays: dict[str, Any] = {"keys": keys, "weights": weights, "buckets": np.zeros(2, np.float32), "ngrams": [2]}
    path = tmp_path / "weights.npz"
    np.savez(path, **arrays)
    assert LinearText.load(path).probabilities(pl.Series([TEXT])).tolist() == [0.5]
    LinearText.load.cache_clear()
    others: dict[str, dict[str, Any]] = {
        "keys": {"keys": keys[:7], "weights": weights[:7]},
        "weights": {"weights": weights[:4]},
        "full": {"keys": np.arange(1, 9, dtype=np.uint64)},
        "ngrams": {"ngrams": [1 << 40]},
        "buckets": {"buckets": np.zeros(0, np.float32)},
        "pickle": {"keys": np.array([{}, {}], object)},
        "text": {},
    }
    np.savez(path, **arrays | others[change])
    if change == "text":
        path.write_text("no arrays")
    with pytest.raises(ValueError, match=r"weights\.npz: is damaged"):
        LinearText.load(path)


@pytest.mark.parametrize("table", [np.zeros(48, np.uint8), np.zeros((4, 4), np.uint8), np.zeros(16, np.int64), None])
def test_a_table_of_ngrams_that_cannot_be_masked_is_refused(tmp_path: Path, table: np.ndarray | None) -> None:
    path = tmp_path / "table.npy"
    np.save(path, np.array([{}], object) if table is None else table)
    with pytest.raises(ValueError, match=r"table\.npy: is damaged"):
        novelty.scores(path, pl.Series([TEXT]))


def probing(order: int = 2, multiplier: float = 1.5, counts: tuple[int, ...] = (2, 1), body: int = 0xFFFFFFFF) -> bytes:
    """The head of a probing model of KenLM, and tables of which every word is `body`."""
    fixed = np.zeros(1, kenlm_scores._FIXED)
    fixed["order"], fixed["multiplier"], fixed["type"] = order, multiplier, kenlm_scores._PROBING
    head = kenlm_scores._MAGIC.ljust(kenlm_scores._SANITY.itemsize, b"\0") + fixed.tobytes()
    return head + np.array(counts, "<u8").tobytes() + np.full(4096, body, "<u4").tobytes()


@pytest.mark.parametrize("body", [0xFFFFFFFF, 0, 1, 0x7FFFFFFF])
def test_a_language_model_of_any_bytes_is_scored_and_ends(tmp_path: Path, body: int) -> None:
    (tmp_path / "model.bin").write_bytes(probing(body=body))
    tables = kenlm_scores.read_tables(tmp_path / "model.bin")
    assert tables is not None
    assert kenlm_scores.line_scores(tables, pl.Series([TEXT, ""]), 5)["words"].to_list() == [len(TEXT.split()) + 1, 0]


@pytest.mark.parametrize(
    "wrong", [{"order": 0}, {"order": 1}, {"order": 255}, {"multiplier": np.nan}, {"counts": (1 << 62, 1)}]
)
def test_a_language_model_with_a_head_that_cannot_be_is_none(tmp_path: Path, wrong: dict[str, Any]) -> None:
    (tmp_path / "model.bin").write_bytes(probing(**wrong)[:1200])
    assert kenlm_scores.read_tables(tmp_path / "model.bin") is None


@pytest.fixture(scope="module")
def languages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small fastText model with a hierarchical softmax."""
    folder = tmp_path_factory.mktemp("languages")
    lines = [f"__label__{name} {word} {word}er" for name, word in (("a", "fever"), ("b", "garden"), ("c", "winter"))]
    (folder / "lines").write_text("\n".join(lines * 60) + "\n")
    train = (
        "import fasttext, sys; fasttext.train_supervised(sys.argv[1], loss='hs', dim=4, minn=2, maxn=3, bucket=64, "
        "lr=0.5, thread=1, verbose=0).save_model(sys.argv[2])"
    )
    command = [sys.executable, "-c", train, str(folder / "lines"), str(folder / "languages.bin")]
    subprocess.run(command, env=os.environ | ZEROS, check=True)
    return folder / "languages.bin"


@settings(FUZZ, max_examples=200)
@given(at=some.floats(0, 0.999) | some.floats(0, 0.1), other=some.binary(max_size=4))
def test_a_damaged_fasttext_model_is_refused_or_can_be_asked(
    languages: Path, tmp_path: Path, at: float, other: bytes
) -> None:
    content = languages.read_bytes()
    start = int(at * len(content))
    path = tmp_path / "languages.bin"
    path.write_bytes(content[:start] + other + content[start + len(other) :] if other else content[:start])
    language_scan.read_model.cache_clear()
    try:
        model = language_scan.read_model(str(path))
    except ValueError as error:
        assert type(error) is ValueError and "languages.bin: is no whole fastText model" in str(error)
    else:
        assert model is None or len(model.best(pl.Series([TEXT]))[0]) == 1
