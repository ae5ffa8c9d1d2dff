"""language: the right documents go, with the language found."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from curate.language import Language
from curate.stage import Workspace
from tests.curate.corpus import sentences

GERMAN = "Die Patientin klagt seit drei Tagen über Kopfschmerzen, und der Arzt hat ihr ein Medikament verordnet. "
FRENCH = "Le médecin a prescrit un nouveau traitement, parce que la douleur de la patiente ne diminue pas depuis hier. "


def judge(texts: list[str], **keys: object) -> list[tuple[str | None, str | None]]:
    stage = Language(**keys)
    stage._workspace = Workspace(Path(), [], [], False, "pipeline.yaml: curate.stages[0].language")
    verdicts = stage.judge(pl.DataFrame({"text": texts}))
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


def test_accuracy_on_real_sentences(real_data: Path) -> None:
    rows = [json.loads(line) for line in gzip.open(real_data / "multilingual" / "langid_sentences.jsonl.gz")]
    long = [row for row in rows if len(row["text"].split()) >= 20]
    key = "lang" if "lang" in rows[0] else "language" if "language" in rows[0] else None
    gold = [row[key] if key else row["meta"]["lang"] for row in long]
    english = [reason is None for reason, _ in judge([row["text"] for row in long], min_score=0)]
    right = sum(kept == (language == "en") for kept, language in zip(english, gold, strict=True))
    assert right / len(long) > 0.995, right / len(long)
