"""How like one reference and unlike another a document is: models made once, scores that no document is trained for.

Both references are cut to the same size and into halves; what lies in one half is scored by the models of the other
(`curate.reference`). A higher score is more like the positive reference.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from curate import fasttext_model, kenlm_model
from curate.kenlm_text import normalized_lines
from curate.kernels.linear_text import LinearText
from curate.reference import FOLDS, Reference, crossed

By = Literal["classifier", "moore_lewis"]
ORDER, PRUNE = 3, 1
"""Words per n-gram of the two KenLMs, and how often those of three words may be seen without getting into them. Four
words select the same documents and take 50 % longer."""


def train(by: By, positive: Reference, negative: Reference, most_bytes: int, folder: Path) -> None:
    """Train the models of both halves into `folder`, each on at most `most_bytes` of either reference."""
    sizes = positive.size(), negative.size()
    each = min(most_bytes * FOLDS, *sizes)
    for fold in range(FOLDS):
        like, unlike = (
            (normalized_lines(texts) for texts in text.texts(fold, each / size))
            for text, size in zip((positive, negative), sizes, strict=True)
        )
        where = f"{positive.where} against {negative.name}"
        if by == "classifier":
            model = fasttext_model.train(like, unlike, where)
            fasttext_model.weights(model, where).save(_weights(folder, fold))
        else:
            for name, some in (("positive", like), ("negative", unlike)):
                kenlm_model.train(some, ORDER, PRUNE, _kenlm(folder, name, fold), where)


def scores(by: By, folder: Path, documents: pl.DataFrame) -> pl.Series:
    """One score a document (row, text), null where it has no words that the models know.

    classifier: the probability that a fastText classifier gives to the positive reference.
    moore_lewis: bits a word that the negative reference's KenLM needs more than the positive one's, the cross-entropy
    difference of Moore and Lewis (2010), "Intelligent Selection of Language Model Training Data", its sign turned.
    """
    ask = _ask_classifier if by == "classifier" else _ask_kenlms
    return crossed(documents, lambda fold, texts: ask(folder, fold, texts))["score"]


def warm_up(by: By) -> None:
    """Compile what `scores` needs."""
    if by == "moore_lewis":
        kenlm_model.warm_up()
    else:
        nothing = LinearText(np.zeros(2, np.uint64), np.zeros(2, np.float32), np.zeros(2, np.float32), 2)
        nothing.probabilities(normalized_lines(pl.Series(["text"])))


def _ask_classifier(folder: Path, fold: int, texts: pl.Series) -> pl.DataFrame:
    found = LinearText.load(_weights(folder, fold)).probabilities(normalized_lines(texts))
    return pl.DataFrame({"score": found}, nan_to_null=True)


def _ask_kenlms(folder: Path, fold: int, texts: pl.Series) -> pl.DataFrame:
    lines = normalized_lines(texts)
    positive, negative = (
        kenlm_model.scores(_kenlm(folder, name, fold), lines, segment=1) for name in ("positive", "negative")
    )
    difference = (positive["log10"] - negative["log10"]) / positive["words"] * np.log2(10)
    return pl.DataFrame({"score": difference.fill_nan(None)})


def _weights(folder: Path, fold: int) -> Path:
    return folder / f"classifier-{fold}.npz"


def _kenlm(folder: Path, name: str, fold: int) -> Path:
    return folder / f"{name}-{fold}.binary"
