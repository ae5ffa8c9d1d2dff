"""Any datatrove filter or formatter as a stage, by its dotted name."""

import importlib
import inspect
import re
from typing import Any

import numpy as np
import polars as pl
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.filters.base_filter import BaseFilter, get_filter_result
from datatrove.pipeline.formatters.base import BaseFormatter
from pydantic import PrivateAttr

from curate.edits import EDITS
from curate.stage import Stage, Verdicts, detail

TRUSTED = ("datatrove.pipeline.", "curate.")
"""Classes below these are loaded by name; others only where the command says so: a file must not run any code."""


class DatatroveStep(Stage, name="datatrove"):
    """A filter or formatter of datatrove; in a pipeline file its dotted name stands where a stage's name does.

    `- datatrove.pipeline.filters.RegexFilter: {regex_exp: "lorem"}`. The keys are the class's own arguments. Documents
    go through it one by one in Python, so it is as fast as datatrove. Reason: the filter's own, in snake_case, else
    rejected; detail: step. A change of a text is recorded in edited/ as one span with the reason rewritten.
    """

    edits = True

    step: str
    """Dotted name of the class."""
    arguments: dict[str, Any] = {}
    """Arguments of the class."""
    _made: Any = PrivateAttr(default=None)

    @property
    def label(self) -> str:
        return snake_case(self.step.rsplit(".", 1)[-1])

    def inputs(self) -> list[str]:
        """The file of the class's code: another version of datatrove makes the results again."""
        return [inspect.getfile(self._class())]

    def judge(self, documents: pl.DataFrame) -> Verdicts:
        step, passed = self._step(), _documents(documents)
        try:
            results = _through(step, passed)
        except Exception as error:  # a missing library or metadata shows when it is first needed
            raise ValueError(f"{self.workspace.where}: {self.step} fails: {type(error).__name__}: {error}") from error
        reasons = [None if keep else snake_case(reason or "rejected") for keep, reason in results]
        details = [reason and detail(step=self.step) for reason in reasons]
        pairs = zip(documents["text"], passed, reasons, strict=True)  # C4QualityFilter, a filter, cuts lines too
        spans = [
            _span(at, text, document.text)
            for at, (text, document, reason) in enumerate(pairs)
            if reason is None and document.text != text
        ]
        return Verdicts(
            pl.Series("reason", reasons, pl.String),
            pl.Series("detail", details, pl.String),
            edits=pl.DataFrame(spans, schema=EDITS, orient="row"),
        )

    def _step(self) -> Any:
        if self._made is None:
            try:
                self._made = self._class()(**self.arguments)
            except Exception as error:  # whatever the class makes of a wrong argument
                raise ValueError(
                    f"{self.workspace.where}: {self.step} cannot be made from the keys given ({error}). "
                    f"Its arguments: {inspect.signature(self._class())}."
                ) from None
            drawn = [getattr(value, "__self__", value) for value in vars(self._made).values()]
            if any(isinstance(one, np.random.Generator) for one in drawn):
                raise ValueError(
                    f"{self.workspace.where}: {self.step} draws at random, so its choice would depend on how the text "
                    "is cut into parts. Take `select`, or sample the files before."
                )
        return self._made

    def _class(self) -> type[PipelineStep]:
        return load(self.step, (BaseFilter, BaseFormatter), "a filter or formatter", self.workspace.where)


def check_name(dotted: str, allowed: bool, where: str) -> None:
    """Raises ValueError for a class that may not be loaded; to be called for every name that a pipeline file gives."""
    if not (allowed or dotted.startswith(TRUSTED)):
        raise ValueError(
            f"{where}: {dotted} is of neither datatrove nor this project, and loading it would run its package's code. "
            "Give --allow-import if you trust it and this file, or name another class."
        )


def load(dotted: str, kinds: tuple[type, ...], what: str, where: str) -> Any:
    """The class with this dotted name. Raises ValueError where there is none, or it is no such `kinds`."""
    module, _, name = dotted.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{where}: {dotted} cannot be loaded ({error}). Correct the name.") from None
    if not (inspect.isclass(found) and issubclass(found, kinds)):
        raise ValueError(f"{where}: {dotted} is not {what} of datatrove, so it cannot stand here. Name another class.")
    return found


def snake_case(name: str) -> str:
    """`GopherQualityFilter` -> gopher_quality_filter."""
    return re.sub(r"\W+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)).strip("_").lower()


def _documents(frame: pl.DataFrame) -> list[Document]:
    metadata = ("pool", "source", "origin")
    return [
        Document(text=row["text"], id=row["id"], metadata={key: row[key] for key in metadata})
        for row in frame.select("id", "text", *metadata).iter_rows(named=True)
    ]


def _through(step: Any, documents: list[Document]) -> list[tuple[bool, str | None]]:
    """Whether each document stays, and the reason if not; texts are changed in place."""
    if not isinstance(step, BaseFormatter):
        return [get_filter_result(one) for one in step.filter_batch(documents)]
    for document in documents:
        document.text = step.format(document.text)
    return [(True, None)] * len(documents)


def _span(at: int, old: str, new: str) -> tuple[int, int, int, str, str, str]:
    """The one edit between the texts' common head and common tail."""
    shorter = min(len(old), len(new))
    head = next((k for k in range(shorter) if old[k] != new[k]), shorter)
    left = shorter - head
    tail = next((k for k in range(left) if old[-1 - k] != new[-1 - k]), left)
    start, end = len(old[:head].encode()), len(old[: len(old) - tail].encode())
    return at, start, end, "rewritten", "{}", new[head : len(new) - tail]
