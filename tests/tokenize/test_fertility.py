"""The OOV analysis counts what the tokenizer does to whole documents."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from tokenization.config import TokenizerConfig
from tokenization.counting import CHUNK, Counts, count, read_texts
from tokenization.cutting import LAST_SIMPLE, SIMPLE, Cut
from tokenization.fertility import HEAVY, analyse, worth_extending
from tokenization.pretokens import Pretokens
from tokenization.train import SPLIT, train

COMMON = [
    "the cat sat on the mat. ",
    "A dog and a cat ran to the mat, and sat; ",
    "it's 12 o'clock.\n\nThe cat ran on. ",
]
TEXTS = [line * 5 for line in COMMON] + ["Immunohistochemistry of the cat (immunohistochemistry)."]
WORD = re.compile("[^\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
"""What stands between Unicode white space; Python's own split also cuts at U+001C to U+001F."""
TERM = re.compile(r"[^\W\d_]+(?:['-]\w+)?")
"""A term of these texts."""
ANY_TEXT = st.text(st.sampled_from("ab  .\n\t,'é1("), max_size=40) | st.text(max_size=30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fertility") / "tokenizer"
    train(COMMON * 50, 320, path)
    return path


def figures(folder: Path, counts: Counts) -> dict[str, Any]:
    return analyse(Pretokens(folder), {"domain": {"all": counts}})["pools"]["domain"]


def test_figures_are_those_of_the_documents(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoded = [tokenizer.encode(text).ids for text in TEXTS]
    row = figures(folder, count(TEXTS))
    words, tokens = sum(len(text.split()) for text in TEXTS), sum(map(len, encoded))
    assert (row["documents"], row["words"], row["tokens"]) == (len(TEXTS), words, tokens)
    assert row["fertility"] == pytest.approx(tokens / words)
    assert row["characters_per_token"] == pytest.approx(sum(map(len, TEXTS)) / tokens)
    assert row["bytes_per_token"] == pytest.approx(sum(len(text.encode()) for text in TEXTS) / tokens)
    assert sum(row["terms_by_tokens"].values()) == sum(map(len, map(TERM.findall, TEXTS)))
    json.dumps(row, allow_nan=False)


@settings(max_examples=200, deadline=None)
@given(documents=st.lists(ANY_TEXT, max_size=5))
def test_tokens_of_chunks_are_the_tokens_of_documents(folder: Path, documents: list[str]) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    visible = [text for text in documents if text.strip()]
    row = figures(folder, count(visible))
    assert row["tokens"] == sum(len(tokenizer.encode(text).ids) for text in visible)
    assert row["words"] == sum(len(WORD.findall(text)) for text in visible)


@given(text=ANY_TEXT)
def test_chunks_lose_no_text(text: str) -> None:
    chunks = pl.Series([text]).str.extract_all(CHUNK).to_list()[0]
    assert "".join(chunks) == text or not text.strip()
    assert all(chunk.startswith(" ") for chunk in chunks[1:])


def test_heavily_split_terms_are_listed_with_their_pieces(folder: Path) -> None:
    analysis = analyse(Pretokens(folder), {"domain": {"notes": count(TEXTS)}, "replay": {"web": count(COMMON)}})
    domain = analysis["pools"]["domain"]
    term = next(one for one in domain["most_split"] if one["term"] == "immunohistochemistry")
    assert term["count"] == 1 and term["tokens"] == len(term["pieces"]) >= HEAVY
    assert "".join(term["pieces"]) == " immunohistochemistry"
    assert domain["heavily_split"] > analysis["pools"]["replay"]["heavily_split"] == 0
    assert domain["sources"]["notes"]["tokens"] == domain["tokens"]


def test_parts_of_characters_are_counted(folder: Path) -> None:
    row = figures(folder, count(["the ⛄ cat"]))
    assert row["byte_fallback"] == pytest.approx(3 / row["tokens"])
    assert figures(folder, count(COMMON))["byte_fallback"] == 0


def test_no_text_gives_zeros(folder: Path) -> None:
    row = figures(folder, count([]))
    assert row["tokens"] == row["fertility"] == row["heavily_split"] == 0


def domain_row(fertility: float, split: float, tokens: int) -> dict:
    return {"pools": {"domain": {"fertility": fertility, "heavily_split": split, "tokens": tokens}}}


@pytest.mark.parametrize(
    ("row", "worth"),
    [
        ((2.1, 0.06, 10**9), True),
        ((2.0, 0.06, 10**9), False),
        ((2.1, 0.05, 10**9), False),
        ((2.1, 0.06, 10**9 - 1), False),
    ],
)
def test_published_rules_must_all_hold(row: tuple, worth: bool) -> None:
    decided, reasons = worth_extending(domain_row(*row), TokenizerConfig())
    assert decided is worth
    assert len(reasons) == 3 and all("tokenizer.min_" in reason for reason in reasons)
    assert sum("not above" in reason or "fewer than" in reason for reason in reasons) == (0 if worth else 1)


def test_a_rule_set_to_zero_is_off() -> None:
    off = TokenizerConfig(min_fertility=0, min_heavily_split=0, min_domain_tokens=0)
    assert worth_extending(domain_row(1.0, 0.0, 5), off) == (True, [])


def test_texts_are_read_from_parquet_and_json_lines(tmp_path: Path) -> None:
    import gzip

    pl.DataFrame({"id": ["a", "b"], "text": ["one two", None]}).write_parquet(tmp_path / "a.parquet")
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write('{"id": 1, "text": "three", "meta": {"k": [1]}}\n{"id": "x", "text": "four"}\n')
    (tmp_path / "c.txt").write_text("five")
    columns = read_texts([tmp_path / "a.parquet", tmp_path / "b.jsonl.gz", tmp_path / "c.txt"])
    assert [text for column in columns for text in column] == ["one two", "three", "four", "five"]


@pytest.mark.parametrize(
    ("name", "content"), [("a.jsonl", b'{"text": "x"\n'), ("b.jsonl.gz", b"\x1f\x8b\x08"), ("c.txt", b"\xff")]
)
def test_unreadable_text_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        count(read_texts([tmp_path / name]))


def test_the_command_works_without_a_run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tokenization.fertility import main

    (tmp_path / "notes.txt").write_text(" ".join(TEXTS))
    main(["--tokenizer", str(folder), "--text", str(tmp_path / "*.txt"), "--min-domain-tokens", "0"])
    printed = capsys.readouterr().out
    assert "notes" in printed and "immunohistochemistry" in printed
    assert "min_heavily_split" in printed and "min_domain_tokens" not in printed


def test_a_pool_is_the_sum_of_its_sources(folder: Path) -> None:
    parts = {"one": count(TEXTS[:2]), "two": count(TEXTS[2:])}
    pool = analyse(Pretokens(folder), {"domain": parts})["pools"]["domain"]
    whole = figures(folder, count(TEXTS))
    assert {**pool, "sources": None} == {**whole, "sources": None}


@pytest.fixture(scope="module")
def cutters(tmp_path_factory: pytest.TempPathFactory) -> list[Pretokens]:
    """Tokenizers that cut text in all the ways there are: GPT-2's, Llama 3's, Qwen's, SentencePiece's two."""
    alphabet = {character: index for index, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    split = pre_tokenizers.Split(Regex(SPLIT), behavior="isolated")
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pieces = {
        piece: index for index, piece in enumerate(["▁", "a", "b", "ab", "▁a", "é1", "..", "\n\n", "▁▁", "1a", "²"])
    }
    forms = [
        (alphabet, None, pre_tokenizers.ByteLevel(add_prefix_space=False)),
        (alphabet, None, pre_tokenizers.Sequence([split, bytes_only])),
        (alphabet, normalizers.NFC(), pre_tokenizers.Sequence([split, bytes_only])),
        (alphabet, None, pre_tokenizers.ByteLevel(add_prefix_space=True)),
        (pieces, normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None),
        (pieces, None, pre_tokenizers.Metaspace()),
        (pieces, normalizers.NFKC(), pre_tokenizers.Metaspace()),
    ]
    found = []
    for vocabulary, normalizer, pre_tokenizer in forms:
        tokenizer = Tokenizer(models.BPE(vocabulary, []))
        if normalizer:
            tokenizer.normalizer = normalizer
        if pre_tokenizer:
            tokenizer.pre_tokenizer = pre_tokenizer
        path = tmp_path_factory.mktemp("cutter") / "tokenizer.json"
        tokenizer.save(str(path))
        found.append(Pretokens(path))
    return found


SIMPLE_TEXT = st.text(st.sampled_from("ab1.'s \n\té²ª…’µß×-ABſ"), max_size=12)


@settings(max_examples=300, deadline=None)
@given(strings=st.lists(SIMPLE_TEXT | st.text(max_size=10), max_size=6))
def test_cutting_in_columns_is_cutting_one_by_one(cutters: list[Pretokens], strings: list[str]) -> None:
    for pretokens in cutters:
        cut = Cut(pretokens, pl.Series(strings, dtype=pl.String))
        expected = [pretokens.split(string) for string in strings]
        assert set(cut.pretokens) == {pretoken for pieces in expected for pretoken in pieces}
        lengths = np.array([len(pretoken) for pretoken in cut.pretokens], np.int64)
        assert cut.sums(lengths).tolist() == [sum(map(len, pieces)) for pieces in expected]
        times = np.arange(1, len(strings) + 1)
        spread = dict(zip(cut.pretokens, cut.spread(times).tolist(), strict=True))
        for pretoken, count_of in spread.items():
            assert count_of == sum(
                number * pieces.count(pretoken) for number, pieces in zip(times, expected, strict=True)
            )


def test_every_simple_character_is_cut_alike(cutters: list[Pretokens]) -> None:
    characters = [chr(point) for point in range(LAST_SIMPLE + 1) if re.match(SIMPLE, chr(point))]
    strings = (
        [f" a{one}" for one in characters] + [f" {one}b" for one in characters] + [f"'{one}1" for one in characters]
    )
    for pretokens in cutters:
        cut = Cut(pretokens, pl.Series(strings))
        expected = {pretoken for string in strings for pretoken in pretokens.split(string)}
        assert set(cut.pretokens) == expected
        lengths = np.array([len(pretoken) for pretoken in cut.pretokens], np.int64)
        assert cut.sums(lengths).tolist() == [sum(map(len, pretokens.split(string))) for string in strings]
