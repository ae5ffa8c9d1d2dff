"""Extension continues the base's merges and changes nothing else."""

import gzip
import json
import random
import shutil
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tokenization.extend import extend
from tokenization.merges import Limits, Word, learn, merged
from tokenization.pretokens import Pretokens
from tokenization.train import train

SYLLABLES = "ka lo mi ren tas vor el ish don pra quo zi".split()


def sentences(seed: int, words: int, long_words: float) -> list[str]:
    """Documents of made-up words; `long_words` is the share of words of five syllables."""
    chance = random.Random(seed)
    common = ["".join(chance.choices(SYLLABLES, k=chance.choice([1, 2]))) for _ in range(80)]
    rare = ["".join(chance.choices(SYLLABLES, k=5)) for _ in range(40)]
    text = [chance.choice(rare if chance.random() < long_words else common) for _ in range(words)]
    return [" ".join(text[k : k + 50]).capitalize() + "." for k in range(0, words, 50)]


GENERAL = sentences(0, 8_000, 0.0)
DOMAIN = sentences(1, 8_000, 0.4)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level tokenizer with companions and a post-processor, as a model folder holds it."""
    folder = tmp_path_factory.mktemp("base") / "tokenizer"
    train(GENERAL, 400, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens(["<|chat|>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "vocab.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def sentencepiece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer in the form of Llama 2's tokenizer.json: word marks, no pre-tokenizer, byte fallback."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(
        GENERAL, trainers.BpeTrainer(vocab_size=300, show_progress=False, initial_alphabet=list("0123456789"))
    )
    model = json.loads(trained.to_str())["model"]
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *model["vocab"]]
    tokenizer = Tokenizer(
        models.BPE(
            {name: index for index, name in enumerate(names)},
            [tuple(pair) for pair in model["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    folder = tmp_path_factory.mktemp("sentencepiece")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def extended(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extended") / "tokenizer"
    extend(base, DOMAIN, GENERAL, 60, 0.01, folder)
    return folder


@pytest.fixture(scope="module")
def extended_sentencepiece(sentencepiece: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extended") / "sentencepiece"
    extend(sentencepiece, DOMAIN, GENERAL, 60, 0.01, folder)
    return folder


def open_tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def length(tokenizer: Tokenizer, texts: list[str]) -> int:
    return sum(len(encoding.ids) for encoding in tokenizer.encode_batch(texts))


def test_old_ids_stay_and_new_ids_start_above_added_tokens(base: Path, extended: Path) -> None:
    old = open_tokenizer(base).get_vocab(with_added_tokens=True)
    new = open_tokenizer(extended).get_vocab(with_added_tokens=True)
    assert {token: new[token] for token in old} == old
    learned = json.loads((extended / "extension.json").read_text())["new_tokens"]
    assert [one["id"] for one in learned] == list(range(len(old), len(old) + len(learned)))
    assert len(new) == len(old) + len(learned) and len(learned) == 60
    assert old["<|chat|>"] == len(old) - 1


def test_each_new_token_joins_its_parents_and_is_reached(extended: Path) -> None:
    tokenizer = open_tokenizer(extended)
    for one in json.loads((extended / "extension.json").read_text())["new_tokens"]:
        assert "".join(str(tokenizer.id_to_token(parent)) for parent in one["parents"]) == one["token"]
        assert [token.id for token in tokenizer.model.tokenize(one["token"])] == [one["id"]]
        assert one["count"] >= one["uses"] >= 0 and one["count"] >= 20


def test_domain_shrinks_and_no_general_document_grows(base: Path, extended: Path) -> None:
    old, new = open_tokenizer(base), open_tokenizer(extended)
    assert length(new, DOMAIN) < 0.9 * length(old, DOMAIN)
    for text in GENERAL:
        assert len(new.encode(text).ids) <= len(old.encode(text).ids)


def test_written_figures_are_those_of_the_documents(base: Path, extended: Path) -> None:
    written = json.loads((extended / "extension.json").read_text())
    for key, folder in (("tokens_before", base), ("tokens_after", extended)):
        special = 2  # the post-processor's
        assert written[key]["domain"] == length(open_tokenizer(folder), DOMAIN) - special * len(DOMAIN)
        assert written[key]["general"] == length(open_tokenizer(folder), GENERAL) - special * len(GENERAL)
    covered = sum(
        index >= written["base_vocab"] for text in GENERAL for index in open_tokenizer(extended).encode(text).ids
    )
    assert written["general_share"] == pytest.approx(covered / written["tokens_after"]["general"])
    assert written["general_share"] <= 0.01


def test_special_tokens_post_processor_and_templates_survive(base: Path, extended: Path) -> None:
    ids = open_tokenizer(extended).encode("Kalo<|chat|>mi").ids
    assert (ids[0], ids[-1]) == (0, 1)
    assert open_tokenizer(base).token_to_id("<|chat|>") in ids
    assert (extended / "chat_template.jinja").read_text() == "{{ messages }}"
    assert json.loads((extended / "tokenizer_config.json").read_text())["bos_token"] == "<s>"
    assert not (extended / "vocab.json").exists(), "a second vocabulary without the new tokens must not travel along"


def test_transformers_reads_the_same_ids(extended: Path) -> None:
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(str(extended))
    assert loaded(DOMAIN[0], add_special_tokens=False)["input_ids"] == (
        open_tokenizer(extended).encode(DOMAIN[0], add_special_tokens=False).ids
    )
    assert (loaded.bos_token_id, loaded.eos_token_id) == (0, 1)
    loaded.eos_token = "<|chat|>"
    assert loaded(DOMAIN[0])["input_ids"][0] == 0, "another EOS must not lose BOS"


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=80) | st.lists(st.sampled_from([*SYLLABLES, " ", "  ", "\n", "é", "’"])).map("".join))
def test_any_text_round_trips_and_never_grows(base: Path, extended: Path, text: str) -> None:
    old, new = open_tokenizer(base), open_tokenizer(extended)
    before, after = old.encode(text, add_special_tokens=False).ids, new.encode(text, add_special_tokens=False).ids
    assert len(after) <= len(before)
    assert new.decode(after, skip_special_tokens=False) == text


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60) | st.lists(st.sampled_from([*SYLLABLES, " ", "\n", "é", "▁"])).map("".join))
def test_sentencepiece_text_reads_back_as_before(sentencepiece: Path, extended_sentencepiece: Path, text: str) -> None:
    old, new = open_tokenizer(sentencepiece), open_tokenizer(extended_sentencepiece)
    before, after = old.encode(text).ids, new.encode(text).ids
    assert len(after) <= len(before)
    assert new.decode(after, skip_special_tokens=False) == old.decode(before, skip_special_tokens=False)


def test_sentencepiece_is_extended(sentencepiece: Path, extended_sentencepiece: Path) -> None:
    written = json.loads((extended_sentencepiece / "extension.json").read_text())
    tokenizer = open_tokenizer(extended_sentencepiece)
    assert len(written["new_tokens"]) == 60
    assert not any("<0x" in one["token"] for one in written["new_tokens"])
    after, before = length(tokenizer, DOMAIN), length(open_tokenizer(sentencepiece), DOMAIN)
    assert written["tokens_after"]["domain"] == after < 0.9 * before


def test_sentencepiece_keeps_apart_what_its_pieces_keep_apart(sentencepiece: Path, tmp_path: Path) -> None:
    result = extend(sentencepiece, [f"{text} in 2024, 2024; 2024" for text in DOMAIN], [], 30, 0.01, tmp_path / "out")
    tokens = [one["token"] for one in result["new_tokens"]]
    assert tokens and not any(character.isdigit() for token in tokens for character in token)


def test_a_tokenizer_without_pre_tokenizer_or_decoder(sentencepiece: Path, tmp_path: Path) -> None:
    description = json.loads((sentencepiece / "tokenizer.json").read_text())
    description["decoder"] = None
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "tokenizer.json").write_text(json.dumps(description))
    result = extend(tmp_path / "base", DOMAIN, GENERAL, 10, 0.01, tmp_path / "out")
    assert len(result["new_tokens"]) == 10 and result["checks"]["round_trip_failures"] == 0


def test_ignore_merges_is_kept_and_extended(base: Path, tmp_path: Path) -> None:
    description = json.loads((base / "tokenizer.json").read_text())
    description["model"]["ignore_merges"] = True
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama" / "tokenizer.json").write_text(json.dumps(description))
    result = extend(tmp_path / "llama", DOMAIN, GENERAL, 40, 0.01, tmp_path / "out")
    assert len(result["new_tokens"]) == 40
    assert json.loads((tmp_path / "out" / "tokenizer.json").read_text())["model"]["ignore_merges"] is True
    old, new = open_tokenizer(tmp_path / "llama"), open_tokenizer(tmp_path / "out")
    assert all(len(new.encode(text).ids) <= len(old.encode(text).ids) for text in GENERAL)


def test_same_text_in_any_form_gives_the_same_bytes(base: Path, extended: Path, tmp_path: Path) -> None:
    columns = [pl.Series(DOMAIN[:70]), pl.Series(DOMAIN[70:]).to_arrow()]
    extend(base, columns, [pl.Series(GENERAL)], 60, 0.01, tmp_path / "again")
    assert (tmp_path / "again" / "tokenizer.json").read_bytes() == (extended / "tokenizer.json").read_bytes()


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"), "WordPiece"),
        (models.Unigram([("a", 0.0)]), "Unigram"),
        (models.WordLevel({"a": 0}, unk_token="a"), "WordLevel"),
        (models.BPE({"a": 0}, [], end_of_word_suffix="</w>"), "end_of_word_suffix"),
        (models.BPE({"a": 0}, []), "neither byte-level nor SentencePiece"),
    ],
)
def test_other_model_types_are_refused_by_name(model: models.Model, named: str, tmp_path: Path) -> None:
    Tokenizer(model).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match=named):
        extend(tmp_path, DOMAIN, GENERAL, 10, 0.01, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_that_loses_text_is_refused(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="242 of the 243 bytes of UTF-8 have no token"):
        extend(tmp_path, DOMAIN, GENERAL, 10, 0.01, tmp_path / "out")


def test_a_folder_of_someone_elses_is_not_replaced(base: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="not replaced"):
        extend(base, DOMAIN, GENERAL, 10, 0.01, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_terms_of_general_text_are_passed_over(base: Path, tmp_path: Path) -> None:
    both = [text + " vormizivormizi" for text in GENERAL]
    free = extend(base, [*DOMAIN, *both], both, 30, 1.0, tmp_path / "free")
    capped = extend(base, [*DOMAIN, *both], both, 30, 0.001, tmp_path / "capped")
    assert free["general_share"] > 0.01 >= 0.001 >= capped["general_share"]
    assert capped["skipped_for_general"] > 0


def test_a_rare_pair_is_not_added(base: Path, tmp_path: Path) -> None:
    few = extend(base, DOMAIN[:3], [], 10_000, 0.01, tmp_path / "few", min_count=5)
    assert 0 < len(few["new_tokens"]) < 10_000
    assert min(one["count"] for one in few["new_tokens"]) >= 5


def test_ties_go_to_the_pair_whose_tokens_come_first() -> None:
    words = [Word([1, 2], 5, 0), Word([0, 3], 5, 0), Word([0, 2], 5, 0)]
    learned, _ = learn(words, dict(enumerate("abcd")), frozenset(), Limits(3, 1, 6, 0, 0.01))
    assert [new.token for new in learned] == ["ac", "ad", "bc"]


@given(st.lists(st.integers(0, 2), max_size=12))
def test_merging_goes_from_left_to_right(tokens: list[int]) -> None:
    text = "".join(map(str, tokens))
    assert "".join(map(str, merged(tokens, (0, 0), 9))) == text.replace("00", "9")
    assert "".join(map(str, merged(tokens, (1, 2), 9))) == text.replace("12", "9")


@pytest.mark.parametrize("name", ["gpt2", "neox20b"])
def test_published_tokenizers_on_real_text(name: str, real_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    with (
        gzip.open(real_data / "tokenizers" / f"{name}.tokenizer.json.gz") as file,
        open(folder / "tokenizer.json", "wb") as out,
    ):
        shutil.copyfileobj(file, out)
    domain = read(real_data / "domain" / "abstracts.jsonl.gz", 1000)
    general = read(real_data / "general" / "gov_web.jsonl.gz", 100)
    result = extend(folder, domain, general, 200, 0.01, tmp_path / "out")
    assert len(result["new_tokens"]) == 200
    assert result["general_share"] <= 0.01
    old, new = open_tokenizer(folder), open_tokenizer(tmp_path / "out")
    ids = new.get_vocab()
    assert {token: ids[token] for token in old.get_vocab()} == old.get_vocab()
    before, after = old.encode_batch_fast(general), new.encode_batch_fast(general)
    for text, one, other in zip(general, before, after, strict=True):
        assert len(other.ids) <= len(one.ids), text
        assert old.decode(one.ids, skip_special_tokens=False) == new.decode(other.ids, skip_special_tokens=False)
    assert length(new, domain) < 0.98 * length(old, domain)


def test_mistrals_sentencepiece_on_real_text(real_data: Path, tmp_path: Path) -> None:
    model = real_data / "tokenizers" / "mistral_v3.sentencepiece.model"
    domain = read(real_data / "domain" / "abstracts.jsonl.gz", 1000)
    general = read(real_data / "general" / "gov_web.jsonl.gz", 100)
    result = extend(model, domain, general, 200, 0.01, tmp_path / "out")
    assert len(result["new_tokens"]) == 200 and result["general_share"] <= 0.01
    assert json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["bos_token"] == "<s>"
    old, new = Pretokens(model).tokenizer, open_tokenizer(tmp_path / "out")
    assert result["tokens_after"]["domain"] == length(new, domain) < 0.95 * length(old, domain)
    for text, one, other in zip(general, old.encode_batch_fast(general), new.encode_batch_fast(general), strict=True):
        assert len(other.ids) <= len(one.ids)
        assert new.decode(other.ids) == old.decode(one.ids) == text


def test_a_sentencepiece_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "words.model").write_bytes(
        b"\x0a\x0c\x0a\x05<unk>\x15\x00\x00\x00\x00"
    )  # one piece: Unigram by default
    with pytest.raises(ValueError, match="words.model: cannot be read .*only BPE sentencepiece models"):
        extend(tmp_path / "words.model", DOMAIN, GENERAL, 10, 0.01, tmp_path / "out")


def test_torchtitans_test_tokenizer_is_refused(real_data: Path, tmp_path: Path) -> None:
    shutil.copy(real_data / "tokenizers" / "torchtitan_test.tokenizer.json", tmp_path / "tokenizer.json")
    with pytest.raises(ValueError, match="bytes of UTF-8 have no token, so it loses text"):
        extend(tmp_path, DOMAIN, GENERAL, 10, 0.01, tmp_path / "out")


def read(file: Path, documents: int) -> list[str]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line, _ in zip(lines, range(documents), strict=False)]
