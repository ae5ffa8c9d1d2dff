"""A made-up training run with everything that the report shows, and markup wherever a corpus or a user may write."""

import json
import shutil
from pathlib import Path
from typing import Any

from curate.files import read_json, write_json
from eval import run as eval_run
from pipelines import config
from tests.eval import small_run
from tests.eval.small_run import SCRIPT
from train import checksums

STEPS, SPIKE, BATCH_TOKENS = 60, 47, 1024
"""Steps of the run; the step whose gradient norm spikes without a word in the journal; tokens of a step."""
TASKS = ("domain/medqa", "general/piqa", f"general/{SCRIPT}")
CHANGED = {"change": -8.0, "low": -12.0, "high": -4.0, "verdict": "worse"}
EVIDENCE = {
    "measure": "general_bits_per_byte",
    "at_step_0": 2.0,
    "value": 2.1,
    "change": 5.0,
    "threshold": 1.0,
    "unit": "percent",
    "step": 20,
}
FOUND = [
    {
        "kind": "spike",
        "action": "roll_back",
        "figures": {"loss": {"value": 9.0, "median": 4.0, "score": 12.0, "below": 5}},
    }
]
JOURNAL: list[dict[str, Any]] = [
    {"event": "start", "step": 0},
    {"event": "ratio", "step": 20, "shares": {"domain": "7/10", "replay": "3/10"}, "by": "controller"}
    | {"evidence": EVIDENCE, "first_row": 320},
    {"event": "roll_back", "step": 33, "to": 30, "first_row": 528, "by": "health", "found": FOUND}
    | {"documents": ["notes/1", f"notes/{SCRIPT}"]},
    {"event": "rolled_back", "step": 30},
    {"event": "learning_rate", "step": 40, "multiplier": 0.5, "by": "controller", "evidence": EVIDENCE},
    {"event": "thresholds", "step": 40, "was": {"task_points": 3.0, "bits_per_byte_percent": 1.0}}
    | {"now": {"task_points": 3.0, "bits_per_byte_percent": 8.0}},
    {"event": f"odd {SCRIPT}", "step": 41, "who": SCRIPT},
    {"event": "finish", "step": STEPS},
]


def make(root: Path, models: Path) -> Path:
    """A run folder with curation, scores and the training run, under `root`; `models` has the folders base and trained.

    The run's scores are those of eval.run on its few held-out documents.
    """
    folder = root / "runs" / "small"
    for pool, sources in small_run.SOURCES.items():
        for source in sources:
            small_run.write_documents(folder, "held_out", pool, source, small_run.documents(pool, source, 12, 1000))
    small_run.write_ledger(folder)
    small_run.write_edits(folder)
    write_json(folder / "manifest.json", small_run.manifest())
    shutil.copytree(models / "base", root / "base")
    shutil.copytree(models / "trained", folder / "train" / "main" / "export")
    config.save(small_run.pipeline(folder, root), folder / "pipeline.yaml")
    small_run.write_analysis(folder)
    small_run.write_mixture(folder)
    eval_run.score(config.load(folder / "pipeline.yaml"))
    write(folder)
    return folder


def write(run: Path) -> None:
    """Put it in the place of the run's training run, and tasks into its scores."""
    training = run / "train" / "main"
    training.mkdir(parents=True, exist_ok=True)
    lines = [line for step in range(STEPS + 1) for line in _lines(step)]
    _write_lines(training / "metrics.jsonl", lines)
    given_up = [{**line, "roll_back": 1} for step in (31, 32, 33) for line in _lines(step)]
    given_up.append({"step": 33, "eval": {"general_bits_per_byte": 2.6}, "roll_back": 1})
    _write_lines(training / "metrics.rolled_back.jsonl", given_up)
    _write_lines(training / "journal.jsonl", JOURNAL)
    for step, repetition in ((0, 0.0), (STEPS, 0.25)):
        texts = [
            {"track": track, "prompt": f"{track} {SCRIPT}", "text": f"{step} {SCRIPT}", "repetition": repetition}
            for track in ("domain", "general")
        ]
        _write_lines(training / "generations" / f"step-{step}.jsonl", texts)
    for step in (40, 50):
        folder = training / "checkpoints" / f"step-{step}"
        folder.mkdir(parents=True)
        (folder / ".metadata").write_bytes(b"12345")
        checksums.complete(folder, {}, checksums.measure_files(folder, 0))
    write_json(training / "best" / "export.json", {"training_run": "main", "step": 50, "holds": "model"})
    pipeline = config.load(run / "pipeline.yaml").model_dump(mode="json")
    values = {f"train.{key}": value for key, value in pipeline["train"].items()}
    values |= {f"eval.{key}": value for key, value in pipeline["eval"].items()}
    values |= {"train.steps": 80, "train.warmup_steps": 5, "train.ewc": 100.0, "model": pipeline["model"]}
    values["eval.thresholds"] = {"task_points": 3.0, "bits_per_byte_percent": 8.0}
    write_json(training / "config.json", values)
    _add_tasks(run / "eval" / "scores.json")


def _lines(step: int) -> list[dict[str, Any]]:
    """The lines of a step: figures that wobble by a thousandth, an evaluation every ten steps."""
    wobble = 0.001 * (step % 7)
    norm = 9.0 if step == SPIKE else 1 + wobble
    seen = {"rows": 16 * step, "tokens": BATCH_TOKENS * step, "domain_share": 0.75, "penalty": 0.01 * step}
    cost = {"tokens_per_second": 2048.0, "mfu": None, "data_wait_share": 0.125, "memory_gib": 1 + step / 100}
    losses = {"loss": 4 + wobble, "loss_domain": 4 + wobble, "loss_replay": 3 + wobble}
    found: list[dict[str, Any]] = [{"step": step, **losses, "grad_norm": norm, "lr": 1e-4, **seen, **cost}]
    if step % 10:
        return found
    figures = {"domain_bits_per_byte": 3 - step / 100, "general_bits_per_byte": 2 + step / 300}
    figures |= {name: 60.0 - step / 5 for name in TASKS}
    line: dict[str, Any] = {"step": step, "eval": figures}
    if step:
        line["changes"] = {name: {**CHANGED, "change": -step / 5, "low": -20.0, "high": -0.5} for name in TASKS}
    return [*(found if step else []), line]


def _add_tasks(path: Path) -> None:
    if not path.exists():
        return
    scores = read_json(path)
    scores["tasks"] = {name: {"items": 200, "base": 60.0, "trained": 52.0, **CHANGED} for name in TASKS}
    scores["breaches"] = [{"what": TASKS[2], "base": 60.0, "now": 52.0, "limit": 57.0}]
    scores["contamination"] = {name: {"items": 200, "not_asked": 3, "removed": 7, "held": 2} for name in TASKS}
    write_json(path, scores)


def _write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
