"""Keys of the `curate:` section."""

from typing import Any, Literal

from pydantic import Field

from pipelines.section import Section


class Executor(Section):
    """Which datatrove executor runs the curation passes."""

    kind: Literal["local"] = "local"
    """Executor of datatrove: local (processes on this machine)."""
    workers: int = Field(2, ge=1)
    """Processes at a time; the result does not depend on it."""


class Files(Section):
    """Files that a datatrove reader of your choice reads, where a plain glob would not do."""

    files: str
    """Glob under data_root; a source is a file."""
    reader: str
    """Dotted name of a datatrove reader of files, e.g. datatrove.pipeline.readers.CSVReader."""
    arguments: dict[str, Any] = {}
    """Arguments of the reader, e.g. {text_key: note}."""


class CurateConfig(Section):
    """Curation: the stages in order and how they are run."""

    executor: Executor = Executor()
    """Which datatrove executor runs the passes."""
    on_bad_record: Literal["quarantine", "stop"] = "quarantine"
    """An unreadable record goes to the ledger (quarantine) or ends the run (stop)."""
    part_rows: int = Field(20_000, ge=1)
    """Documents per part, the unit of work and of resuming; memory grows with it."""
    stages: list[Any] = []
    """Stages in order: a name, or {name: {key: value}}; `--stages-help` lists them with their keys."""
