"""Benchmark items as decontamination reads them: JSON lines, plain or compressed."""

import gzip
import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fsspec

from curate.files import write_text

_FIELDS = {"id": str, "benchmark": str, "context": str, "question": str, "choices": list, "answer_text": str}
_SHORTEST_QUESTION = 5


@dataclass(frozen=True)
class BenchmarkItem:
    """One item, as far as a document can hold it."""

    id: str
    benchmark: str
    context: str
    question: str
    choices: list[str]
    answer_text: str

    @property
    def lead(self) -> str:
        """The text that gives the item away: its question, with the choices where it is short and has no passage.

        An item without a question is all passage.
        """
        if not self.question.strip():
            return f"{self.context}\n{self.answer_text}"
        if not self.context.strip() and len(self.question.split()) < _SHORTEST_QUESTION:
            return "\n".join([self.question, *self.choices])
        return self.question

    @property
    def rest(self) -> str:
        """Context and choices, where they are not part of the lead."""
        return "\n".join([self.context, *self.choices]) if self.lead == self.question else ""

    @property
    def has_passage(self) -> bool:
        """Whether the rest holds a passage, which a document may quote (or be the source of) without the item."""
        return bool(self.rest and self.context.strip())


def read_items(paths: list[str], where: str) -> list[BenchmarkItem]:
    """Read the items of all files, in order. Raises ValueError naming `benchmarks`, file and line."""
    if not paths:
        raise ValueError(
            f"{where}: benchmarks is empty, so there is nothing to look for. List files of benchmark items, "
            "e.g. benchmarks: [bench/*.jsonl.gz], name tasks of lm-eval in the stage's key tasks, or leave it out."
        )
    items: list[BenchmarkItem] = []
    for path in paths:
        before = len(items)
        try:
            with fsspec.open(path, "rb", compression="infer") as file:
                items += [_item(line, f"{where}: benchmarks: {path}:{number}") for number, line in enumerate(file, 1)]
        except (OSError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"{where}: benchmarks: {path} cannot be read to its end ({error}), so items would be missed. "
                "Replace the file, or take it out of benchmarks."
            ) from None
        if len(items) == before:
            raise ValueError(f"{where}: benchmarks: {path} holds no item. Replace it, or take it out of benchmarks.")
    return items


def write_items(path: Path, items: list[BenchmarkItem]) -> None:
    """Write items as JSON lines that `read_items` reads, whole or not at all."""
    write_text(path, "".join(json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in items))


def _item(line: bytes, place: str) -> BenchmarkItem:
    mend = "Mend the line, or take the file out of benchmarks."
    try:
        record: Any = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{place} is not JSON ({error}), so the item cannot be looked for. {mend}") from None
    if not isinstance(record, dict):
        raise ValueError(f"{place} holds {type(record).__name__}, not an object with {', '.join(_FIELDS)}. {mend}")
    values: dict[str, Any] = {}
    for name, kind in _FIELDS.items():
        if name not in record:
            raise ValueError(f"{place} has no {name!r}; an item needs {', '.join(_FIELDS)}. {mend}")
        value = record[name]
        if value is None and kind is not list:
            value = ""
        if not isinstance(value, kind) or (kind is list and not all(isinstance(one, str) for one in value)):
            wanted = "a list of strings" if kind is list else "a string"
            raise ValueError(f"{place}: {name!r} is {json.dumps(value)[:80]}, not {wanted}. {mend}")
        values[name] = value
    return BenchmarkItem(**values)
