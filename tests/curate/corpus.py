"""Small corpora for curation tests, and running a pipeline over them."""

import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from curate.curation import Curation, resolve_curation, run_curation
from pipelines import config

SUBJECTS = "The patient|The nurse|A young doctor|The laboratory|Our clinic|The family|This report|The surgeon".split(
    "|"
)
VERBS = "describes|observed|treated|recorded|reviewed|measured|discussed|reported|compared|followed".split("|")
OBJECTS = (
    "a mild fever|the blood pressure|an old fracture|the new therapy|two small lesions|a chronic cough|the scan".split(
        "|"
    )
)
ENDINGS = "in the morning|with great care|after the second visit|because of the pain|and the result was normal".split(
    "|"
)


def sentences(seed: int, count: int) -> str:
    """English text that differs from seed to seed: a made-up name in every sentence keeps documents apart."""
    draw = random.Random(seed)
    name = lambda: "".join(draw.choice("bdfgklmnprstvz") + draw.choice("aeiou") for _ in range(3)).title()  # noqa: E731
    pick = draw.choice
    return " ".join(
        f"{pick(SUBJECTS)} {name()} {pick(VERBS)} {pick(OBJECTS)} of {name()} {pick(ENDINGS)}." for _ in range(count)
    )


def write_lines(path: Path, records: list[Any]) -> Path:
    """Write JSON lines, gzip where the name says so; bytes go in as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in records)
    path.write_bytes(gzip.compress(lines, mtime=0) if path.suffix == ".gz" else lines)
    return path


def corpus(root: Path, documents: int = 60) -> Path:
    """Three sources, two pools, a duplicate in each source."""
    for number, (pool, name) in enumerate([("domain", "notes"), ("domain", "papers"), ("general", "news")]):
        texts = [sentences(number * 10_000 + k, 6 + k % 5) for k in range(documents)]
        texts[-1] = texts[0]
        write_lines(root / pool / f"{name}.jsonl.gz", [{"id": f"r{k}", "text": text} for k, text in enumerate(texts)])
    return root


def pipeline(root: Path, output: Path, stages: list[Any], **changes: Any) -> tuple[config.Pipeline, Path]:
    """A pipeline over `corpus(root)`, and the file it was read from."""
    values = {
        "name": "test",
        "model": "none",
        "data_root": str(root),
        "domain": ["domain/*"],
        "replay": ["general/*"],
        "output": str(output),
        "curate": {"executor": {"workers": 1}, "part_rows": 25, "stages": stages},
        "eval": {"held_out": 0.1},
    }
    path = root / "pipeline.yaml"
    path.write_text(yaml.safe_dump(values))
    return config.load(path, changes), path


def resolve(root: Path, output: Path, stages: list[Any], **changes: Any) -> Curation:
    """A resolved curation over `corpus(root)`."""
    made, path = pipeline(root, output, stages, **changes)
    return resolve_curation(made, str(path), lambda line: None)


def curate(root: Path, output: Path, stages: list[Any], **changes: Any) -> dict[str, Any]:
    """Run a curation; returns its manifest."""
    return run_curation(resolve(root, output, stages, **changes))


def curate_in_group(root: Path, output: Path, stages: list[Any]) -> None:
    """The same in a process group of its own, which dies as a whole."""
    os.setpgrp()
    curate(root, output, stages)


def kept(output: Path) -> list[str]:
    """Ids in documents/, in order."""
    return pl.read_parquet(sorted((output / "documents").rglob("*.parquet")))["id"].to_list()


def ledger(output: Path) -> pl.DataFrame:
    """All of removed/."""
    return pl.read_parquet(sorted((output / "removed").rglob("*.parquet")))


def bytes_of(output: Path) -> dict[str, bytes]:
    """Every file that a run promises, by its path."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for name in ("documents", "held_out", "removed", "edited")
        for path in sorted((output / name).rglob("*.parquet"))
    }
