"""How hard the segments of a step are for the trained model: bits per byte, as training counted their tokens."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from curate.files import read_json
from mix.loader import IGNORED, Loader
from tokenization.encode import load
from tokenization.pretokens import MARK, is_byte_level, is_byte_piece, token_bytes

if TYPE_CHECKING:
    from mix.trace import Run

TOKENS_AT_ONCE = 2048
"""Tokens per forward pass, padding included."""

FEWEST_BYTES = 32
"""Segments of fewer bytes are not scored: a few tokens with nothing before them are hard whatever they say."""


def bits_per_byte(run: "Run", step: int, segments: pl.DataFrame) -> pl.DataFrame:
    """`segments` (mix.trace.trace_step) with bits_per_byte: of all tokens but each segment's first, EOS included.

    A segment sees nothing but itself, as in training. The model is the training run's export, so it has been trained
    on them since: what is still hard is odd text, more often than new text. Null where fewer than FEWEST_BYTES are
    predicted. Raises ValueError where there is no export.
    """
    export = None if run.training is None else run.training / "export"
    if export is None or not (export / "config.json").exists():
        raise ValueError(
            f"{export or run.folder / 'train'}: there is no exported model, so it is not known what it finds hard. "
            f"--worst needs a finished training run: torchrun -m train.launch {run.folder}"
        )
    loader = Loader(run.plan, run.folder / "packed", run.global_batch)
    inputs = loader.batch(run.rows.first(step), run.global_batch).input
    places = segments.select("row", "begin", "tokens").rows()
    ids = [inputs[row, begin : begin + tokens] for row, begin, tokens in places]
    sizes = _bytes_of_tokens(run)
    predicted = np.array([sizes[one[1:]].sum() for one in ids], np.int64)
    bits = _nats(export, ids) / math.log(2)
    scores = [float(bit / size) if size >= FEWEST_BYTES else None for bit, size in zip(bits, predicted, strict=True)]
    return segments.with_columns(pl.Series("bits_per_byte", scores, pl.Float64))


def _nats(export: Path, ids: list[np.ndarray]) -> np.ndarray:
    """Negative log-likelihood of each segment's tokens but the first, float64 [segments]."""
    from eval import hugging_face

    nll = hugging_face.nll(hugging_face.load(export))
    order = sorted(range(len(ids)), key=lambda at: -len(ids[at]))
    nats = np.zeros(len(ids))
    while order:
        width = len(ids[order[0]])
        count = max(1, TOKENS_AT_ONCE // width)
        some, order = order[:count], order[count:]
        inputs, labels = np.zeros((len(some), width), np.int64), np.full((len(some), width), IGNORED, np.int64)
        for line, at in enumerate(some):
            inputs[line, : len(ids[at])] = ids[at]
            labels[line, : len(ids[at]) - 1] = ids[at][1:]
        positions = np.broadcast_to(np.arange(width), inputs.shape)
        nats[some] = nll(inputs, positions, labels)
    return nats


def _bytes_of_tokens(run: "Run") -> np.ndarray:
    """UTF-8 bytes that each token stands for, int64 [vocabulary]; 0 for special tokens."""
    description = read_json(run.folder / "tokenizer" / "tokenizer.json")
    sizes = np.zeros(run.plan.vocabulary_size, np.int64)
    byte_level = is_byte_level(description)
    for token, number in load(run.folder / "tokenizer").get_vocab(with_added_tokens=False).items():
        one_byte = not byte_level and is_byte_piece(token)
        text = token_bytes(token) if byte_level else token.replace(MARK, " ").encode()
        sizes[number] = 1 if one_byte else len(text)
    for added in description.get("added_tokens") or []:
        sizes[added["id"]] = 0 if added["special"] else len(added["content"].encode())
    return sizes
