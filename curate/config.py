"""Keys of the `curate:` section."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pipelines.section import Section


class Executor(Section):
    """Which datatrove executor runs the curation passes."""

    kind: Literal["local"] = "local"
    """Executor of datatrove: local (processes on this machine)."""
    workers: int = Field(2, ge=1)
    """Processes at a time; the result does not depend on it."""


class Reformat(Section):
    """How records become running text: the keys that they are made of."""

    kind: Literal["qa"] = "qa"
    """qa: a question, its answer, and options and context where there are some, in templates that vary."""
    question: str = "question"
    """Key of the question; a record without is unreadable."""
    options: str = "options"
    """Key of the options: a list of texts, or texts by letter; a record without is a question of its own."""
    answer: str = "answer"
    """Key of the answer: with options one of their texts, their letters or its number from 0 on, else a text."""
    context: str = "context"
    """Key of a text that the question is about; a record without has none."""
    seed: int = 0
    """Draws the template of each record, together with its id."""


class Files(Section):
    """Files that are read otherwise than a plain glob's: by a datatrove reader, or with their records reformatted."""

    files: str
    """Glob under data_root; a source is a file."""
    reader: str = ""
    """Dotted name of a datatrove reader of files, e.g. datatrove.pipeline.readers.CSVReader; empty takes the one for
    the file's ending."""
    arguments: dict[str, Any] = {}
    """Arguments of the reader, e.g. {text_key: note}."""
    reformat: Annotated[Reformat | None, BeforeValidator(lambda value: {} if value == "qa" else value)] = None
    """qa makes running text of question-answer records (JSON lines, Parquet, or what `reader` gives) before anything
    else sees them; {question: KEY, options: KEY, answer: KEY, context: KEY, seed: N} where their keys are others. none,
    the default, takes their text."""

    @model_validator(mode="after")
    def _is_read_otherwise(self) -> "Files":
        if not self.reader and (self.reformat is None or self.arguments):
            raise ValueError("files: arguments need a reader, and files without reader and reformat are a plain glob")
        return self


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
