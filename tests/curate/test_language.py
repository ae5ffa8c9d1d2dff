"""language: the right documents go, with the language found."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.language_scan import read_model
from curate.language import MODEL, Language, load_fasttext
from curate.stage import Workspace
from tests.curate.corpus import sentences

GERMAN = "Die Patientin klagt seit drei Tagen über Kopfschmerzen, und der Arzt hat ihr ein Medikament verordnet. "
FRENCH = "Le médecin a prescrit un nouveau traitement, parce que la douleur de la patiente ne diminue pas depuis hier. "


def judge(texts: list[str], **keys: object) -> list[tuple[str | None, str | None]]:
    stage = Language(**keys)
    stage._workspace = Workspace(Path(), [], [], False, "pipeline.yaml: curate.stages[0].language")
    verdicts = stage.judge(pl.DataFrame({"text": texts}, schema={"text": pl.String}))
    found = [json.loads(one)["language"] if one else None for one in verdicts.detail]
    return list(zip(verdicts.reason, found, strict=True))


def test_other_languages_are_named() -> None:
    texts = [sentences(1, 8), GERMAN * 3, FRENCH * 3]
    assert judge(texts) == [(None, None), ("wrong_language", "de"), ("wrong_language", "fr")]


def test_the_middle_of_a_long_document_counts() -> None:
    text = sentences(1, 3) + " " + GERMAN * 60
    assert judge([text])[0][0] is not None and judge([text], chars=200, min_score=0)[0][0] != "language_unsure"


def test_all_languages_can_be_kept() -> None:
    assert judge([GERMAN, "12 34"], keep=[], min_score=0) == [(None, None), (None, None)]


def test_a_missing_model_is_named() -> None:
    with pytest.raises(ValueError, match=r"language.model: absent.ftz is not there"):
        judge(["x"], model="absent.ftz")


def same_as_fasttext(texts: list[str]) -> None:
    model = read_model(str(MODEL))
    assert model is not None
    labels, scores = model.best(pl.Series(texts, dtype=pl.String))
    found, probabilities = load_fasttext(str(MODEL)).predict([text.replace("\n", " ") for text in texts])
    assert [model.labels[label] for label in labels] == [label[0].removeprefix("__label__") for label in found]
    # long texts: the library adds all vectors to one sum, the kernel word by word
    for text, score, probability in zip(texts, scores, probabilities, strict=True):
        assert score == pytest.approx(min(float(probability[0]), 1), abs=1e-4), text[:60]


def test_words_that_fasttext_takes_for_labels_are_no_text() -> None:
    same_as_fasttext(["__label__", "__label__de __label__ ein Haus", "ein a__label__de Haus", "__label__\tein Haus"])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=20))
def test_the_kernel_answers_as_the_library(texts: list[str]) -> None:
    same_as_fasttext(texts)


def test_words_that_come_again_and_long_ones_answer_the_same() -> None:
    many = " ".join(f"{word}{number}" for number in range(20_000) for word in ("ab", "\u0434\u0430"))
    same_as_fasttext([GERMAN * 50, "x" * 5000 + FRENCH, "\u4f60\u597d" * 3000, many, many + many, "", " ", GERMAN])


def test_real_sentences_answer_as_the_library(real_data: Path) -> None:
    rows = [json.loads(line) for line in gzip.open(real_data / "multilingual" / "langid_sentences.jsonl.gz")]
    same_as_fasttext([row["text"] for row in rows])


def test_other_models_are_asked_by_the_library(tmp_path: Path) -> None:
    import fasttext

    lines = [f"__label__{name} {text}" for name, text in [("de", GERMAN), ("fr", FRENCH)] for _ in range(100)]
    (tmp_path / "lines.txt").write_text("\n".join(lines) + "\n")
    # fewer threads than 12 leave rows of fastText's matrix unset
    model = fasttext.train_supervised(
        str(tmp_path / "lines.txt"), loss="softmax", wordNgrams=2, thread=12, dim=8, epoch=20, lr=0.5, bucket=1000
    )
    path = str(tmp_path / "softmax.bin")
    model.save_model(path)
    assert read_model(path) is None
    texts = [GERMAN + "\n" + GERMAN, FRENCH, ""]
    verdicts = judge(texts, model=path, keep=["fr"])
    assert verdicts[:2] == [("wrong_language", "de"), (None, None)]
    assert judge([], model=path) == []


@pytest.mark.parametrize("minn", [0, 2])
def test_unpruned_models_are_read_too(tmp_path: Path, minn: int) -> None:
    import fasttext

    lines = [f"__label__{name} {text}" for name, text in [("de", GERMAN), ("fr", FRENCH)] for _ in range(100)]
    (tmp_path / "lines.txt").write_text("\n".join(lines) + "\n")
    model = fasttext.train_supervised(
        str(tmp_path / "lines.txt"), loss="hs", minn=minn, maxn=2 * minn, thread=12, dim=12, lr=0.5, bucket=500
    )
    model.save_model(str(tmp_path / "dense.bin"))
    read = read_model(str(tmp_path / "dense.bin"))
    assert read is not None
    texts = [GERMAN, FRENCH, "der le mit que", "unknown words"]
    labels, scores = read.best(pl.Series(texts))
    for text, label, score in zip(texts, labels, scores, strict=True):
        found, probabilities = model.predict(text)
        assert found[0] == f"__label__{read.labels[label]}"
        assert score == pytest.approx(min(probabilities[0], 1), abs=1e-5)


def test_a_file_that_is_no_model_is_left_to_the_library(tmp_path: Path) -> None:
    (tmp_path / "no.bin").write_bytes(b"x" * 300)
    assert read_model(str(tmp_path / "no.bin")) is None


def test_accuracy_on_real_sentences(real_data: Path) -> None:
    rows = [json.loads(line) for line in gzip.open(real_data / "multilingual" / "langid_sentences.jsonl.gz")]
    long = [row for row in rows if len(row["text"].split()) >= 20]
    key = "lang" if "lang" in rows[0] else "language" if "language" in rows[0] else None
    gold = [row[key] if key else row["meta"]["lang"] for row in long]
    english = [reason is None for reason, _ in judge([row["text"] for row in long], min_score=0)]
    right = sum(kept == (language == "en") for kept, language in zip(english, gold, strict=True))
    assert right / len(long) > 0.995, right / len(long)
