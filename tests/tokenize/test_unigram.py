"""Unigram pieces only join what the base's best segmentation holds."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.tokenize.test_extend import DOMAIN, GENERAL, SYLLABLES, length, open_tokenizer
from tokenization.extend import extend
from tokenization.unigram import extended as extended_json


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer in the form of T5's: NFKC, word marks, an unknown token, EOS at the end, sentinels behind all."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        GENERAL, trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    tokenizer.add_special_tokens(["<extra_0>", "<extra_1>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder = tmp_path_factory.mktemp("unigram")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def extended(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extended") / "unigram"
    extend(base, DOMAIN, GENERAL, 60, 0.01, folder)
    return folder


def test_old_ids_stay_and_new_pieces_stand_above_added_tokens(base: Path, extended: Path) -> None:
    old, new = open_tokenizer(base).get_vocab(), open_tokenizer(extended).get_vocab()
    assert {token: new[token] for token in old} == old
    written = json.loads((extended / "extension.json").read_text())
    assert [one["id"] for one in written["new_tokens"]] == list(range(len(old), len(old) + 60))
    assert all(new[one["token"]] == one["id"] for one in written["new_tokens"])
    assert open_tokenizer(extended).encode("Kalo<extra_1>mi").ids[-1] == 1


def test_each_piece_is_reached_and_joins_its_parents(base: Path, extended: Path) -> None:
    old, new = open_tokenizer(base), open_tokenizer(extended)
    for one in json.loads((extended / "extension.json").read_text())["new_tokens"]:
        assert [token.id for token in new.model.tokenize(one["token"])] == [one["id"]]
        assert "".join(str(old.id_to_token(parent)) for parent in one["parents"]) == one["token"]
        assert len(one["parents"]) >= 2 and one["count"] >= 20


def test_domain_shrinks_and_no_general_document_grows(base: Path, extended: Path) -> None:
    old, new = open_tokenizer(base), open_tokenizer(extended)
    written = json.loads((extended / "extension.json").read_text())
    assert length(new, DOMAIN) < 0.9 * length(old, DOMAIN)
    assert written["tokens_after"]["domain"] == length(new, DOMAIN) - len(DOMAIN)  # the post-processor's EOS
    assert written["general_share"] <= 0.01
    assert all(len(new.encode(text).ids) <= len(old.encode(text).ids) for text in GENERAL)


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=60) | st.lists(st.sampled_from([*SYLLABLES, " ", "\n", "é", "▁", "ﬁ"])).map("".join))
def test_any_text_reads_back_as_before_and_never_grows(base: Path, extended: Path, text: str) -> None:
    old, new = open_tokenizer(base), open_tokenizer(extended)
    before, after = old.encode(text).ids, new.encode(text).ids
    assert len(after) <= len(before)
    assert new.decode(after, skip_special_tokens=False) == old.decode(before, skip_special_tokens=False)
    parents = {one["id"]: one["parents"] for one in json.loads((extended / "extension.json").read_text())["new_tokens"]}
    opened = [part for token in after for part in parents.get(token, [token])]
    scores = [score for _, score in json.loads((base / "tokenizer.json").read_text())["model"]["vocab"]]
    assert sum(scores[token] for token in opened) == pytest.approx(sum(scores[token] for token in before), abs=1e-4)


def test_the_share_of_general_text_is_capped(base: Path, tmp_path: Path) -> None:
    both = [text + " vormizivormizi" for text in GENERAL]
    free = extend(base, [*DOMAIN, *both], both, 30, 1.0, tmp_path / "free")
    capped = extend(base, [*DOMAIN, *both], both, 30, 0.001, tmp_path / "capped")
    assert free["general_share"] > 0.01 >= 0.001 >= capped["general_share"]


def test_a_gap_in_the_ids_is_refused() -> None:
    description = {
        "model": {"type": "Unigram", "vocab": [["a", -1.0]]},
        "added_tokens": [{"content": "<x>", "id": 5}],
    }
    with pytest.raises(ValueError, match="<x> has the id 5, but the next free one is 1"):
        extended_json(description, [])
