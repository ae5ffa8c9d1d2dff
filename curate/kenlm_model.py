"""KenLM language models: trained by its own lmplz, asked through `curate.kernels.kenlm_scores`."""

import functools
import math
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.files import aside
from curate.kernels.kenlm_scores import Tables, line_scores, read_tables

SPARSE = "2.5"
"""Slots per n-gram in the hash tables. KenLM's own 1.5 makes files 40 % smaller and questions 30 % slower."""


def train(
    lines: Iterable[pa.LargeStringArray], order: int, prune: int, model: Path, where: str, megabytes: int = 500
) -> None:
    """Train an n-gram model (modified Kneser-Ney, Heafield et al. 2013) on `lines` and write it as a binary file.

    N-grams of three or more words that were seen at most `prune` times are left out. `megabytes` is the memory lmplz
    sorts in; beyond that it sorts on disk.
    Raises ValueError where lmplz is not installed or cannot estimate a model from this text.
    """
    lmplz, build_binary = (_program(name, where) for name in ("lmplz", "build_binary"))
    model.parent.mkdir(parents=True, exist_ok=True)
    arpa = model.with_suffix(".arpa.tmp")
    try:
        # Orders that the text is too small for have no discounts to estimate: the fallback ones are Kneser-Ney's usual.
        command = [lmplz, "-o", str(order), "-S", f"{megabytes}M", "-T", str(model.parent), "--discount_fallback"]
        if prune and order > 2:
            command += ["--prune", "0", "0", str(prune)]
        _run([*command, "--arpa", str(arpa)], where, lines)
        with aside(model) as temporary:
            _run([build_binary, "-p", SPARSE, "probing", str(arpa), str(temporary)], where, ())
    finally:
        arpa.unlink(missing_ok=True)


def scores(model: Path, lines: pa.LargeStringArray, segment: int) -> pl.DataFrame:
    """What the model makes of each line: see `curate.kernels.kenlm_scores.line_scores`.

    Models that are no probing binary file (ARPA, trie) are asked through KenLM itself, four times as slowly.
    """
    loaded = _load(str(model))
    if isinstance(loaded, Tables):
        return line_scores(loaded, lines, segment)
    rows = [_line_scores(loaded, line, segment) for line in lines.to_pylist()]
    return pl.DataFrame(
        rows, {"log10": pl.Float64, "words": pl.Int64, "worst": pl.Float64, "worst_at": pl.Int64}, orient="row"
    )


def perplexity(log10: pl.Expr, words: pl.Expr) -> pl.Expr:
    """Perplexity per word; null where there is no word."""
    return pl.when(words > 0).then(10.0 ** (-log10 / words))


def check(model: str, where: str) -> None:
    """Raises ValueError where KenLM cannot read the file `model`; `where` names the key."""
    try:
        _load(model)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"{where}: {model} is no KenLM that can be read ({error}). Name an ARPA or binary file."
        ) from None


def warm_up() -> None:
    """Compile the kernels, so that the worker processes find them in numba's cache."""
    from curate.kenlm_text import normalized_lines

    empty = np.zeros(64, np.uint32)
    empty.flags.writeable = False  # as a mapped file is: kernels are compiled for one kind
    nothing = Tables(empty, np.array([0, 8, 16], np.int64), np.ones(3, np.uint64))
    line_scores(nothing, normalized_lines(pl.Series([""])), 1)


def _line_scores(model: Any, line: str, segment: int) -> tuple[float, int, float, int]:
    if not line:
        return 0.0, 0, 0.0, 0
    each = np.array([score[0] for score in model.full_scores(line)])
    sums = np.concatenate([[0.0], np.cumsum(each)])
    width = min(segment, len(each))
    means = (sums[width:] - sums[:-width]) / width
    return math.fsum(each), len(each), float(means.min()), int(means.argmin())


@functools.lru_cache(maxsize=4)
def _load(path: str) -> Any:
    """The model at `path`, loaded once a process: its tables, or KenLM's own object."""
    import kenlm

    return read_tables(Path(path)) or kenlm.Model(path)


def _program(name: str, where: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise ValueError(
            f"{where}: {name} is not installed, so no KenLM can be trained. "
            "Build it with `python -m curate.kenlm_build`, or name a trained model with `model:`."
        )
    return found


def _run(command: list[str], where: str, lines: Iterable[pa.LargeStringArray]) -> None:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stdin is not None and process.stderr is not None
    try:
        for block in lines:
            process.stdin.write("".join(f"{line}\n" for line in block.to_pylist() if line).encode())
        process.stdin.close()
    except BrokenPipeError:
        pass  # the program ended early; what it says below tells why
    said = process.stderr.read().decode(errors="replace")
    if process.wait():
        raise ValueError(f"{where}: {Path(command[0]).name} could not use this text: {said.strip()[-500:]}")
