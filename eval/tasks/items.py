"""What the task files of this folder call: items from local files, and prompts that a template cannot make.

Prompts follow lm-eval's own tasks of the same names, so that scores are of the same kind; all but gsm8k are zero-shot.
"""

import hashlib
import json
from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import fsspec

if TYPE_CHECKING:
    from datasets import Dataset

Row = dict[str, Any]
FIELDS = ("id", "context", "question", "answer_text")
"""Text fields of an item; choices, answer and meta beside them."""


def load(benchmark: str, files: list[str], items: int, only: str = "", **_: Any) -> "dict[str, Dataset]":
    """`items` items of one benchmark (0: all) as a data set with the split `test`, in the files' order.

    Which ones is decided by a hash of each item's content. `only` names a function here that leaves out what cannot be
    scored. Columns: id, context, question, answer_text, choices, answer (index of the right choice, -1 without
    choices), and every text that `meta` has. `files` are JSON lines, plain or compressed, as ../shared/data/bench.
    Raises ValueError where they hold no item of the benchmark.
    """
    from datasets import Dataset

    found = _by_benchmark(tuple(files)).get(benchmark, [])
    names = sorted({name for item in found for name, value in item["meta"].items() if isinstance(value, str)})
    rows = [_row(item, names) for item in found]
    if only:
        rows = {"yes_or_no": yes_or_no, "closed": closed}[only](rows)
    if not rows:
        raise ValueError(
            f"eval.benchmarks: none of the {len(files)} files holds an item whose benchmark is {benchmark!r}, so the "
            f"task of that name has nothing to score. Add the file, take the task out, or name hub:{benchmark}."
        )
    return {"test": Dataset.from_list([rows[number] for number in chosen([content(row) for row in rows], items)])}


def content(item: dict[str, Any]) -> str:
    """16 hex digits that stand for an item's content."""
    text = json.dumps(item, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def chosen(hashes: list[str], items: int) -> list[int]:
    """Numbers, ascending, of the `items` items with the lowest hashes; 0 takes all."""
    lowest = sorted(range(len(hashes)), key=lambda number: (hashes[number], number))
    return sorted(lowest[:items] if items else lowest)


@lru_cache(maxsize=1)
def _by_benchmark(files: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
    """Items of all files by benchmark; read once for all tasks."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in files:
        with fsspec.open(path, "rt", compression="infer", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    item = json.loads(line)
                    found[item["benchmark"]].append(item)
                except (ValueError, KeyError, TypeError) as error:
                    raise ValueError(
                        f"eval.benchmarks: {path}:{number} is not an item with a benchmark ({error!r}), so it cannot "
                        "be scored. Mend the line."
                    ) from None
    return dict(found)


def _row(item: dict[str, Any], names: list[str]) -> Row:
    meta = {name: value if isinstance(value := item["meta"].get(name), str) else "" for name in names}
    choices = item["choices"] or []
    answer = item["answer"] if choices and isinstance(item["answer"], int) else -1
    return {**meta, **{name: item[name] or "" for name in FIELDS}, "choices": choices, "answer": answer}


def yes_or_no(rows: list[Row]) -> list[Row]:
    """BioASQ: the questions that have choices, which are those of type yesno."""
    return [row for row in rows if row["choices"]]


def closed(rows: list[Row]) -> list[Row]:
    """LegalBench: tasks whose answers are labels, with a task's labels as choices.

    Answers are labels where they are Yes and No, or where a task's items share some and none has over five words;
    others are free text, for which accuracy says nothing.
    """
    answers: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        answers[row["task"]].append(row["answer_text"])
    kept = []
    for row in rows:
        given, labels = answers[row["task"]], sorted(set(answers[row["task"]]))
        if set(labels) <= {"No", "Yes"}:
            labels = ["No", "Yes"]
        elif len(labels) == len(given) or any(len(label.split()) > 5 for label in labels):
            continue
        if len(labels) > 1:
            kept.append({**row, "choices": labels, "answer": labels.index(row["answer_text"])})
    return kept


def blank(item: dict[str, Any]) -> int:
    """WinoGrande: the right one of the beginnings that `beginnings` gives."""
    return int(item["answer"])


def beginnings(item: dict[str, Any]) -> list[str]:
    """WinoGrande: the sentence up to the blank, with each choice in it."""
    before = item["question"].partition("_")[0]
    return [before + choice for choice in item["choices"]]


def after_blank(item: dict[str, Any]) -> str:
    """WinoGrande: what stands after the blank, which each beginning is scored by."""
    return item["question"].partition("_")[2].strip()
