"""fastText classifiers of two kinds of text: trained on references, or read from a file."""

import functools
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.kernels.linear_text import LinearText, linear

LINE_WORDS = 100
"""Words of a training line; documents are cut, so that long ones do not weigh more by the line and less by the word."""
BUCKETS = 1 << 20
DIMENSIONS = 16
NEW_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
"""glibc: more than 1 MB lies in pages of its own, which begin as zeros; curate/fasttext_train.py says why."""
EPOCHS = 5
RATE = 0.5
POSITIVE, NEGATIVE = "__label__positive", "__label__negative"


def train(positive: Iterable[pa.LargeStringArray], negative: Iterable[pa.LargeStringArray], where: str) -> Any:
    """A fastText model of words and word pairs that tells lines like `positive` from lines like `negative`.

    One thread, a fixed order of the lines and new memory: the same text gives the same model. The lines of both are
    cut to the same number of words. Raises ValueError where fastText meets NaN; `where` names the key.
    """
    labelled = [_cut(lines, label) for lines, label in ((positive, POSITIVE), (negative, NEGATIVE))]
    number = min(map(len, labelled))
    if not number:
        raise ValueError(f"{where}: one of the two references has no words, so there is nothing to tell apart.")
    draw = random.Random(0)
    rows = [line for lines in labelled for line in draw.sample(lines, number)]
    draw.shuffle(rows)
    keys = {"wordNgrams": 2, "dim": DIMENSIONS, "bucket": BUCKETS, "minCount": 2, "epoch": EPOCHS, "lr": RATE}
    with tempfile.TemporaryDirectory() as folder:
        text, saved = Path(folder) / "lines.txt", Path(folder) / "model.bin"
        text.write_text("\n".join(rows) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "curate.fasttext_train", str(text), str(saved), json.dumps(keys)]
        told = subprocess.run(command, capture_output=True, text=True, env=os.environ | NEW_MEMORY)
        if told.returncode:
            raise ValueError(f"{where}: fastText could not train on this text: {told.stderr.strip()[-500:]}")
        model = open_model(str(saved))
    if not np.isfinite(model.get_output_matrix()).all():
        raise ValueError(f"{where}: fastText's training ended in NaN, so it can tell nothing. Give it more text.")
    return model


def weights(model: Any, where: str) -> LinearText:
    """What a trained model says of POSITIVE, fit to be saved. Raises ValueError where a weight is NaN."""
    found = linear(model, POSITIVE)
    assert found is not None
    if not (np.isfinite(found.weights).all() and np.isfinite(found.buckets).all()):
        raise ValueError(f"{where}: fastText left NaN in its vectors, so it can tell nothing. Give it more text.")
    return found


def file_probabilities(path: str, label: str, texts: pl.Series) -> np.ndarray:
    """Probability of `label` under the fastText file at `path` for each text, NaN where it has none.

    Line ends count as spaces. Files with two labels, softmax and no subwords are read into weights; others are asked
    through fastText.
    """
    model, fast = _load(path, label)
    if fast is not None:
        return fast.probabilities(texts)
    lines = texts.fill_null("").str.replace_all(r"\s+", " ").to_list()
    labels, values = model.predict(lines, k=-1) if lines else ([], [])
    found = [dict(zip(one, of, strict=True)) for one, of in zip(labels, values, strict=True)]
    return np.array([min(float(one.get(label, math.nan if not one else 0.0)), 1.0) for one in found])


def whole_label(label: str) -> str:
    """A label as fastText's files hold it."""
    return label if label.startswith("__label__") else f"__label__{label}"


def check_file(path: str, label: str, where: str) -> None:
    """Raises ValueError where the file at `path` is not there, or has no such label; `where` names the stage."""
    if not Path(path).is_file():
        raise ValueError(
            f"{where}.model: {path} is not there. Name a fastText file, or leave the key out to train one."
        )
    try:
        labels = open_model(path).get_labels()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{where}.model: {path} is no fastText classifier ({error}).") from None
    if whole_label(label) not in labels:
        known = ", ".join(one.removeprefix("__label__") for one in labels[:20])
        raise ValueError(
            f"{where}.label_name: {path} has no label {label!r}, so nothing could be scored. It has: {known}."
        )


def open_model(path: str) -> Any:
    """fastText's model, without the warning that it prints on every load."""
    import fasttext

    fasttext.FastText.eprint = lambda *_: None
    return fasttext.load_model(path)


@functools.lru_cache(maxsize=2)
def _load(path: str, label: str) -> tuple[Any, LinearText | None]:
    model = open_model(path)
    fast = linear(model, label)
    return (None if fast is not None else model), fast


def _cut(lines: Iterable[pa.LargeStringArray], label: str) -> list[str]:
    """Training lines of at most LINE_WORDS words, nearly equal within a document."""
    cut = []
    for block in lines:
        for line in block.to_pylist():
            words = line.split(" ") if line else []
            pieces = math.ceil(len(words) / LINE_WORDS)
            bounds = [len(words) * k // pieces for k in range(pieces + 1)] if pieces else []
            cut += [f"{label} {' '.join(words[a:b])}" for a, b in zip(bounds, bounds[1:], strict=False)]
    return cut
