"""One tool encodes documents into a flat numpy buffer, in a process of its own, and says how long it took.

    encode_one.py TOOL TOKENIZER_FOLDER TEXTS.json MEGABYTES IDS.npy

Prints {"first_s": ..., "later_s": ..., "megabytes": ...}: the first call opens the tokenizer too; imports are outside.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np


def palimpsest(folder: Path, texts: list[str]) -> Callable[[], np.ndarray]:
    """A polars column, as it comes out of Parquet."""
    import awkward  # noqa: F401  (it and the next two are imported when they are needed)
    import gigatoken  # noqa: F401
    import polars as pl
    import pyarrow.compute  # noqa: F401

    from tokenization.encode import Encoder

    column = pl.Series(texts)
    opened: list[Encoder] = []

    def encode() -> np.ndarray:
        if not opened:
            opened.append(Encoder(folder))
        return opened[0].encode(column).ids

    return encode


def tokenizers(folder: Path, texts: list[str]) -> Callable[[], np.ndarray]:
    """encode_batch_fast, 1000 documents a batch, on as many threads as it takes."""
    from tokenizers import Tokenizer

    opened: list[Tokenizer] = []

    def encode() -> np.ndarray:
        if not opened:
            opened.append(Tokenizer.from_file(str(folder / "tokenizer.json")))
        parts = []
        for at in range(0, len(texts), 1000):
            ids = [one.ids for one in opened[0].encode_batch_fast(texts[at : at + 1000], add_special_tokens=False)]
            parts.append(np.fromiter(chain.from_iterable(ids), np.uint16, sum(map(len, ids))))
        return np.concatenate(parts)

    return encode


def tiktoken(folder: Path, texts: list[str]) -> Callable[[], np.ndarray]:
    """encode_ordinary_batch on two threads; GPT-2's pattern and ranks."""
    import base64

    from tiktoken import Encoding

    pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    opened: list[Encoding] = []

    def encode() -> np.ndarray:
        if not opened:
            lines = (folder / "ranks.tiktoken").read_text().splitlines()
            ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}
            opened.append(Encoding("gpt2", pat_str=pattern, mergeable_ranks=ranks, special_tokens={}))
        ids = opened[0].encode_ordinary_batch(texts, num_threads=2)
        return np.fromiter(chain.from_iterable(ids), np.uint16, sum(map(len, ids)))

    return encode


def tokie(folder: Path, texts: list[str]) -> Callable[[], np.ndarray]:
    """encode_batch on as many threads as it takes."""
    from tokie import Tokenizer

    opened: list[Tokenizer] = []

    def encode() -> np.ndarray:
        if not opened:
            opened.append(Tokenizer.from_json(str(folder / "tokenizer.json")))
        ids = [one.ids for one in opened[0].encode_batch(texts, add_special_tokens=False)]
        return np.fromiter(chain.from_iterable(ids), np.uint16, sum(map(len, ids)))

    return encode


def datasets(folder: Path, texts: list[str]) -> Callable[[], np.ndarray]:
    """Dataset.map in batches, 2 processes, the tokenizer of tokenizers in each."""
    from datasets import Dataset, disable_caching, disable_progress_bars
    from tokenizers import Tokenizer

    disable_caching()
    disable_progress_bars()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    given = Dataset.from_dict({"text": texts})
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def batch(rows: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        return {"ids": [one.ids for one in tokenizer.encode_batch_fast(rows["text"], add_special_tokens=False)]}

    def encode() -> np.ndarray:
        done = given.map(batch, batched=True, num_proc=2, remove_columns=["text"])
        columns = [chunk.values.to_numpy() for chunk in done.data.column("ids").chunks]
        return np.concatenate(columns).astype(np.uint16)

    return encode


def datatrove(folder: Path, texts: list[str]) -> Callable[[], np.ndarray]:
    """DocumentTokenizer without shuffling, one rank; its output file read back."""
    from datatrove.data import Document
    from datatrove.pipeline.tokens import DocumentTokenizer

    documents = [Document(text, str(row)) for row, text in enumerate(texts)]

    def encode() -> np.ndarray:
        with tempfile.TemporaryDirectory() as name:
            step = DocumentTokenizer(
                name, tokenizer_name_or_path=str(folder / "tokenizer.json"), eos_token=None, shuffle_documents=False
            )
            step.run(iter(documents))
            (file,) = Path(name).glob("*.ds")
            return np.fromfile(file, np.uint16)

    return encode


TOOLS = {tool.__name__: tool for tool in (palimpsest, tokenizers, tiktoken, tokie, datasets, datatrove)}


def main() -> None:
    """Time one tool."""
    tool, folder, file, megabytes, written = sys.argv[1:]
    texts: list[str] = []
    left = float(megabytes) * 1e6
    for text in json.loads(Path(file).read_text(encoding="utf-8")):
        if left <= 0:
            break
        texts.append(text)
        left -= len(text.encode())
    encode = TOOLS[tool](Path(folder), texts)
    start = time.perf_counter()
    ids = encode()
    middle = time.perf_counter()
    encode()
    end = time.perf_counter()
    np.save(written, ids)
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(json.dumps({"first_s": middle - start, "later_s": end - middle, "megabytes": size}))


if __name__ == "__main__":
    main()
