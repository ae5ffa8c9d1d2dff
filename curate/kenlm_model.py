"""KenLM language models: trained by its own lmplz, queried from Python."""

import functools
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from curate.files import aside


def normalized_lines(text: pl.Series) -> pl.Series:
    """What the model is trained on and asked: one line a document, lower case, digits as 0, words only."""
    return (
        text.str.to_lowercase()
        .str.replace_all(r"\p{N}+", "0")
        .str.replace_all(r"[^\p{L}\p{M}0']+", " ")
        .str.strip_chars()
    )


def train(lines: Iterable[pl.Series], order: int, model: Path, where: str, megabytes: int = 500) -> None:
    """Train an n-gram model (modified Kneser-Ney, Heafield et al. 2013) on `lines` and write it as a binary file.

    `megabytes` is the memory lmplz sorts in; beyond that it sorts on disk.
    Raises ValueError where lmplz is not installed or cannot estimate a model from this text.
    """
    lmplz, build_binary = (_program(name, where) for name in ("lmplz", "build_binary"))
    model.parent.mkdir(parents=True, exist_ok=True)
    arpa = model.with_suffix(".arpa.tmp")
    try:
        # Orders that the text is too small for have no discounts to estimate: the fallback ones are Kneser-Ney's usual.
        command = [
            lmplz,
            "-o",
            str(order),
            "-S",
            f"{megabytes}M",
            "-T",
            str(model.parent),
            "--discount_fallback",
            "--arpa",
            str(arpa),
        ]
        _run(command, where, lines)
        with aside(model) as temporary:
            _run([build_binary, "probing", str(arpa), str(temporary)], where, ())
    finally:
        arpa.unlink(missing_ok=True)


def perplexities(model: Path, lines: pl.Series) -> Iterator[float | None]:
    """Perplexity per word of each line, the line's end counted as a word; None for a line without words."""
    score = load(str(model)).score
    for line in lines:
        words = line.count(" ") + 2 if line else 0
        yield 10.0 ** (-score(line) / words) if words else None


@functools.lru_cache(maxsize=4)
def load(path: str) -> Any:
    """The model at `path`, loaded once a process."""
    import kenlm

    return kenlm.Model(path)


def _program(name: str, where: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise ValueError(
            f"{where}: {name} is not installed, so no KenLM can be trained. "
            "Build it with `python -m curate.kenlm_build`, or name a trained model with `model:`."
        )
    return found


def _run(command: list[str], where: str, lines: Iterable[pl.Series]) -> None:
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stderr is not None
    try:
        for block in lines:
            process.stdin.write("\n".join(block) + "\n")
        process.stdin.close()
    except BrokenPipeError:
        pass  # the program ended early; what it says below tells why
    said = process.stderr.read()
    if process.wait():
        raise ValueError(f"{where}: {Path(command[0]).name} could not use this text: {said.strip()[-500:]}")
