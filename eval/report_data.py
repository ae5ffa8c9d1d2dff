"""What a run has left on disk, for the report: a part that is not there yet is None, a damaged one is an error."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from curate.files import read_json
from curate.read_manifest import read_manifest
from mix.journal import read_lines
from pipelines.config import Pipeline

EXAMPLES = 3
"""Documents shown per reason."""
PAIRS = 6
"""Near-duplicate pairs shown."""
PAGES = {"pilot/pilot.html": "the pilot", "eval/replay_sweep.html": "the replay sweep"}
"""Pages of other commands, by their path in the run folder."""


@dataclass(frozen=True)
class Run:
    """A run folder, read."""

    pipeline: Pipeline
    """As the training run was made with it, where there is one."""
    manifest: dict[str, Any] | None
    extension: dict[str, Any] | None
    fertility: dict[str, Any] | None
    mixture: dict[str, Any] | None
    steps: list[dict[str, Any]]
    """Lines of metrics.jsonl that hold a training step."""
    evaluations: list[dict[str, Any]]
    """Lines of metrics.jsonl that hold an evaluation."""
    rolled_back: list[dict[str, Any]]
    """Lines of metrics.rolled_back.jsonl: steps and evaluations that were made and given up."""
    journal: list[dict[str, Any]]
    made_with: dict[str, Any]
    """config.json of the training run, empty where there is none."""
    checkpoints: list[dict[str, Any]]
    """Those that are kept, by step: step, bytes, identity."""
    exports: list[dict[str, Any]]
    """export.json of the models written out, each with its folder."""
    generations: dict[int, list[dict[str, Any]]] = field(repr=False)
    """Step -> texts written after the prompts: track, prompt, text, repetition."""
    plan: dict[str, Any] | None
    """What train.plan wrote."""
    scores: dict[str, Any] | None
    """Of this training run: scores.json has those of one, and of another they would tell nothing."""
    selection: dict[str, Any] | None
    """What eval.select wrote for this training run."""
    pages: list[tuple[str, str]]
    """Path in the run folder and name of pages that other commands have written there."""
    examples: pl.DataFrame = field(repr=False)
    """Ledger rows to show, EXAMPLES per stage and reason: stage, reason, id, origin, detail, excerpt."""
    edits: pl.DataFrame = field(repr=False)
    """Edits to show, EXAMPLES per stage and reason: stage, reason, id, origin, detail, before, after."""
    duplicates: list[dict[str, Any]] = field(repr=False)
    """Near-duplicate pairs from the least to the most similar: id, excerpt, other, other_excerpt, similarity."""


def read(pipeline: Pipeline) -> Run:
    """Read everything the report shows. Raises ValueError where there is no run, or where a file is damaged."""
    folder = pipeline.folder
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such run. Start with: python -m curate.run pipelines/clinical.yaml")
    training = folder / "train" / pipeline.train.run
    others = {one.parent.name for one in folder.glob("train/*/config.json") if not one.parent.name.startswith("pilot-")}
    if others and pipeline.train.run not in others:
        raise ValueError(
            f"{training}: there is no such training run, so the report would be without one. There are: "
            f"{', '.join(sorted(others))}; name one with --train.run."
        )
    lines = _lines(training / "metrics.jsonl")
    made_with = _optional(training / "config.json") or {}
    ledger = _ledger(folder / "removed")
    scores = _optional(folder / "eval" / "scores.json")
    return Run(
        pipeline=_as_trained(pipeline, made_with),
        manifest=_manifest(folder / "manifest.json"),
        extension=_optional(folder / "tokenizer" / "extension.json"),
        fertility=_optional(folder / "tokenizer" / "fertility.json"),
        mixture=_optional(folder / "mixture.json"),
        steps=_last_of_each_step(line for line in lines if "loss" in line),
        evaluations=_last_of_each_step(line for line in lines if "eval" in line),
        rolled_back=_lines(training / "metrics.rolled_back.jsonl"),
        journal=_lines(training / "journal.jsonl"),
        made_with=made_with,
        checkpoints=_checkpoints(training / "checkpoints"),
        exports=[
            {"folder": path.parent.relative_to(folder).as_posix(), **read_json(path)}
            for path in sorted([*training.glob("*/export.json"), *training.glob("exports/*/export.json")])
        ],
        generations={
            int(path.stem.removeprefix("step-")): _generations(path) for path in training.glob("generations/*.jsonl")
        },
        plan=_optional(folder / "plan.json"),
        scores=scores if scores and scores.get("training_run") == pipeline.train.run else None,
        selection=_optional(folder / "eval" / f"selection-{pipeline.train.run}.json"),
        pages=[(path, name) for path, name in PAGES.items() if (folder / path).is_file()],
        examples=_examples(ledger, "excerpt"),
        edits=_examples(_edited(folder / "edited"), "before", "after"),
        duplicates=_duplicates(ledger, folder),
    )


def _as_trained(pipeline: Pipeline, made_with: dict[str, Any]) -> Pipeline:
    """The pipeline with the keys of training and evaluation that the training run has, whatever its file says now."""
    from eval.sweep_arms import with_keys

    if not made_with:
        return pipeline
    kept = {key: value for key, value in made_with.items() if key.startswith(("train.", "eval.")) or key == "model"}
    return with_keys(pipeline, kept | {"phases": made_with.get("phases", [])})


def _checkpoints(folder: Path) -> list[dict[str, Any]]:
    from train import checksums

    found = []
    for step in sorted(checksums.steps(folder)):
        whole = read_json(folder / f"step-{step}" / checksums.COMPLETE)
        held = sum(file["bytes"] for file in whole["files"].values())
        found.append({"step": step, "bytes": held, "identity": whole["identity"]})
    return found


def _optional(path: Path) -> Any:
    return read_json(path) if path.exists() else None


def _manifest(path: Path) -> Any:
    return read_manifest(path) if path.exists() else None


def _generations(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise ValueError(f"{path}: is damaged ({error}), so its texts cannot be shown. Delete it.") from None


def _lines(path: Path) -> list[dict[str, Any]]:
    return read_lines(path) if path.exists() else []


def _last_of_each_step(lines: Any) -> list[dict[str, Any]]:
    """By step; where a resumed run wrote a step twice the later line counts."""
    return [line for _, line in sorted({line["step"]: line for line in lines}.items())]


def _ledger(folder: Path) -> pl.LazyFrame | None:
    files = sorted(folder.glob("*/*.parquet"))
    if not files:
        return None
    columns = {"stage": pl.String, "reason": pl.String, "id": pl.String, "origin": pl.String, "detail": pl.String}
    frames = []
    for file in files:
        frame = pl.scan_parquet(file)
        excerpt = pl.col("excerpt") if "excerpt" in frame.collect_schema() else pl.lit(None, pl.String).alias("excerpt")
        frames.append(frame.select(*columns, excerpt))
    return pl.concat(frames)


def _edited(folder: Path) -> pl.LazyFrame | None:
    files = sorted(folder.glob("*/*.parquet"))
    return pl.scan_parquet(files) if files else None


def _examples(ledger: pl.LazyFrame | None, *texts: str) -> pl.DataFrame:
    """The first, the middle and the last row of each reason, in the ledger's order, with its columns of text."""
    columns = ("stage", "reason", "id", "origin", "detail", *texts)
    if ledger is None:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    place, last = pl.int_range(pl.len()), pl.len() - 1
    spread = [place == last * step // (EXAMPLES - 1) for step in range(EXAMPLES)]
    return ledger.select(columns).filter(pl.any_horizontal(spread).over("stage", "reason")).collect()


def _duplicates(ledger: pl.LazyFrame | None, folder: Path) -> list[dict[str, Any]]:
    if ledger is None:
        return []
    details = pl.Struct({"duplicate_of": pl.String, "similarity": pl.Float64})
    found = (
        ledger.filter(pl.col("stage") == "near_dedup")
        .with_columns(pl.col("detail").str.json_decode(details).struct.unnest())
        .drop_nulls("duplicate_of")
        .select("id", "excerpt", "duplicate_of", "similarity")
        .sort("similarity", "id")
        .collect()
    )
    chosen = found[[round(step * (found.height - 1) / max(1, PAIRS - 1)) for step in range(min(PAIRS, found.height))]]
    texts = _texts(folder, chosen["duplicate_of"])
    return [
        {**row, "other": row["duplicate_of"], "other_excerpt": texts.get(row["duplicate_of"])}
        for row in chosen.iter_rows(named=True)
    ]


def _texts(folder: Path, ids: pl.Series) -> dict[str, str]:
    """Texts of documents that were kept or held out, sought among the files of the sources that the ids name."""
    texts: dict[str, str] = {}
    for source in sorted({id.partition("/")[0] for id in ids}):
        for file in sorted(folder.glob(f"*/*/{source}/*.parquet")):
            if file.relative_to(folder).parts[0] in ("documents", "held_out"):
                found = pl.scan_parquet(file).select("id", "text").filter(pl.col("id").is_in(ids.to_list())).collect()
                texts.update(found.iter_rows())
    return texts
