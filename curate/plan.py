"""From the stage list of a pipeline file to what has to run: identities, folders, passes."""

import fnmatch
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import curate.stages  # noqa: F401  (registers every stage)
from curate.datatrove_step import check_name
from curate.files import file_identity, identity
from curate.passes import is_complete
from curate.sources import HTML_FORMATS, Source
from curate.stage import STAGES, Stage, Workspace
from pipelines.config import Pipeline

READ_VERSION = 1
"""Raised when reading gives other parts than before."""


@dataclass
class Step:
    """A stage with its place on disk."""

    stage: Stage
    identity: str
    """16 hex digits for the stage's keys, code version and everything before it."""
    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    """Identity of each file outside the run that the stage's verdicts depend on."""


@dataclass
class Pass:
    """Stages that one run over the parts serves; global ones stand last."""

    steps: list[Step] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the pass's log folder; it changes with any stage in it."""
        names = "+".join(step.stage.label for step in self.steps)[:80]
        return f"{identity([step.identity for step in self.steps])}-{names}"


def build_stages(pipeline: Pipeline, where: str) -> list[Stage]:
    """The stages in order, checked, with `held_out` last. Raises ValueError naming the key."""
    stages = [
        _stage(entry, pipeline.allows_imports, f"{where}: curate.stages[{index}]")
        for index, entry in enumerate(pipeline.curate.stages)
    ]
    if "held_out" in (names := [stage.name for stage in stages]):
        raise ValueError(
            f"{where}: curate.stages[{names.index('held_out')}]: held_out is always the last stage and is not listed. "
            "Take it out and set eval.held_out."
        )
    if pipeline.eval.held_out:
        stages.append(STAGES["held_out"](share=pipeline.eval.held_out))
    return stages


def build_steps(
    pipeline: Pipeline, where: str, sources: list[Source], benchmarks: list[str], work: Path
) -> tuple[Step, list[Step]]:
    """The reading step's place (as a Step without a stage of its own) and the steps of the stages, in order."""
    stages = build_stages(pipeline, where)
    _check_html(sources, stages, where)
    leading = editing_at_head(stages)
    read_files = {source.name: source.identity for source in sources}
    files = []
    for index, stage in enumerate(stages):
        used = benchmarks if stage.name == "decontaminate" else []
        place = f"{where}: curate.stages[{index}].{stage.label}"
        stage._workspace = Workspace(work, [], used, index < leading, place, read_files)
        _check_sources(stage, place, sorted(read_files))
        files.append({path: file_identity(path) for path in [*stage.inputs(), *used]})
    made_of = [[_keys(stage), list(held.values())] for stage, held in zip(stages, files, strict=True)]
    read_identity = identity(
        [
            READ_VERSION,
            [[source.pool, source.name, source.path, source.identity, *_reader(source)] for source in sources],
            pipeline.curate.part_rows,
            pipeline.curate.on_bad_record,
            made_of[:leading],
        ]
    )
    read_step = Step(Stage(), read_identity, work / f"{read_identity}-read")
    steps, before = [], read_identity
    for stage, made, held in zip(stages, made_of, files, strict=True):
        before = identity([before, *made])
        stage.workspace.folder = work / f"{before}-{stage.label}"
        steps.append(Step(stage, before, stage.workspace.folder, held))
    return read_step, steps


def editing_at_head(stages: list[Stage]) -> int:
    """How many editing stages stand at the head: they run while reading, so that texts are written once."""
    count = 0
    while count < len(stages) and stages[count].edits and not (stages[count].is_global or prepares(stages[count])):
        count += 1
    return count


def prepares(stage: Stage) -> bool:
    """Whether a stage must build something before the first part is judged."""
    return type(stage).prepare is not Stage.prepare


def passes(steps: list[Step], reading: bool) -> list[Pass]:
    """Group the steps that still have to run, in order; `reading` makes the first pass the one that reads the sources.

    A pass ends where the next stage needs a barrier: it prepares something from the parts, or a global stage before it
    has yet to decide. Global stages in a row are measured together, up to one that edits texts.
    """
    grouped = [Pass()] if reading else []
    for step in steps:
        last = grouped[-1].steps if grouped else []
        undecided = last and last[-1].stage.is_global and (last[-1].stage.edits or not step.stage.is_global)
        barrier = undecided or prepares(step.stage)
        if not grouped or barrier:
            grouped.append(Pass())
        grouped[-1].steps.append(step)
    return grouped


def _reader(source: Source) -> list[str]:
    return [*([source.reader, source.arguments] if source.reader else []), *([source.reformat] * bool(source.reformat))]


def _check_sources(stage: Stage, where: str, names: list[str]) -> None:
    if unknown := [one for one in stage.sources if not fnmatch.filter(names, one)]:
        raise ValueError(
            f"{where}.sources: {unknown[0]!r} matches no source, so {stage.label} would leave alone what it is to look "
            f"at. Name some of: {', '.join(names)}"
        )


def _check_html(sources: list[Source], stages: list[Stage], where: str) -> None:
    extracts = [stage for stage in stages if stage.name == "extract"]
    for source in sources:
        is_html = source.format in HTML_FORMATS and not source.reader
        if is_html and not any(stage.is_for(source.name) for stage in extracts):
            raise ValueError(
                f"{where}: {source.pool}: {source.path} is HTML and curate.stages has no `extract` for it, so its tags "
                "and scripts would be trained on. Put `- extract` first."
            )


def unfinished(steps: list[Step]) -> list[Step]:
    """The steps from the first one whose results are not on disk."""
    for index, step in enumerate(steps):
        if not is_complete(step.folder):
            return steps[index:]
    return []


def _stage(entry: Any, imports: bool, where: str) -> Stage:
    if isinstance(entry, str):
        name, keys = entry, dict[str, Any]()
    elif isinstance(entry, dict) and len(entry) == 1:
        name, keys = next(iter(entry.items()))
        keys = {} if keys is None else keys
    else:
        raise ValueError(f"{where}: {entry!r} is not a stage. Write a name, or one name with its keys: `name: {{…}}`.")
    if not (isinstance(name, str) and isinstance(keys, dict) and all(isinstance(key, str) for key in keys)):
        raise ValueError(f"{where}.{name}: {keys!r} is not a set of keys. Write {name}: {{key: value}}.")
    if "." in name:
        check_name(name, imports, where)
        arguments = {key: value for key, value in keys.items() if key != "sources"}
        kind, keys = "datatrove", {"step": name, "arguments": arguments, "sources": keys.get("sources", [])}
    elif (kind := name) not in STAGES:
        raise ValueError(
            f"{where}: there is no stage {name!r}. Known: {', '.join(sorted(STAGES))}, and datatrove's filters and "
            "formatters by their dotted names."
        )
    try:
        return STAGES[kind](**keys)
    except ValidationError as error:
        raise ValueError("\n".join(_explain(f"{where}.{name}", STAGES[kind], one) for one in error.errors())) from None


def _explain(where: str, stage: type[Stage], problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = [*(name for name in stage.model_fields if name != "sources"), "sources"]
        return f"{where}.{key}: there is no such key. Known here: {', '.join(known)}."
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return f"{where}.{key}: {message}" if key else f"{where}: {message}"
    return f"{where}.{key}: {problem['input']!r} cannot be used: {message[:1].lower()}{message[1:]}."


def _keys(stage: Stage) -> list[Any]:
    return [stage.name, stage.version, stage.model_dump(mode="json")]
