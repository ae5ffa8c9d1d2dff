"""Which tasks' items curation was asked to remove from the text, and how many of the others' the text holds."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curate.benchmarks import BenchmarkItem, read_items
from pipelines.config import Pipeline

STAGE = "decontaminate"
BACKGROUND_DOCUMENTS = 4000
"""Documents of each file in which word rarity is counted at most, where the text is searched for items."""


@dataclass(frozen=True)
class Overlap:
    """One task."""

    items: int
    """Items of the task."""
    not_asked: int
    """Of these, items that curation was not asked to remove."""
    removed: int
    """Documents that curation removed for items of this benchmark."""
    held: int
    """Items not asked to be removed that the documents hold."""


def check(pipeline: Pipeline, names: list[str], paths: list[str]) -> dict[str, dict[str, int]]:
    """`Overlap` as a dict for each task; `paths` are the files that local tasks read.

    Raises ValueError naming the tasks whose items curation was not asked to remove, with the overlap found, unless
    eval.score_contaminated is set.
    """
    run = pipeline.folder
    asked, asked_tasks = _asked(run)
    removed = _removed(run)
    found: dict[str, Overlap] = {}
    for name in names:
        items = _items(name, paths, f"{run / 'pipeline.yaml'}: eval")
        left = [] if name in asked_tasks else [item for item in items if item.lead not in asked]
        benchmarks = {item.benchmark for item in items}
        documents = sum(removed.get(benchmark, 0) for benchmark in benchmarks)
        found[name] = Overlap(len(items), len(left), documents, len(held(left, run)))
    refused = {name: overlap for name, overlap in found.items() if overlap.not_asked}
    if refused and not pipeline.eval.score_contaminated:
        told = "; ".join(
            f"{name}: {overlap.not_asked:,} of {overlap.items:,} items, of which the documents hold {overlap.held:,}"
            for name, overlap in refused.items()
        )
        raise ValueError(
            f"{run / 'pipeline.yaml'}: eval.domain, eval.general: curation was not asked to remove the items of "
            f"{', '.join(refused)} from the text, so a score may show what was read, not what was learned ({told}). "
            f"List the items under benchmarks and `{STAGE}` under curate.stages and run curate.run again, take the "
            "tasks out, or set eval.score_contaminated: true."
        )
    return {name: asdict(overlap) for name, overlap in found.items()}


def held(items: list[BenchmarkItem], run: Path) -> set[int]:
    """Numbers of the items that the run's documents hold, as the stage decontaminate would find them."""
    from curate.contamination_index import build
    from curate.decontaminate import Decontaminate
    from curate.kernels.contamination_spans import find_spans

    files = sorted((run / "documents").glob("*/*/*.parquet"))
    if not items or not files:
        return set()
    background = pl.concat([pl.read_parquet(file, columns=["text"], n_rows=BACKGROUND_DOCUMENTS) for file in files])
    threshold = Decontaminate.model_fields["threshold"].default
    leads, rests = [item.lead for item in items], [item.rest for item in items]
    index = build(leads, rests, [item.has_passage for item in items], background["text"], threshold)
    found: set[int] = set()
    for file in files:
        for _, spans in find_spans(index, pl.read_parquet(file, columns=["text"])["text"]):
            found |= {number for span in spans for number, _ in span.items}
    return found


def _asked(run: Path) -> tuple[set[str], set[str]]:
    """What curation looked for: leads of items in files, names of lm-eval tasks. Empty where it did not."""
    from curate.read_manifest import read_manifest
    from curate.sources import benchmark_files
    from pipelines import config

    manifest = run / "manifest.json"
    if not manifest.exists():
        return set(), set()
    if not any(stage["name"].startswith(STAGE) for stage in read_manifest(manifest, stages=list)["stages"]):
        return set(), set()
    curated = config.load(run / "pipeline.yaml")
    if curated.mix.token_files:  # which curation has not seen
        return set(), set()
    entries = [{one: {}} if isinstance(one, str) else one for one in curated.curate.stages]
    keys: list[dict[str, Any]] = [entry[STAGE] or {} for entry in entries if STAGE in entry]
    keys = [one for one in keys if not one.get("sources")]  # what some sources were freed of, others may hold
    if not keys:
        return set(), set()
    paths = benchmark_files(curated, str(run / "pipeline.yaml"))
    leads = {item.lead for item in read_items(paths, str(run / "pipeline.yaml"))} if paths else set()
    return leads, {name for one in keys for name in one.get("tasks", [])}


def _removed(run: Path) -> dict[str, int]:
    """Documents that the ledger names as removed for an item of each benchmark."""
    counts: dict[str, int] = {}
    for file in sorted((run / "removed").glob(f"{STAGE}*/*.parquet")):
        for detail in pl.read_parquet(file, columns=["detail"])["detail"]:
            benchmark = json.loads(detail)["benchmark"]
            counts[benchmark] = counts.get(benchmark, 0) + 1
    return counts


def _items(name: str, paths: list[str], where: str) -> list[BenchmarkItem]:
    from curate.benchmark_tasks import task_items
    from eval.benchmarks import HUB, local_benchmark

    benchmark = local_benchmark(name)
    if benchmark is None:
        return task_items([name.removeprefix(HUB)], [], where)
    return [item for item in read_items(paths, where) if item.benchmark == benchmark]
