"""Both tracks during a training run: what is due after which step, and how it differs from step 0.

Domain track: what is to be gained. General track: what may be lost. Each has bits per byte on held-out text
(eval/held_out.py) and the tasks of eval.domain and eval.general. Scores of every item are kept in
train/<run>/items/step-<step>.parquet, generated texts in train/<run>/generations/step-<step>.jsonl.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curate.files import aside, write_text
from eval.config import EvalConfig
from eval.statistics import change_in_points

if TYPE_CHECKING:
    from eval.answers import Answers
    from train.trainer import ContinuedTrainer

NAMES = ("domain", "general")
GENERATIONS, BITS_PER_BYTE = "generations", "bits_per_byte"
"""What may be due besides the tracks' tasks."""


def due(keys: EvalConfig, step: int, last: int) -> list[str]:
    """What is measured after `step` of `last`: bits_per_byte, domain, general (tasks), generations.

    Everything at step 0 and at the last step. Between them bits per byte every eval.every steps, the domain track's
    tasks every eval.domain_every, the general track's every eval.general_every, eval.general_offset steps later;
    beside tasks bits per byte always.
    """
    edge = step in (0, last)
    offset = {"domain": 0, "general": keys.general_offset}
    every = {"domain": keys.domain_every, "general": keys.general_every}
    found = []
    for track in NAMES:
        on_turn = every[track] > 0 and step >= offset[track] and (step - offset[track]) % every[track] == 0
        if getattr(keys, track) and (edge or on_turn):
            found.append(track)
    found += [GENERATIONS] if keys.generated_tokens and edge else []
    return [BITS_PER_BYTE, *found] if keys.held_out and (found or edge or step % keys.every == 0) else found


class Tracks:
    """The tasks of a training run's tracks, loaded when they are first due."""

    def __init__(
        self, keys: EvalConfig, files: Callable[[], list[str]], where: str, folder: Path, tokenizer: Path, length: int
    ):
        """`files` names the items of local tasks, `where` the pipeline file for messages; `folder` is train/<run>,
        `length` the tokens that the model sees at once."""
        self.keys, self.folder, self.tokenizer, self.length = keys, folder, tokenizer, length
        self._files, self._where = files, where
        self._suites: dict[str, Any] = {}

    def measure(
        self, trainer: "ContinuedTrainer", wanted: list[str]
    ) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
        """Figures `<track>/<task>` in percent points and `repetition` 0 to 1, and changes against step 0 by task.

        Every rank must call it; the same on every rank.
        """
        from eval.answers import Answers
        from tokenization.encode import load
        from train import evaluation

        wanted = [what for what in wanted if what != BITS_PER_BYTE]
        if not wanted:
            return {}, {}
        forward = partial(evaluation.answer, trainer)
        answers = Answers(forward, load(self.tokenizer).decode, self.length, evaluation.DEVICE)
        with evaluation.undisturbed(trainer), evaluation.seeing(trainer, self.length):
            return answers.ask(lambda: self._measure(answers, wanted, trainer.step))

    def _measure(
        self, answers: "Answers", wanted: list[str], step: int
    ) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
        """On the first rank."""
        figures: dict[str, float] = {}
        scored = [self._score(answers, track) for track in NAMES if track in wanted]
        found: dict[str, dict[str, Any]] = {}
        if scored:
            items = pl.concat(scored)
            figures |= points(items)
            with aside(self._path(step)) as temporary:
                items.write_parquet(temporary)
            if step and self._path(0).exists():
                found = changes(pl.read_parquet(self._path(0)), items)
        if GENERATIONS in wanted:
            figures["repetition"] = self._generate(answers, step)
        return figures, found

    def _score(self, answers: "Answers", track: str) -> pl.DataFrame:
        from eval import benchmarks
        from eval.live_model import LiveModel

        keys = self.keys
        if track not in self._suites:
            names = getattr(keys, track)
            self._suites[track] = benchmarks.load(names, self._files(), keys.items, keys.run_code, self._where)
        scored = benchmarks.score(LiveModel(answers, self.tokenizer), self._suites[track])
        return scored.insert_column(0, pl.lit(track).alias("track"))

    def _generate(self, answers: "Answers", step: int) -> float:
        from eval import generations

        prompts = Path(self.keys.prompts) if self.keys.prompts else generations.PROMPTS
        texts = generations.write(answers, self.tokenizer, prompts, self.keys.generated_tokens)
        lines = [json.dumps(text, ensure_ascii=False) + "\n" for text in texts]
        write_text(self.folder / "generations" / f"step-{step}.jsonl", "".join(lines))
        return sum(text["repetition"] for text in texts) / max(1, len(texts))

    def _path(self, step: int) -> Path:
        return self.folder / "items" / f"step-{step}.parquet"


def points(items: pl.DataFrame) -> dict[str, float]:
    """`<track>/<task>` -> percent points 0 to 100, all items of a task alike."""
    means = items.group_by("track", "task", maintain_order=True).agg(100 * pl.col("score").mean())
    return {f"{track}/{task}": value for track, task, value in means.iter_rows()}


def changes(base: pl.DataFrame, now: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """`<track>/<task>` -> eval.statistics.PointsChange as a dict, over the items that both have."""
    both = now.join(base, on=["track", "task", "part", "hash", "item"], how="inner", suffix="_base")
    found = {}
    for (track, task), rows in both.group_by("track", "task", maintain_order=True):
        found[f"{track}/{task}"] = asdict(change_in_points(rows["score_base"].to_numpy(), rows["score"].to_numpy()))
    return found
