"""Packing 1M documents into rows of 4096, and the real text into rows of 512 to 4096.

    python tests/benchmarks/packing.py [--documents 1000000] [--seq-len 4096] [--text ../shared/data]

The 1M lengths are log-normal (median 493 tokens). All on one core but for what numpy does by itself. TRL's own function
runs in an environment of its own (without torch, which packing does not need) over a table whose tokens are one byte
each; its seconds include gathering them. Written out here, because the packages want torch or whole datasets of tokens:
first fit in groups of 10,000 with documents longer than a row left out (axolotl's pack_group and its default), and
concatenation in batches of 1000 documents whose last part of a row is dropped (group_texts of Hugging Face's run_clm).
The real text is packed by all but TRL, which would be a process for each source and length of row.

Padding counts every place of every row. `over the least` is rows beyond what the tokens need (tokens / seq_len, rounded
up for each source): a source's last row has a remainder whatever packs it.
"""

import argparse
import gzip
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import peers
from timing import report

TRL = Path(__file__).parent / "peers" / "packing_trl.py"
SEQ_LENS = (512, 1024, 2048, 4096)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--seq-len", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--text", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    lengths = np.random.default_rng(0).lognormal(6.2, 1.1, options.documents).clip(16, 200_000).astype(np.int64)
    with tempfile.TemporaryDirectory() as folder:
        contenders = _contenders(Path(folder) / "lengths.npy")
        for contender in contenders.values():
            contender(lengths[:2000], options.seq_len)  # compiles
        counts: dict[str, dict[str, float]] = {}

        def timed(name: str) -> float:
            counts[name] = contenders[name](lengths, options.seq_len)
            return counts[name].pop("seconds")

        taken = peers.interleaved({name: (lambda name=name: timed(name)) for name in contenders}, options.rounds)
    rows = {name: {**taken[name], **_shares(counts[name], lengths, options.seq_len)} for name in contenders}
    report("packing", f"{len(lengths):,} documents, {lengths.sum():,} tokens, rows of {options.seq_len}", rows)
    if not options.text.is_dir():
        print(f"{options.text} is not there: no table of real text")
        return
    contenders = {name: contender for name, contender in contenders.items() if not name.startswith("TRL")}
    report("packing_real", f"real text, GPT-2's tokens: {options.text}", _real(_real_lengths(options.text), contenders))


def _contenders(path: Path) -> dict[str, Callable[[np.ndarray, int], dict[str, float]]]:
    """Each gives seconds, rows, tokens lost and documents cut for some lengths."""
    trl = _trl()

    def call_trl(lengths: np.ndarray, seq_len: int, overflow: str) -> dict[str, float]:
        np.save(path, lengths)
        return peers.call(trl, TRL, path, str(seq_len), overflow)  # type: ignore[return-value]

    return {
        "palimpsest, best_fit": lambda lengths, seq_len: ours(lengths, seq_len, "best_fit"),
        "palimpsest, concat": lambda lengths, seq_len: ours(lengths, seq_len, "concat"),
        "group_texts, batches of 1000": group_texts,
        "first fit in groups of 10k, as axolotl": first_fit,
        "TRL bfd (default: truncates)": lambda lengths, seq_len: call_trl(lengths, seq_len, "truncate"),
        "TRL bfd_split": lambda lengths, seq_len: call_trl(lengths, seq_len, "split"),
    }


def _trl() -> str:
    """TRL without its dependencies, beside the two that its packing imports."""
    python = peers.python("trl", "datasets==4.7.0", "transformers==5.23.0")
    if subprocess.run([python, "-c", "import importlib.metadata as m; m.version('trl')"], stderr=-3).returncode:
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "trl==1.16.0"], check=True)
    return python


def ours(lengths: np.ndarray, seq_len: int, method: str) -> dict[str, float]:
    """mix.pack."""
    from mix.pack import pack

    start = time.perf_counter()
    packing = pack(lengths, seq_len, method)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "rows": packing.rows, "lost": 0, "cut": packing.cut}


def group_texts(lengths: np.ndarray, seq_len: int) -> dict[str, float]:
    """The plan alone: where each batch's tokens end, and which documents lie across the end of a row."""
    start = time.perf_counter()
    rows = lost = cut = 0
    for first in range(0, len(lengths), 1000):
        ends = np.cumsum(lengths[first : first + 1000])
        begins = ends - lengths[first : first + 1000]
        total = int(ends[-1])
        kept = total // seq_len * seq_len if total >= seq_len else total
        rows += -(-kept // seq_len)
        lost += total - kept
        cut += int(((begins // seq_len != (ends - 1) // seq_len) & (ends > begins)).sum())
    return {"seconds": time.perf_counter() - start, "rows": rows, "lost": lost, "cut": cut}


def first_fit(lengths: np.ndarray, seq_len: int) -> dict[str, float]:
    """First fit in groups of 10,000 documents; longer ones than a row are left out."""
    start = time.perf_counter()
    kept = lengths[lengths <= seq_len]
    rows = sum(_first_fit(kept[first : first + 10_000], seq_len) for first in range(0, len(kept), 10_000))
    return {"seconds": time.perf_counter() - start, "rows": rows, "lost": int(lengths.sum() - kept.sum()), "cut": 0}


@numba.njit
def _first_fit(lengths, seq_len):  # type: ignore[no-untyped-def]
    spaces = np.empty(lengths.size, np.int64)
    rows = 0
    for length in lengths:
        for row in range(rows):
            if spaces[row] >= length:
                spaces[row] -= length
                break
        else:
            spaces[rows] = seq_len - length
            rows += 1
    return rows


def _shares(counts: dict[str, float], lengths: np.ndarray, seq_len: int) -> dict[str, object]:
    """Percent of places that are padding, of tokens lost, of documents cut."""
    tokens = float(lengths.sum())
    return {
        "padding %": 100 * (1 - (tokens - counts["lost"]) / (counts["rows"] * seq_len)) if counts["rows"] else None,
        "tokens lost %": 100 * counts["lost"] / tokens,
        "documents cut %": 100 * counts["cut"] / len(lengths),
    }


def _real_lengths(folder: Path) -> dict[str, np.ndarray]:
    """Tokens of every document of each source."""
    import polars as pl

    from tokenization.encode import Encoder

    with tempfile.TemporaryDirectory() as name:
        tokenizer = gzip.decompress((folder / "tokenizers" / "gpt2.tokenizer.json.gz").read_bytes())
        (Path(name) / "tokenizer.json").write_bytes(tokenizer)
        (Path(name) / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
        encoder = Encoder(name)
        return {
            file.name.split(".")[0]: encoder.encode(pl.read_ndjson(gzip.decompress(file.read_bytes()))["text"]).lengths
            for pool in ("domain", "general")
            for file in sorted((folder / pool).glob("*.jsonl.gz"))
        }


def _real(sources: dict[str, np.ndarray], contenders: dict[str, Callable]) -> dict[str, dict[str, object]]:
    """Every source packed by itself, added up; one line a length of row and contender."""
    everything = np.concatenate(list(sources.values()))
    table: dict[str, dict[str, object]] = {}
    for seq_len in SEQ_LENS:
        least = sum(-(-int(lengths.sum()) // seq_len) for lengths in sources.values())
        longer = 100 * float((everything > seq_len).mean())
        for name, contender in contenders.items():
            found = [contender(lengths, seq_len) for lengths in sources.values()]
            counts = {key: sum(one[key] for one in found) for key in ("rows", "lost", "cut")}
            shares = _shares(counts, everything, seq_len)
            over = 100 * (counts["rows"] / least - 1) if not counts["lost"] else None
            table[f"{seq_len}: {name}"] = {**shares, "over the least %": over, "longer than a row %": longer}
    return table


if __name__ == "__main__":
    main()
