"""Encoding real text into numpy ids: MB/s of this project and of its peers, and whether all ids are equal.

    python tests/benchmarks/encode.py [--tokenizer gpt2] [--megabytes 16]

Text: ../shared/data/domain and general. The first call counts the start of each library, the check on a sample
included; peers get the text as the list of strings they want.
"""

import argparse
import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from timing import interleaved, report

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def main() -> None:
    """Print the table."""
    import polars as pl

    from tokenization.encode import Encoder, load

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", default="gpt2", help="gpt2 or neox20b")
    parser.add_argument("--megabytes", type=float, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    texts = read(options.megabytes)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    column = pl.Series(texts)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with gzip.open(DATA / "tokenizers" / f"{options.tokenizer}.tokenizer.json.gz") as file:
            (folder / "tokenizer.json").write_bytes(file.read())
        Encoder(folder).encode(column[:10])  # compiles
        encoder, tokenizer, ids = Encoder(folder), load(folder), {}

        def ours() -> None:
            ids["palimpsest"] = encoder.encode(column).ids

        def reference() -> None:
            encoded = [tokenizer.encode_batch_fast(texts[at : at + 1000]) for at in range(0, len(texts), 1000)]
            ids["tokenizers"] = np.concatenate([np.array(one.ids, np.uint16) for some in encoded for one in some])

        contenders = {
            "palimpsest": ours,
            "tokenizers encode_batch_fast, to numpy": reference,
            "transformers, to numpy": transformers_contender(folder, texts),
        }
        taken = interleaved(contenders, options.rounds)
        path = encoder.encode(column[:10]).path
    rows = {
        name: {"MB/s first call": megabytes / one["first_s"], "MB/s": megabytes / one["median_s"]}
        for name, one in taken.items()
    }
    equal = bool(np.array_equal(ids["palimpsest"], ids["tokenizers"]))
    title = (
        f"{options.tokenizer}: {len(texts):,} documents, {megabytes:.0f} MB; ids equal to tokenizers': {equal}; {path}"
    )
    report("encode", title, rows)


def transformers_contender(folder: Path, texts: list[str]) -> Any:
    """Encodes with transformers' fast tokenizer."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))

    def encode() -> None:
        for at in range(0, len(texts), 1000):
            for ids in tokenizer(texts[at : at + 1000], return_attention_mask=False)["input_ids"]:
                np.array(ids, np.uint16)

    return encode


def read(megabytes: float) -> list[str]:
    """Documents of both pools until there is enough."""
    texts: list[str] = []
    left = megabytes * 1e6
    for file in sorted((DATA / "domain").glob("*.jsonl.gz")) + sorted((DATA / "general").glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                if left <= 0:
                    return texts
                texts.append(json.loads(line)["text"])
                left -= len(texts[-1].encode())
    return texts


if __name__ == "__main__":
    main()
