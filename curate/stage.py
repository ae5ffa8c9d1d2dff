"""What a curation stage is: a datatrove pipeline step whose keys stand beside its code.

A *part* is some thousand documents of one source. Stages see one part at a time as a Polars frame and answer with
verdicts; texts are not copied and not rewritten until the last pass. There are two shapes:

- document at a time: `judge` answers from the part alone (after `prepare`, which runs once, e.g. to build an index);
- global: `measure` takes numbers from each part, then `decide` sees the numbers of all parts and gives the verdicts.
"""

import fnmatch
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.stats import Stats
from pydantic import PrivateAttr

from curate.parts import Batch, Part, Verdicts, record, save_measured
from pipelines.section import Section

__all__ = ["STAGES", "Part", "Stage", "Verdicts", "Workspace", "detail"]

STAGES: dict[str, type["Stage"]] = {}
"""Every stage by the name a pipeline file uses."""


@dataclass
class Workspace:
    """What a stage may use besides a part's rows."""

    folder: Path
    """The stage's own folder; what `prepare` writes here is there for `judge`, `measure` and `decide`."""
    parts: list[Part]
    """All parts, in global order: domain before replay, sources by name, records as they stand in the file."""
    benchmarks: list[str]
    """Files of benchmark items."""
    while_reading: bool
    """True for an editing stage at the head of a pipeline."""
    where: str
    """How an error names the stage: "pipelines/clinical.yaml: curate.stages[4].near_dedup"."""
    sources: dict[str, str] = field(default_factory=dict)
    """Name of every source and the identity of its bytes."""


class Stage(Section, PipelineStep):
    """Base of the stages. A subclass names itself, `class Language(Stage, name="language")`."""

    name: ClassVar[str] = ""
    type: ClassVar[str] = "CURATE"
    version: ClassVar[int] = 1
    """Raised when the code gives other verdicts than before: results on disk are then made again."""
    is_global: ClassVar[bool] = False
    """True where verdicts need all parts: `measure` and `decide` instead of `judge`."""
    edits: ClassVar[bool] = False
    """True where the stage can change texts; at the head of a pipeline it then runs while reading."""
    _stats: Any = PrivateAttr(default=None)
    _workspace: Any = PrivateAttr(default=None)

    sources: list[str] = []
    """Sources that the stage is for, by name or pattern ("*notes*"), each of which must match one; it leaves the others
    as they are, and does not compare with them. Empty, the default, is for all."""

    def __init_subclass__(cls, name: str = "", **_: Any) -> None:
        super().__init_subclass__()  # takes `name` away; pydantic hands it to the method below

    @classmethod
    def __pydantic_init_subclass__(cls, name: str = "", **_: Any) -> None:
        cls.name = name
        assert name and name not in STAGES, f"stage name {name!r} is missing or taken"
        STAGES[name] = cls

    def __init__(self, **keys: Any) -> None:
        super().__init__(**keys)
        self._stats = Stats(self.label)

    @property
    def label(self) -> str:
        """What folders, logs and tables call this stage."""
        return self.name

    @property
    def stats(self) -> Any:  # type: ignore[override]
        """datatrove's counters of this step."""
        return self._stats

    @property
    def workspace(self) -> Workspace:
        """Set by the runner before any of the methods below is called."""
        assert self._workspace is not None
        return self._workspace

    def run(self, data: Iterable[Batch] | None, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:  # type: ignore[override]
        """datatrove's entry point: batches in, batches with the rows left out, verdicts on disk."""
        assert data is not None
        for batch in data:
            with self.track_time():
                if not self.is_for(batch.part.source):
                    pass
                elif self.is_global:
                    save_measured(self.workspace.folder, batch, self.measure(batch.documents))
                else:
                    verdicts = self.judge(batch.documents)
                    batch = record(self.workspace.folder, batch, verdicts, self.workspace.while_reading)
            yield batch

    def is_for(self, source: str) -> bool:
        """Whether the stage is to look at a source's documents."""
        return not self.sources or any(fnmatch.fnmatchcase(source, one) for one in self.sources)

    def inputs(self) -> list[str]:
        """Files outside the run that the verdicts depend on (models, lists); their bytes enter the identity."""
        return []

    def warm_up(self) -> None:
        """Compile what the methods below need, so that the worker processes find it in numba's cache."""

    def prepare(self) -> None:
        """Runs once before any part, in one process: train a model, build an index, into `workspace.folder`."""

    def judge(self, documents: pl.DataFrame) -> Verdicts:
        """Verdicts for one part; a global stage does not have it."""
        raise AssertionError(f"{self.name} has no judge")

    def measure(self, documents: pl.DataFrame) -> pl.DataFrame:
        """Numbers for one part, a row a document; only for a global stage."""
        raise AssertionError(f"{self.name} has no measure")

    def decide(self, measured: Iterable[pl.DataFrame]) -> Iterator[Verdicts]:
        """Verdicts of every part in global order.

        Each frame of `measured` is what `measure` gave, with `id`, `pool` and `source` beside it; only for a global
        stage. It may read `measured` more than once.
        """
        raise AssertionError(f"{self.name} has no decide")


def detail(**evidence: Any) -> str:
    """Evidence as the ledger keeps it: a JSON object."""
    return json.dumps(evidence, ensure_ascii=False, allow_nan=False)
