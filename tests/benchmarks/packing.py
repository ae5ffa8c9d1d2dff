"""Packing 1M documents into rows of 4096: seconds, padding, documents cut.

    python tests/benchmarks/packing.py [--documents 1000000] [--seq-len 4096]

Lengths are log-normal (median 493 tokens). The peers' algorithms are written out here, as their packages plan with
Python lists: best fit over a sorted list of free spaces (TRL's strategy) and concatenate-and-chunk.
"""

import argparse
import bisect
from collections import defaultdict

import numpy as np
from timing import interleaved, report


def main() -> None:
    """Print the table."""
    from mix.pack import pack

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--seq-len", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    seq_len = options.seq_len
    lengths = np.random.default_rng(0).lognormal(6.2, 1.1, options.documents).clip(16, 200_000).astype(np.int64)
    pack(lengths[:1000], seq_len)  # compiles
    contenders = {
        "palimpsest, windowed best fit": lambda: pack(lengths, seq_len),
        "concatenate and chunk": lambda: np.cumsum(lengths) // seq_len,
        "best fit over a sorted list": lambda: best_fit(lengths, seq_len),
    }
    rows: dict[str, dict[str, object]] = {
        name: {**taken} for name, taken in interleaved(contenders, options.rounds).items()
    }
    tokens = int(lengths.sum())
    ends = np.cumsum(lengths)
    chunked = ((ends - lengths) // seq_len != (ends - 1) // seq_len).mean()
    for name, count, cut in (
        ("palimpsest, windowed best fit", pack(lengths, seq_len).rows, (lengths > seq_len).mean()),
        ("concatenate and chunk", -(-tokens // seq_len), chunked),
        ("best fit over a sorted list", best_fit(lengths, seq_len), (lengths > seq_len).mean()),
    ):
        rows[name] |= {"padding %": 100 * (1 - tokens / (count * seq_len)), "documents cut %": 100 * float(cut)}
    report("packing", f"{options.documents:,} documents, {tokens:,} tokens, rows of {seq_len}", rows)


def best_fit(lengths: np.ndarray, seq_len: int) -> int:
    """Rows that best-fit-decreasing opens, in Python."""
    pieces = [seq_len] * int((lengths // seq_len).sum()) + [int(rest) for rest in lengths % seq_len if rest]
    free: list[int] = []
    open_rows: dict[int, int] = defaultdict(int)
    rows = 0
    for piece in sorted(pieces, reverse=True):
        at = bisect.bisect_left(free, piece)
        if at == len(free):
            rows += 1
            space = seq_len
        else:
            space = free[at]
            open_rows[space] -= 1
            if not open_rows[space]:
                free.pop(at)
        if left := space - piece:
            if not open_rows[left]:
                bisect.insort(free, left)
            open_rows[left] += 1
    return rows


if __name__ == "__main__":
    main()
