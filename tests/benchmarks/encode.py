"""Encoding real text into numpy ids: MB/s of this project and of its peers, and whether all ids are equal.

    python tests/benchmarks/encode.py [--rounds 5] [--megabytes 64] [--without datatrove]
    python tests/benchmarks/encode.py --equal gpt2 neox20b mistral_v3 torchtitan_test tiny-llama gpt2+2000

The first encodes ../shared/data/domain and general with GPT-2's tokenizer, every call in a fresh process (the first
call opens the tokenizer and checks the sample; a second call follows). Slow tools get less text, as the table says.
The second compares every id of every text in ../shared/data with tokenizers', up to two minutes a tokenizer.
"""

import argparse
import gzip
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import peers
from timing import report

REPO = Path(__file__).resolve().parents[2]
DATA = REPO.parent / "shared" / "data"
ONE = Path(__file__).with_name("peers") / "encode_one.py"
PACKAGES = {"tiktoken": ("tiktoken", "tokie", "numpy"), "tokie": ("tiktoken", "tokie", "numpy")}
TOOLS = {
    "palimpsest": ("palimpsest", 1.0, {}),
    "tokenizers encode_batch_fast": ("tokenizers", 0.2, {}),
    "tokenizers, one thread": ("tokenizers", 0.1, {"TOKENIZERS_PARALLELISM": "false"}),
    "tiktoken, 2 threads": ("tiktoken", 0.5, {}),
    "tokie": ("tokie", 1.0, {}),
    "datasets.map, 2 processes": ("datasets", 0.1, {}),
    "datatrove": ("datatrove", 0.03, {}),
}
"""Name: tool of peers/encode_one.py, share of the text it gets, environment."""
FOLDERS = ("domain", "general", "bench", "multilingual", "noisy", "pii", "decon")


def main() -> None:
    """Print the table, or the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without", nargs="*", default=[], help="tools to leave out")
    parser.add_argument("--equal", nargs="+", metavar="TOKENIZER", help="compare all ids instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if options.equal:
            equal(Path(name), options.equal)
        else:
            speed(Path(name), options)


def speed(folder: Path, options: argparse.Namespace) -> None:
    """MB/s of every tool, taking turns."""
    tokenizer(folder, "gpt2")
    with gzip.open(DATA / "tokenizers" / "gpt2.tiktoken.gz") as file:
        (folder / "ranks.tiktoken").write_bytes(file.read())
    texts, left = [], options.megabytes * 1e6
    for text in chain_texts(("domain", "general")):
        if left <= 0:
            break
        texts.append(text)
        left -= len(text.encode())
    (folder / "texts.json").write_text(json.dumps(texts, ensure_ascii=False), encoding="utf-8")
    os.environ["PYTHONPATH"] = str(REPO)
    tools = {name: tool for name, tool in TOOLS.items() if tool[0] not in options.without}
    pythons = {tool: peers.python("encode", *PACKAGES[tool]) for tool, _, _ in tools.values() if tool in PACKAGES}
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in tools}
    for _ in range(options.rounds):
        for name, (tool, share, environment) in tools.items():
            os.environ.update(environment)
            arguments = (tool, folder, folder / "texts.json", f"{options.megabytes * share}", folder / f"{name}.npy")
            taken[name].append(peers.call(pythons.get(tool, sys.executable), ONE, *map(str, arguments)))
            for key in environment:
                del os.environ[key]
    ours = np.load(folder / "palimpsest.npy")
    rows: dict[str, dict[str, Any]] = {}
    for name, runs in taken.items():
        ids, size = np.load(folder / f"{name}.npy"), runs[0]["megabytes"]
        rows[name] = {
            "MB": size,
            "MB/s first call": size / statistics.median(run["first_s"] for run in runs),
            "MB/s later": size / statistics.median(run["later_s"] for run in runs),
            "ids equal to ours": str(bool(np.array_equal(ids, ours[: len(ids)]))),
        }
    first = {name: row["MB/s first call"] for name, row in rows.items()}
    times = first["palimpsest"] / first["tokenizers encode_batch_fast"]
    report("encode", f"GPT-2, {options.rounds} fresh processes each; first call {times:.1f}x tokenizers", rows)


def equal(folder: Path, names: list[str]) -> None:
    """Every id of every text against tokenizers'."""
    import polars as pl

    from tokenization.encode import Encoder, load

    texts = list(chain_texts(FOLDERS))
    rows: dict[str, dict[str, Any]] = {}
    for name in names:
        path = folder / name
        path.mkdir()
        tokenizer(path, name)
        encoder, reference = Encoder(path), load(path)
        reference.encode_special_tokens = True
        marks = [[] if mark is None else [mark] for mark in (encoder.bos, encoder.eos)]
        encoded = encoder.encode(pl.Series(texts))
        ends = np.cumsum(encoded.lengths)
        different = []
        for first in range(0, len(texts), 1000):
            some = reference.encode_batch_fast(texts[first : first + 1000], add_special_tokens=False)
            for row, one in enumerate(some, first):
                ids = encoded.ids[ends[row] - encoded.lengths[row] : ends[row]].tolist()
                if ids != marks[0] + one.ids + marks[1]:
                    different.append(texts[row])
        if different:
            print(f"{name}: the shortest that differs: {min(different, key=len)[:200]!r}")
        rows[name] = {"documents": len(texts), "tokens": len(encoded.ids), "different": len(different)}
        rows[name]["by"] = encoded.path
        report("encode_equal", "Ids of all texts in ../shared/data against tokenizers'", rows)


def tokenizer(folder: Path, name: str) -> None:
    """Write tokenizer.json of a named tokenizer."""
    if name == "tiny-llama":
        found = (REPO / "pipelines" / "models" / name / "tokenizer.json").read_bytes()
    elif name == "torchtitan_test":
        found = (DATA / "tokenizers" / f"{name}.tokenizer.json").read_bytes()
    elif name == "mistral_v3":
        python = peers.python(
            "sentencepiece_convert", "transformers==5.23.0", "sentencepiece==0.2.3", "protobuf==7.36.2"
        )
        model = DATA / "tokenizers" / f"{name}.sentencepiece.model"
        peers.call(python, ONE.with_name("encode_convert.py"), model, folder)
        return
    else:
        base, _, more = name.partition("+")
        with gzip.open(DATA / "tokenizers" / f"{base}.tokenizer.json.gz") as file:
            found = file.read()
        if more:
            extended(folder, found, int(more))
            return
    (folder / "tokenizer.json").write_bytes(found)


def extended(folder: Path, base: bytes, tokens: int) -> None:
    """The base with `tokens` learned on the abstracts."""
    from tokenization.extend import extend

    (folder / "base").mkdir()
    (folder / "base" / "tokenizer.json").write_bytes(base)
    domain = [text for text, _ in zip(chain_texts(("domain",)), range(10_000), strict=False)]
    general = [text for text, _ in zip(chain_texts(("general",)), range(500), strict=False)]
    extend(folder / "base", domain, general, tokens, 0.01, folder / "extended")
    (folder / "tokenizer.json").write_bytes((folder / "extended" / "tokenizer.json").read_bytes())


def chain_texts(folders: tuple[str, ...]) -> Iterator[str]:
    """Every text of every row, choices and answers of the benchmarks' items included."""
    for folder in folders:
        for file in sorted((DATA / folder).glob("*.jsonl.gz")):
            with gzip.open(file, "rt", encoding="utf-8") as lines:
                for line in lines:
                    row = json.loads(line)
                    values = [row.get(key) for key in ("text", "context", "question", "answer_text", "term")]
                    values += row.get("choices") or []
                    values += [row["meta"].get("gold")] if folder == "noisy" and row.get("meta") else []
                    yield from (value for value in values if isinstance(value, str))


if __name__ == "__main__":
    main()
