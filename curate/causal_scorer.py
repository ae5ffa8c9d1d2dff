"""Bits per byte of documents under a small causal language model, by transformers and torch.

Slower than a KenLM by orders of magnitude, but it sees what no n-gram model sees: use it where the crawl is small
or a GPU is there, on what the cheap stages left.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

BATCH_TOKENS = 2048
"""Tokens in one forward pass; with a vocabulary of 128,000 its logits take 1 GB."""
SHORTEST = 32
"""Windows are padded to this many tokens times a power of two, so that few shapes occur."""


@dataclass(frozen=True)
class _Window:
    """Tokens that go through the model together; those from `scored` on count."""

    document: int
    tokens: list[int]
    scored: int
    bytes: int
    """UTF-8 length of the text that the scored tokens stand for."""
    at: int
    """Byte of the document where that text begins."""


def scores(folder: str, texts: pl.Series, window: int, stride: int) -> pl.DataFrame:
    """What the model makes of each text.

    A text of T tokens is scored in ceil(T / stride) stretches of nearly equal length, each with the tokens before it
    as context, up to `window` tokens together (transformers' "strided perplexity"). One row a text: `bits` and `bytes`
    (of the whole text; bits / bytes are its bits per byte), `worst` (the highest bits per byte of a stretch) and
    `worst_at` (the byte where that stretch begins). An empty text has 0 bytes. Every forward pass has the same shape
    for the same stretch, whatever documents lie beside it, so that a score does not depend on the parts.
    """
    model, tokenizer = _load(folder)
    bits, sizes = [0.0] * len(texts), [0] * len(texts)
    worst, worst_at = [0.0] * len(texts), [0] * len(texts)
    by_shape: dict[int, list[_Window]] = {}
    for number, text in enumerate(texts):
        for one in _windows(tokenizer, number, text or "", window, stride):
            by_shape.setdefault(_shape(len(one.tokens), window), []).append(one)
    for shape, windows in sorted(by_shape.items()):
        rows = max(1, BATCH_TOKENS // shape)
        for first in range(0, len(windows), rows):
            batch = windows[first : first + rows]
            for one, value in zip(batch, _bits(model, batch, rows, shape), strict=True):
                bits[one.document] += value
                sizes[one.document] += one.bytes
                density = value / max(one.bytes, 1)
                at = one.document
                if density > worst[at] or (density == worst[at] and one.at < worst_at[at]):
                    worst[at], worst_at[at] = density, one.at
    columns = {"bits": bits, "bytes": sizes, "worst": worst, "worst_at": worst_at}
    schema = {"bits": pl.Float64, "bytes": pl.Int64, "worst": pl.Float64, "worst_at": pl.Int64}
    return pl.DataFrame(columns, schema)


def check(folder: str, window: int, where: str) -> list[str]:
    """The files of the model, sorted. Raises ValueError where it cannot be loaded or reads fewer tokens than `window`;
    `where` names the stage."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{where}.model: {folder} is no folder of a transformers model ({error}).") from None
    longest = getattr(config, "max_position_embeddings", window)
    if window > longest:
        raise ValueError(
            f"{where}.window: {window} tokens are more than {folder} reads ({longest}), so what it says of the rest "
            f"would mean nothing. Set window: {longest} or less."
        )
    return sorted(str(path) for path in Path(folder).iterdir() if path.is_file())


def _windows(tokenizer: Any, number: int, text: str, window: int, stride: int) -> Iterator[_Window]:
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    stretches = math.ceil(len(ids) / stride)
    ends = [len(ids) * (k + 1) // stretches for k in range(stretches)]
    begin = at = 0
    for end in ends:
        start = max(0, end - window + 1)
        before = [first] if start == 0 and first is not None else []
        stop = offsets[end][0] if end < len(ids) else len(text)
        size = len(text[offsets[begin][0] if begin else 0 : stop].encode())
        yield _Window(number, before + ids[start:end], len(before) + begin - start, size, at)
        begin, at = end, at + size


def _shape(tokens: int, window: int) -> int:
    shape = SHORTEST
    while shape < tokens:
        shape *= 2
    return min(shape, max(window, tokens))


def _bits(model: Any, batch: list[_Window], rows: int, shape: int) -> list[float]:
    """Bits of the scored tokens of each window; padding stands behind them, where a causal model does not look."""
    import torch

    tokens = torch.zeros((rows, shape), dtype=torch.long)
    for row, one in enumerate(batch):
        tokens[row, : len(one.tokens)] = torch.tensor(one.tokens)
    with torch.inference_mode():
        logits = model(input_ids=tokens.to(model.device), use_cache=False).logits[:, :-1].float()
        targets = tokens[:, 1:].to(model.device)
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none").double().cpu()
    return [
        float(loss[row, max(one.scored - 1, 0) : len(one.tokens) - 1].sum()) / math.log(2)
        for row, one in enumerate(batch)
    ]


@functools.lru_cache(maxsize=1)
def _load(folder: str) -> tuple[Any, Any]:
    """Model and tokenizer, once a process; on a GPU where there is one, else on one thread (workers are processes)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    only_data = {"local_files_only": True, "trust_remote_code": False}
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, **only_data)
    return model.to(device).eval(), AutoTokenizer.from_pretrained(folder, **only_data)
