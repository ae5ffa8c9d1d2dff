"""Benchmark items by the names of lm-evaluation-harness tasks (package lm-eval, extra `eval`)."""

import difflib
from collections.abc import Iterator
from typing import Any

from curate.benchmarks import BenchmarkItem

QUESTIONS = ("question", "question_stem", "query", "problem", "goal", "prompt", "sent1", "ctx", "premise", "sentence")
"""Names under which data sets keep what is asked; without one of them the whole prompt is the question."""
CONTEXTS = ("context", "contexts", "passage", "article", "abstract", "support", "story")
"""Names under which data sets keep the passage that a question is about."""


def task_items(names: list[str], folders: list[str], where: str) -> list[BenchmarkItem]:
    """The items that these tasks, groups or tags evaluate on, in order, task by task.

    `folders` hold task YAMLs of the user's own, which come before lm-eval's of the same name. Raises ValueError naming
    the key under `where` for an unknown task and for a data set that is not there and cannot be fetched.
    """
    manager = _manager(folders, where)
    found: dict[str, tuple[Any, list[Any]]] = {}
    for index, name in enumerate(names):
        if name not in manager.all_tasks:
            near = difflib.get_close_matches(name, manager.all_tasks, 3)
            raise ValueError(
                f"{where}.tasks[{index}]: lm-eval has no task {name!r}, so its items would be missed. "
                + (f"Did you mean {', '.join(near)}? " if near else "")
                + "`lm-eval ls tasks` lists them; task YAMLs of your own are found through task_folders."
            )
        found |= _load(manager, name, f"{where}.tasks[{index}]")
    return [
        task_item(
            name,
            number,
            dict(document),
            task.doc_to_text(document),
            _choices(task, document),
            task.doc_to_target(document),
        )
        for name, (task, documents) in found.items()
        for number, document in enumerate(documents)
    ]


def _manager(folders: list[str], where: str) -> Any:
    try:
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise ValueError(
            f"{where}.tasks: names of tasks need lm-eval, which is not installed. Install the extra "
            "(`pip install palimpsest[eval]`), or give the items as JSON lines under benchmarks."
        ) from None
    return TaskManager(include_path=folders or None)


def _load(manager: Any, name: str, where: str) -> dict[str, tuple[Any, list[Any]]]:
    """The tasks behind a name, each with the documents it evaluates on."""
    from datasets.exceptions import DatasetsError

    try:
        return {one: (task, list(task.eval_docs)) for one, task in manager.load([name])["tasks"].items()}
    except (OSError, ValueError, DatasetsError) as error:
        raise ValueError(
            f"{where}: the data set of task {name!r} cannot be loaded ({' '.join(str(error).split())[:300]}), so its "
            "items would be missed. Load it once where there is network (datasets.load_dataset) and copy Hugging "
            "Face's cache here ($HF_HOME, by default ~/.cache/huggingface); or put a YAML of the task with "
            "`dataset_path: json` and `dataset_kwargs: {data_files: …}` into a folder under task_folders; or give the "
            "items as JSON lines under benchmarks."
        ) from error


def _choices(task: Any, document: dict[str, Any]) -> list[str] | None:
    return task.doc_to_choice(document) if task.config.doc_to_choice is not None else None


def task_item(
    task: str, number: int, document: dict[str, Any], prompt: Any, spoken: list[str] | None, target: Any
) -> BenchmarkItem:
    """What one document of a task shows: its fields by their names, or the prompt that lm-eval makes of them.

    `spoken` are the choices as lm-eval scores them, None where there are none; `target` the right one's number or text.
    """
    fields = {key.lower(): value for key, value in document.items()}
    prompt = prompt if isinstance(prompt, str) else ""  # a number where the choices are put into the sentence
    question = next((text for key in QUESTIONS if (text := _joined(fields.pop(key, None)))), prompt)
    context = next((text for key in CONTEXTS if (text := _joined(fields.pop(key, None)))), "")
    shown = [text for text in _strings(fields) if text in prompt]
    choices = [text for text in dict.fromkeys([*shown, *(spoken or [])]) if len(text) > 1]  # a letter is a label
    answer = spoken[target : target + 1] if spoken and isinstance(target, int) else _strings(target)
    return BenchmarkItem(
        id=str(number),
        benchmark=task,
        context=context,
        question=question,
        choices=[] if question == prompt else choices,
        answer_text="\n".join(answer),
    )


def _joined(value: Any) -> str:
    return "\n".join(_strings(value)).strip()


def _strings(value: Any) -> Iterator[str]:
    """The strings in a nested value, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _strings(one)
