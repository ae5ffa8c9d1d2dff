"""A tokenizer from scratch: small, lossless, the same every time."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tokenization.train import SMALLEST, train

TEXTS = [f"The {noun} number {k} sat on mat {k * 37}.\n" for k in range(300) for noun in ("cat", "dog", "bird")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("train") / "tokenizer"
    assert train(TEXTS, 330, path)["vocabulary"] == 330
    return path


def test_special_tokens_and_size(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert (tokenizer.token_to_id("<s>"), tokenizer.token_to_id("</s>")) == (0, 1)
    assert tokenizer.get_vocab_size() == 330
    assert json.loads((folder / "tokenizer.json").read_text())["post_processor"] is None


def test_the_same_text_gives_the_same_file(folder: Path, tmp_path: Path) -> None:
    train(iter(TEXTS), 330, tmp_path / "again")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_round_trips(folder: Path, text: str) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_transformers_and_gigatoken_read_it(folder: Path) -> None:
    import gigatoken
    from transformers import AutoTokenizer

    expected = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXTS[7]).ids
    loaded = AutoTokenizer.from_pretrained(str(folder))
    assert loaded(TEXTS[7])["input_ids"] == expected
    assert (loaded.bos_token, loaded.eos_token) == ("<s>", "</s>")
    assert gigatoken.Tokenizer(str(folder / "tokenizer.json")).encode(TEXTS[7]).tolist() == expected


def test_little_text_gives_fewer_tokens(tmp_path: Path) -> None:
    assert SMALLEST <= train(["one two"], 5000, tmp_path / "few")["vocabulary"] < 300


def test_a_vocabulary_below_the_bytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tokenizer.train: 100 is less than 258"):
        train(TEXTS, 100, tmp_path / "small")
    assert not (tmp_path / "small").exists()
