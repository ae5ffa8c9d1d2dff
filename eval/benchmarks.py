"""The tasks of a track through lm-eval, item by item.

A task is a file of eval/tasks, which reads items from local files, or one of lm-eval's own, whose items come from the
hub. Which items of a task are scored is decided by a hash of each item, so it is the same ones in every run.
"""

import io
import logging
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from eval.tasks.items import chosen, content
from pipelines.config import Pipeline

if TYPE_CHECKING:
    from eval.live_model import LiveModel

FOLDER = Path(__file__).parent / "tasks"
HUB = "hub:"
"""Before a name: lm-eval's own task, also where eval/tasks has one of that name."""
ITEMS: dict[str, Any] = {
    "task": pl.String,
    "part": pl.String,
    "item": pl.String,
    "hash": pl.String,
    "score": pl.Float64,
}
"""Columns of scored items: task as eval.domain or eval.general names it, part (the task of a group), id and hash of the
item, score 0 to 1 (1: right)."""


@dataclass(frozen=True)
class Suite:
    """Tasks ready to be scored."""

    tasks: dict[str, Any]
    """lm-eval's task objects by their own names."""
    named: dict[str, str]
    """Name of each -> the name under eval.domain or eval.general that it was asked for by."""
    samples: dict[str, list[int]]
    """Numbers, ascending, of the items that are scored, for lm-eval's own tasks; eval/tasks have chosen theirs."""


def files(pipeline: Pipeline, where: str) -> list[str]:
    """Paths of the benchmark items that local tasks read. Raises ValueError for a glob that matches nothing."""
    from curate.sources import benchmark_files

    globs = pipeline.eval.benchmarks or pipeline.benchmarks
    return benchmark_files(pipeline.model_copy(update={"benchmarks": globs}), where)


def local_benchmark(name: str) -> str | None:
    """The benchmark that a task of eval/tasks scores, which has the task's name; None where it is lm-eval's own."""
    return name if (FOLDER / f"{name}.yaml").exists() else None


def load(names: list[str], paths: list[str], items: int, run_code: bool, where: str) -> Suite:
    """The tasks of these names with `items` items each (0: all).

    `where` is the file that names them. Raises ValueError naming the key for a task that is not known, has no items,
    or would run programs that the model wrote without leave.
    """
    try:
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise ValueError(
            f"{where}: eval.domain, eval.general: tasks need lm-eval, which is not installed, so they cannot be "
            "scored. Install the extra (`pip install palimpsest[eval]`), or take the tasks out."
        ) from None
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    managers: dict[bool, Any] = {}
    suite = Suite({}, {}, {})
    for name in names:
        here = local_benchmark(name) is not None
        if here not in managers:
            options = {
                "include_path": str(FOLDER),
                "include_defaults": False,
                "metadata": {"files": paths, "items": items},
            }
            managers[here] = TaskManager(**options) if here else TaskManager()
        for part, task in _load(managers[here], name.removeprefix(HUB), where).items():
            if getattr(task, "UNSAFE_CODE", False) and not run_code:
                raise ValueError(
                    f"{where}: eval.domain, eval.general: {name} runs programs that the model writes, which is not "
                    "allowed. Set eval.run_code: true where that is safe (see its help), or take the task out."
                )
            if part in suite.tasks:
                raise ValueError(f"{where}: eval.domain, eval.general: {part} is named twice. Take one out.")
            suite.tasks[part], suite.named[part] = task, name
            if not here:
                suite.samples[part] = chosen([content(item) for item in task.eval_docs], items)
    return suite


def score(model: "LiveModel", suite: Suite) -> pl.DataFrame:
    """Every chosen item of every task, in order, with columns ITEMS; the first of a task's measures is its score."""
    from lm_eval import evaluator

    if not suite.tasks:
        return pl.DataFrame(schema=ITEMS)
    with redirect_stderr(io.StringIO()):  # a bar for every task
        results = evaluator.evaluate(
            model, {"tasks": suite.tasks}, samples=suite.samples, bootstrap_iters=0, confirm_run_unsafe_code=True
        )
    rows = []
    for part, samples in results["samples"].items():  # type: ignore[index]
        first = samples[0]["filter"]
        measure = next(iter(suite.tasks[part]._metric_fn_list))
        for sample in samples:
            if sample["filter"] == first:
                item = str(sample["doc"].get("id", sample["doc_id"]))
                rows.append((suite.named[part], part, item, content(sample["doc"]), float(sample[measure])))
    order = {name: number for number, name in enumerate(suite.named.values())}
    rows.sort(key=lambda row: (order[row[0]], row[1], row[3]))
    return pl.DataFrame(rows, schema=ITEMS, orient="row")


def _load(manager: Any, name: str, where: str) -> dict[str, Any]:
    from datasets.exceptions import DatasetsError

    if name not in manager.all_tasks:
        raise ValueError(
            f"{where}: eval.domain, eval.general: there is no task {name!r}. Here are "
            f"{', '.join(sorted(path.stem for path in FOLDER.glob('*.yaml')))}; `lm-eval ls tasks` lists lm-eval's own."
        )
    try:
        return manager.load([name])["tasks"]
    except (OSError, DatasetsError) as error:
        raise ValueError(
            f"{where}: eval.domain, eval.general: the items of lm-eval's task {name!r} cannot be fetched "
            f"({' '.join(str(error).split())[:300]}). Use a task of eval/tasks with local files, or fetch them where "
            "there is network and copy Hugging Face's cache here ($HF_HOME)."
        ) from error
