"""Runs the stages of a pipeline over its sources: reading, passes, barriers, the final write."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curate.documents import WriteDocuments, put_in_place
from curate.generated import write_generated
from curate.manifest import rows_in, write_manifest
from curate.parts import LEDGER, Part, record_decided
from curate.passes import LoadParts, ReadSources, Runner, SaveParts, is_complete, mark_complete, parts_in
from curate.plan import Pass, Step, build_steps, editing_at_head, passes, prepares, unfinished
from curate.progress import Tally, rate
from curate.read_manifest import read_manifest
from curate.sources import Source, benchmark_files, resolve
from pipelines.config import Pipeline


@dataclass
class Curation:
    """A resolved curation: what will run and where it lies."""

    pipeline: Pipeline
    sources: list[Source]
    benchmarks: list[str]
    read: Step
    steps: list[Step]
    say: Callable[[str], None]
    """Called with a line of progress before each thing that takes time."""

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.pipeline.folder

    @property
    def work(self) -> Path:
        """Where intermediate results lie."""
        return self.folder / "work"

    @property
    def todo(self) -> list[Step]:
        """The stages whose results are not on disk."""
        return unfinished(self.steps) if is_complete(self.read.folder) else self.steps

    @property
    def labels(self) -> list[str]:
        """The stages' names, a number added where a name comes again."""
        seen: Counter[str] = Counter()
        labels = []
        for step in self.steps:
            label = step.stage.label
            seen[label] += 1
            labels.append(f"{label}-{seen[label]}" if seen[label] > 1 else label)
        return labels


def resolve_curation(pipeline: Pipeline, where: str, say: Callable[[str], None]) -> Curation:
    """Check the pipeline against the disk. Raises ValueError naming the key that cannot be used."""
    _check_folder(pipeline.folder, where)
    sources = resolve(pipeline, where)
    benchmarks = benchmark_files(pipeline, where)
    read, steps = build_steps(pipeline, where, sources, benchmarks, pipeline.folder / "work")
    return Curation(pipeline, sources, benchmarks, read, steps, say)


def _check_folder(folder: Path, where: str) -> None:
    if set(str(folder)) & set("*?[]"):
        raise ValueError(
            f"{where}: output: {folder} has one of * ? [ ], which stand for other names. Name another folder."
        )
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{where}: output: {folder} is a file, so the run cannot be written there. Name a folder.")


def run_curation(curation: Curation) -> dict[str, Any]:
    """Do what is not done yet and return the manifest. A killed run goes on from what is on disk."""
    if _is_finished(curation):
        return read_manifest(curation.folder / "manifest.json", kept=dict, stages=list)
    (curation.folder / "manifest.json").unlink(missing_ok=True)
    runner = Runner(curation.work / "logs", curation.pipeline.curate.executor)
    reading = not is_complete(curation.read.folder)
    if reading:
        write_generated(curation.pipeline, curation.sources, curation.say)
    todo = passes(curation.todo, reading)
    fused = False
    for index, one in enumerate(todo):
        fused = index == len(todo) - 1 and not (one.steps and one.steps[-1].stage.is_global)
        _run_pass(curation, runner, one, reading and index == 0, fused)
    if not fused:
        _run_pass(curation, runner, Pass(), reading=False, writes=True)
    # From here on the staged files move away, so the markers that say they are there must not survive.
    runner.forget(_pass_name(curation, Pass(), True))
    put_in_place(_staged(curation), curation.folder)
    manifest = write_manifest(curation.folder, curation.pipeline.name, curation.read, curation.steps, curation.labels)
    _remove_stale(curation)
    return manifest


def run_only(curation: Curation, label: str) -> pl.DataFrame:
    """Run one stage on what is on disk and return its ledger; documents/ and removed/ stay as they are.

    Raises ValueError where there is no such stage or a stage before it has not run.
    """
    if label not in curation.labels:
        raise ValueError(f"--only: there is no stage {label!r} here. Stages: {', '.join(curation.labels)}.")
    index = curation.labels.index(label)
    step, todo = curation.steps[index], curation.todo
    if missing := [name for name, one in zip(curation.labels[:index], curation.steps, strict=False) if one in todo]:
        raise ValueError(
            f"--only {label}: the stages before it have no results on disk ({', '.join(missing)}), so there is nothing "
            "to run it on. Run the pipeline once, or those stages one by one."
        )
    if not is_complete(curation.read.folder):
        raise ValueError(f"--only {label}: the sources have not been read yet. Run the pipeline once.")
    if step in todo:
        runner = Runner(curation.work / "logs", curation.pipeline.curate.executor)
        _run_pass(curation, runner, Pass([step]), reading=False, writes=False)
    files = [step.folder / "verdicts" / f"{part.key}.parquet" for part in _parts(curation, step)]
    frames = [pl.read_parquet(path) for path in files if path.exists()]
    return pl.concat(frames) if frames else pl.DataFrame(schema=LEDGER)


def _run_pass(curation: Curation, runner: Runner, one: Pass, reading: bool, writes: bool) -> None:
    parts = [] if reading else _parts(curation, one.steps[0] if one.steps else None)
    for step in one.steps:
        if prepares(step.stage):
            _prepare(curation, runner, step, parts)
    for step in one.steps:
        step.stage.warm_up()
    tasks = len(curation.sources) if reading else len(parts)
    names = ["read"] * reading + [step.stage.label for step in one.steps] + ["write"] * writes
    curation.say(f"{', '.join(names)}: {tasks} {'sources' if reading else 'parts'}")
    tally = runner.tally(_pass_name(curation, one, writes))
    whole = sum(source.bytes for source in curation.sources) if reading else len(parts)
    steps = _pass_steps(curation, one, parts, reading, writes, tally)
    done = runner.parts(_pass_name(curation, one, writes), tasks, steps, whole)
    curation.say(f"  {done.documents:,} documents, {done.bytes / 1e6:.1f} MB in {done.seconds:.1f} s: {rate(done)}")
    head = editing_at_head([step.stage for step in one.steps]) if reading else 0
    for step in one.steps[:head]:  # before `read`: where one is not done, reading is not, with which alone it can run
        mark_complete(step.folder, runner.seconds(step.stage.label))
    if reading:
        mark_complete(curation.read.folder, runner.seconds("read"))
    for step in one.steps[head:]:
        if step.stage.is_global:
            _decide(curation, runner, step)
        mark_complete(step.folder, runner.seconds(step.stage.label))


def _pass_steps(
    curation: Curation, one: Pass, parts: list[Part], reading: bool, writes: bool, tally: Tally
) -> list[Any]:
    head: list[Any] = [LoadParts(parts, tally)]
    stages = [step.stage for step in one.steps]
    if reading:
        keys = curation.pipeline.curate
        editing = editing_at_head(stages)
        hidden = any(stage.name == "redact" for stage in stages[:editing])
        stop = keys.on_bad_record == "stop"
        reader = ReadSources(curation.sources, curation.read.folder, keys.part_rows, stop, hidden, tally)
        head, stages = [reader, *stages[:editing], SaveParts()], stages[editing:]
    return [*head, *stages, *([_writer(curation)] if writes else [])]


def _pass_name(curation: Curation, one: Pass, writes: bool) -> str:
    if not one.steps:
        return f"{_last_identity(curation)}-{'write' if writes else 'read'}"
    return one.name + "+write" * writes


def _writer(curation: Curation) -> WriteDocuments:
    ledgers = [("read", curation.read.folder)]
    ledgers += zip(curation.labels, [step.folder for step in curation.steps], strict=True)
    held_out = next((step.folder for step in curation.steps if step.stage.name == "held_out"), None)
    return WriteDocuments(_staged(curation), ledgers, held_out)


def _parts(curation: Curation, step: Step | None) -> list[Part]:
    """All parts as `step` sees them, or as they are after the last stage."""
    before = curation.steps[: curation.steps.index(step)] if step else curation.steps
    folders = [earlier.folder for earlier in before]
    return [part.behind(folders) for part in parts_in(curation.read.folder, curation.sources)]


def _prepare(curation: Curation, runner: Runner, step: Step, parts: list[Part]) -> None:
    if is_complete(step.folder / "prepared"):
        return
    curation.say(f"{step.stage.label}: prepare")
    step.stage.workspace.parts = parts
    runner.once(f"{step.identity}-prepare", step.stage.label, step.stage.prepare)
    step.stage.workspace.parts = []
    mark_complete(step.folder / "prepared", runner.seconds(step.stage.label))


def _decide(curation: Curation, runner: Runner, step: Step) -> None:
    curation.say(f"{step.stage.label}: decide")
    parts = [part for part in _parts(curation, step) if step.stage.is_for(part.source)]

    def decide() -> None:
        measured = Measured(step.folder, parts)
        for part, frame, verdicts in zip(parts, measured, step.stage.decide(measured), strict=True):
            record_decided(step.folder, part, frame, verdicts)

    runner.once(f"{step.identity}-decide", step.stage.label, decide)


@dataclass
class Measured:
    """What a global stage measured, part by part in global order; it can be gone through more than once."""

    folder: Path
    parts: list[Part]

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for part in self.parts:
            yield part.left(pl.read_parquet(self.folder / "measured" / f"{part.key}.parquet"))


def _is_finished(curation: Curation) -> bool:
    """Whether documents/ is what this pipeline makes, by identity and by count."""
    if curation.todo or not (curation.folder / "manifest.json").exists():
        return False
    manifest = read_manifest(curation.folder / "manifest.json", kept=dict, held_out=dict, identity=str)
    kept = sum(pool["documents"] for pool in manifest["kept"].values())
    held_out = sum(pool["documents"] for pool in manifest["held_out"].values())
    found = rows_in(curation.folder / "documents"), rows_in(curation.folder / "held_out")
    return manifest["identity"] == _last_identity(curation) and found == (kept, held_out)


def _last_identity(curation: Curation) -> str:
    return curation.steps[-1].identity if curation.steps else curation.read.identity


def _staged(curation: Curation) -> Path:
    return curation.work / f"{_last_identity(curation)}-write"


def _remove_stale(curation: Curation) -> None:
    """Remove what earlier versions of the pipeline left; logs stay, they are small and tell what happened.

    Not so datatrove's completion markers: an earlier version may come back, and its results are gone.
    """
    for markers in (curation.work / "logs").glob("*/completions"):
        shutil.rmtree(markers)
    current = {curation.read.folder, *(step.folder for step in curation.steps), curation.work / "logs"}
    for folder in curation.work.iterdir():
        if folder not in current:
            shutil.rmtree(folder)
