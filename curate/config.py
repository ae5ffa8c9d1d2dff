"""Keys of the `curate:` section."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pipelines.section import Section

Word = Annotated[str, Field(pattern=r"^\S*$", coerce_numbers_to_str=True)]
"""A value in a line of a batch script; with white space it could be more than one."""

OF_KIND = {"ray": {"cpus", "memory"}, "slurm": {"cpus", "memory", "partition", "hours", "sbatch"}}
"""Keys of an executor that mean something for one kind only."""
OWN = {"array", "dependency", "job-name", "output", "error", "wait"}
"""Arguments of sbatch that the executor gives."""


class Executor(Section):
    """Which datatrove executor runs the tasks of a pass; the result does not depend on it (curate/executors.py)."""

    kind: Literal["local", "ray", "slurm"] = "local"
    """Executor of datatrove: local (processes on this machine), ray (the cluster RAY_ADDRESS names, or the one started
    on this machine) or slurm (array jobs, submitted by the command, which waits for them). For ray and slurm, run
    folder, text, models and this project lie on a file system that all nodes see under the same paths."""
    tasks: int = Field(1000, ge=1)
    """Most tasks a pass is cut into; a task is some sources or parts, and what is repeated after a failure."""
    workers: int = Field(2, ge=1)
    """Tasks at a time."""
    cpus: int = Field(1, ge=1)
    """Cores a task asks the cluster for; ray and slurm only."""
    memory: int = Field(2, ge=1)
    """Memory a task asks for, in GiB per core; ray and slurm only."""
    partition: Word = ""
    """Slurm's partition; needed by slurm."""
    hours: float = Field(24, gt=0)
    """Hours a task may take, within the partition's limit, or Slurm lets it wait for ever; slurm only."""
    sbatch: dict[Annotated[str, Field(pattern=r"^[a-z-]+$")], Word] = {}
    """Further arguments of sbatch by their long names, e.g. {account: bio, qos: low}; none by default, slurm only."""

    @model_validator(mode="after")
    def _fit_the_kind(self) -> "Executor":
        fields = type(self).model_fields
        changed = [key for key in fields if getattr(self, key) != fields[key].default]
        of_one_kind = set.union(*OF_KIND.values())
        if lost := [key for key in changed if key in of_one_kind - OF_KIND.get(self.kind, set())]:
            raise ValueError(f"{lost[0]} means nothing with kind: {self.kind}; leave it out, or take another kind")
        if taken := sorted(OWN & self.sbatch.keys()):
            raise ValueError(f"sbatch: {taken[0]} is set by the executor, which waits for its jobs by it; take it out")
        if self.kind == "slurm" and not self.partition:
            raise ValueError("kind: slurm needs a partition; `sinfo` lists them")
        return self


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


class Generated(Section):
    """Documents that the base model writes itself, where its own training text cannot be had (arXiv 2605.26097)."""

    documents: int = Field(ge=1)
    """Documents written; curation drops some of them."""
    length: int = Field(1024, ge=2)
    """Most tokens of a document; one that has not ended by itself is cut there. Not beyond the rows the base was
    trained on: what it writes after that is worse."""
    temperature: float = Field(1.0, gt=0)
    """Temperature of sampling; 1 is the model's own distribution, below 1 is likelier text with less variety."""
    seed: int = 0
    """Seed of sampling: the same documents again, on the same machine with the same versions."""
    batch: int = Field(64, ge=1)
    """Documents written at a time, and the unit of resuming; memory grows with it, and other documents come of it."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """What runs the model: transformers (CPU or one GPU), or vllm (all GPUs of a machine; extra `vllm`)."""


class FromModel(Section):
    """A source of the replay pool that is no file."""

    generated: Generated
    """What the base model is to write."""


class CurateConfig(Section):
    """Curation: the stages in order and how they are run."""

    executor: Executor = Executor()
    """Which datatrove executor runs the passes; between them the command itself does what sees all parts at once."""
    on_bad_record: Literal["quarantine", "stop"] = "quarantine"
    """An unreadable record goes to the ledger (quarantine) or ends the run (stop)."""
    part_rows: int = Field(20_000, ge=1)
    """Documents per part, the unit of work and of resuming; memory grows with it."""
    stages: list[Any] = []
    """Stages in order: a name, or {name: {key: value}}; `--stages-help` lists them with their keys."""
