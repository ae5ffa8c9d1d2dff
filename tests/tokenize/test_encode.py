"""Text becomes the ids that tokenizers gives for plain text, whichever library does it."""

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers

from tokenization import encode as encode_module
from tokenization.encode import Encoder, load, special_ids, tokenizer_identity
from tokenization.fast import PIECE, PIECES, encode_fast, sample

TEXT = ["the patient was seen again after two weeks of fever and pain", "a dose of the medicine was given"] * 20
DANGEROUS = ["a</s>b", "</s>", "<s> the <s>", "<pad>text", "the</s></s>patient", "< /s>", "<tool>x"]


def make(folder: Path, model: str = "bytes", config: dict[str, object] | None = None) -> Path:
    """A tokenizer with <s>, </s> and <pad>: byte-level BPE, BPE without all bytes, or Unigram."""
    special = ["<s>", "</s>", "<pad>"]
    tokenizer = Tokenizer(models.Unigram() if model == "unigram" else models.BPE())
    trainer: trainers.Trainer
    if model == "unigram":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=80, special_tokens=["<unk>", *special], unk_token="<unk>", show_progress=False
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet()) if model == "bytes" else []
        trainer = trainers.BpeTrainer(
            vocab_size=330, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
    tokenizer.train_from_iterator(TEXT + ["<tool>"], trainer)
    tokenizer.add_tokens([AddedToken("<tool>", special=False)])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<s>", "eos_token": {"content": "</s>"}} if config is None else config
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return Encoder(folder)


def plain_ids(folder: Path, texts: list[str]) -> list[list[int]]:
    tokenizer = load(folder)
    tokenizer.encode_special_tokens = True
    return [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]


def split(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    encoded = encoder.encode(pl.Series(texts, dtype=pl.String))
    ends = np.cumsum(encoded.lengths)
    return [encoded.ids[end - length : end].tolist() for end, length in zip(ends, encoded.lengths, strict=True)]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.one_of(st.text(), st.sampled_from([*TEXT, *DANGEROUS])), max_size=8))
def test_ids_are_bos_then_those_of_tokenizers_then_eos(folder: Path, encoder: Encoder, texts: list[str]) -> None:
    bos, eos = special_ids(folder)
    assert split(encoder, texts) == [[bos, *ids, eos] for ids in plain_ids(folder, texts)]


@pytest.mark.parametrize("model", ["bytes", "letters", "unigram"])
def test_text_never_becomes_a_special_token(tmp_path: Path, model: str) -> None:
    folder = make(tmp_path, model)
    encoder = Encoder(folder)
    tokenizer = load(folder)
    special = {tokenizer.token_to_id(token) for token in ("<s>", "</s>", "<pad>")}
    for ids in split(encoder, DANGEROUS):
        assert not special & set(ids[1:-1])
    assert tokenizer.token_to_id("<tool>") in split(encoder, DANGEROUS)[-1], "a token that is not special stays"


def test_both_libraries_give_the_same_ids(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [
        *TEXT,
        *DANGEROUS,
        "",
        "\x00",
        "é ü e\u0301 漢字 🙂 \x00 \u200b\ufffe",
        "x" * 50_000,
        " " * 50_000,
        "y z" * 99_999,
    ]
    fast = Encoder(folder).encode(pl.Series(texts))
    monkeypatch.setattr(encode_module, "open_gigatoken", lambda definition: (None, "told not to"))
    slow = Encoder(folder).encode(pl.Series(texts))
    assert fast.path.startswith("gigatoken (ids equal on a sample") and slow.path.startswith(
        "tokenizers (gigatoken cannot read"
    )
    assert fast.ids.tolist() == slow.ids.tolist() and fast.lengths.tolist() == slow.lengths.tolist()


@pytest.mark.parametrize(("kept", "where"), [(5, "probes of this tokenizer"), (-1, "a sample of the text")])
def test_other_ids_turn_the_fast_library_off(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kept: int, where: str
) -> None:
    other = encode_module.open_gigatoken

    def altered(definition: str) -> object:
        values = json.loads(definition)
        values["model"]["merges"] = values["model"]["merges"][:kept]
        return other(json.dumps(values))

    monkeypatch.setattr(encode_module, "open_gigatoken", altered)
    values = json.loads((folder / "tokenizer.json").read_text())
    texts = [*TEXT, "".join(values["model"]["merges"][-1]).replace("Ġ", " ")]
    encoded = Encoder(folder).encode(pl.Series(texts))
    assert encoded.path == f"tokenizers (gigatoken gives other ids on {where})"
    assert encoded.ids.tolist() == sum(([0, *ids, 1] for ids in plain_ids(folder, texts)), [])


def test_a_pre_tokenizer_that_is_read_otherwise_is_found_by_the_probes(folder: Path, tmp_path: Path) -> None:
    values = json.loads((folder / "tokenizer.json").read_text())
    values["pre_tokenizer"]["use_regex"] = False
    vocabulary = values["model"]["vocab"]
    vocabulary["$'"] = max(vocabulary.values()) + 1
    values["model"]["merges"].append(["$", "'"])
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    texts = ["plain words of text"] * 500 + ["it cost $'s worth"]
    assert encode_module.open_gigatoken((tmp_path / "tokenizer.json").read_text())[0], "gigatoken takes it"
    encoder = Encoder(tmp_path)
    assert split(encoder, texts) == plain_ids(tmp_path, texts)
    assert encoder.encode(pl.Series(texts)).path == "tokenizers (gigatoken gives other ids on probes of this tokenizer)"


def test_characters_that_are_normalized_otherwise_go_to_tokenizers(folder: Path, tmp_path: Path) -> None:
    tokenizer = load(folder)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    rare = ["\U000113c2\U000113c2", "a\u0301\u1abf\u0323 b", "x\u0323\u0897\u0334", "\U00016d67\U00016d67"]
    common = ["e\u0301\u0323 \u0958 \u1100\u1161", "\U0001fae0 text", "", "plain"]
    texts = [text for pair in zip(rare, common, strict=True) for text in pair] * 3
    encoder = Encoder(tmp_path)
    assert split(encoder, texts) == plain_ids(tmp_path, texts)
    alone = encode_fast(encoder._fast[0], pl.Series(rare))[0].tolist()
    assert alone != sum(plain_ids(tmp_path, rare), []), "the two libraries agree by now: the rule can go"
    assert encoder.encode(pl.Series(common)).path.startswith("gigatoken (")


def test_no_check_leaves_the_fast_library_out(folder: Path) -> None:
    encoded = Encoder(folder, check=0).encode(pl.Series(TEXT))
    assert encoded.path == "tokenizers (the share to check gigatoken on is 0)"
    assert encoded.ids.tolist() == Encoder(folder).encode(pl.Series(TEXT)).ids.tolist()


def test_dropout_does_not_make_ids_random(folder: Path, tmp_path: Path) -> None:
    values = json.loads((folder / "tokenizer.json").read_text())
    values["model"]["dropout"] = 0.5
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    assert split(Encoder(tmp_path), TEXT) == plain_ids(folder, TEXT)


@settings(max_examples=50, deadline=None)
@given(
    texts=st.lists(st.text(max_size=10).map(lambda text: text * 999) | st.text(max_size=5), max_size=6),
    share=st.floats(0.001, 1),
)
def test_the_sample_is_text_of_the_column_from_its_first_to_its_last(texts: list[str], share: float) -> None:
    pieces = sample(pl.Series(texts, dtype=pl.String), share).to_list()
    assert all(any(piece in text for text in texts) for piece in pieces)
    filled = [text for text in texts if text]
    if filled:
        assert filled[0].startswith(pieces[0]) and filled[-1].endswith(pieces[-1])
    assert len(pieces) <= max(PIECES, share * sum(len(text.encode()) for text in texts) / PIECE + 1)


def test_the_sample_is_as_much_as_asked_for() -> None:
    texts = [f"{row:04d} word" * 5000 for row in range(100)]
    size = sum(map(len, texts))
    for share in (0.05, 0.2):
        taken = sum(map(len, sample(pl.Series(texts), share).to_list()))
        assert share * size <= taken <= share * size + PIECE


def test_ids_are_those_of_tokenizers_on_real_text(real_data: Path, tmp_path: Path) -> None:
    """One file of each folder, NeoX-20B's tokenizer (NFC, added runs of spaces) and GPT-2's."""
    files = ["multilingual/langid_sentences", "noisy/ocr_pairs", "pii/enterprise_pii"]
    files += ["domain/guidelines", "general/wikitext2"]
    texts = [text for file in files for text in read(real_data / f"{file}.jsonl.gz", 40)]
    for name in ("neox20b", "gpt2"):
        with gzip.open(real_data / "tokenizers" / f"{name}.tokenizer.json.gz") as file:
            (tmp_path / "tokenizer.json").write_bytes(file.read())
        encoder = Encoder(tmp_path)
        assert split(encoder, texts) == plain_ids(tmp_path, texts)
        assert encoder.encode(pl.Series(texts)).path == encode_module.GIGATOKEN


def read(file: Path, documents: int) -> list[str]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(documents), strict=False)]
    return [row["text"] for row in rows]


def test_a_tokenizer_the_fast_library_cannot_read_is_encoded_by_the_other(tmp_path: Path) -> None:
    encoder = Encoder(make(tmp_path, "letters"))
    assert encoder.encode(pl.Series(TEXT)).path.startswith("tokenizers (gigatoken cannot read this tokenizer:")
    assert split(encoder, TEXT) == [[0, *ids, 1] for ids in plain_ids(tmp_path, TEXT)]


def test_pieces_of_the_column_do_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*TEXT, "", "x" * 5000, *TEXT]
    whole = split(Encoder(folder), texts)
    monkeypatch.setattr(encode_module, "CHUNK_BYTES", 300)
    assert split(Encoder(folder), texts) == whole


def test_ids_take_two_bytes_where_the_vocabulary_fits(folder: Path, tmp_path: Path) -> None:
    assert Encoder(folder).encode(pl.Series(TEXT)).ids.dtype == np.uint16
    values = json.loads((folder / "tokenizer.json").read_text())
    values["model"]["vocab"]["far away"] = 1 << 16
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    encoder = Encoder(tmp_path)
    assert encoder.vocabulary_size == (1 << 16) + 1
    assert encoder.encode(pl.Series(TEXT)).ids.dtype == np.uint32


def test_an_empty_column_gives_nothing(folder: Path) -> None:
    encoded = Encoder(folder).encode(pl.Series([], dtype=pl.String))
    assert len(encoded.ids) == len(encoded.lengths) == 0


@pytest.mark.parametrize(
    ("config", "marks"),
    [
        ({"bos_token": "<s>", "eos_token": "</s>"}, (0, 1)),
        ({"bos_token": None, "eos_token": "</s>"}, (None, 1)),
        ({"bos_token": {"content": "<s>"}, "eos_token": None}, (0, None)),
        ({}, (None, None)),
    ],
)
def test_bos_and_eos_are_what_the_files_name(tmp_path: Path, config: dict[str, object], marks: tuple) -> None:
    make(tmp_path, config=config)
    assert special_ids(tmp_path) == marks
    bos, eos = marks
    (ids,) = split(Encoder(tmp_path), ["the patient"])
    assert ids == [x for x in [bos, *plain_ids(tmp_path, ["the patient"])[0], eos] if x is not None]


def test_the_special_tokens_map_is_the_second_place_to_look(tmp_path: Path) -> None:
    make(tmp_path, config={})
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"eos_token": "<pad>"}))
    assert special_ids(tmp_path) == (None, 2)


def test_the_identity_is_that_of_the_ids(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one"), make(tmp_path / "two")
    (two / "tokenizer.json").write_bytes((one / "tokenizer.json").read_bytes())
    assert tokenizer_identity(one) == tokenizer_identity(two) == Encoder(one).identity
    (two / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    assert tokenizer_identity(one) != tokenizer_identity(two)


def test_a_tokenizer_that_is_not_there_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tokenizer.json: there is no such file"):
        Encoder(tmp_path)
    make(tmp_path)
    text = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match="tokenizer.json: is not a usable tokenizer.json"):
        Encoder(tmp_path)
    (tmp_path / "tokenizer.json").write_text(text)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<end>"}))
    with pytest.raises(ValueError, match="tokenizer_config.json: eos_token: '<end>' is not in the vocabulary"):
        special_ids(tmp_path)
