"""Which checkpoints stay, and where the others go; no torch is imported here.

What stays is a function of the complete checkpoints on disk alone, so a killed run that is gone on with keeps the same
ones as a run that was left alone.
"""

import json
import math
import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.files import identity
from pipelines.secrets import scrub
from pipelines.storage import reached
from train import checksums
from train.checksums import COMPLETE

if TYPE_CHECKING:
    from pipelines.config import Pipeline
    from train.records import Records


@dataclass(frozen=True)
class Keep:
    """Which checkpoints stay."""

    last: int = 2
    """The newest ones."""
    every: int = 0
    """Those of steps that are a multiple of this; 0 turns it off."""
    best: dict[str, float] = field(default_factory=dict)
    """The one whose evaluation has the lowest sum of these figures, each times its weight; empty turns it off."""

    def stay(self, figures: dict[int, dict[str, Any]]) -> set[int]:
        """Steps that stay, of checkpoints given as step -> figures of that step's evaluation.

        >>> scores = {10: {"bits": 2.0}, 20: {"bits": 1.5}, 30: {}, 40: {"bits": 1.7}, 50: {}}
        >>> sorted(Keep(2, 0, {"bits": 1.0}).stay(scores)), sorted(Keep(2, 30).stay(scores))
        ([20, 40, 50], [30, 40, 50])
        """
        stay = set(sorted(figures)[-self.last :])
        if self.every:
            stay |= {step for step in figures if step % self.every == 0}
        scored = [step for step in figures if self.best and self.best.keys() <= figures[step].keys()]
        if scored:
            stay.add(min(scored, key=lambda step: (self.score(figures[step]), step)))
        return stay

    def score(self, figures: dict[str, Any]) -> float:
        """What the best checkpoint has the lowest of."""
        return sum(weight * figures[name] for name, weight in self.best.items())


def check(pipeline: "Pipeline") -> None:
    """Raises ValueError where the keys ask for what cannot be."""
    train, evaluation = pipeline.train, pipeline.eval
    if train.keep_best:
        if not evaluation.held_out:
            raise ValueError(
                f"train.keep_best: {train.keep_best} is not measured, since eval.held_out is 0, so no checkpoint would "
                "be the best. Set eval.held_out to e.g. 0.02, or train.keep_best: {}."
            )
        meet = math.lcm(train.checkpoint_every, evaluation.every)
        if meet >= train.steps:
            raise ValueError(
                f"train.keep_best: no checkpoint before the last step has an evaluation (train.checkpoint_every "
                f"{train.checkpoint_every}, eval.every {evaluation.every} and train.steps {train.steps}), so there is "
                f"nothing to choose from. Set train.checkpoint_every to a multiple of eval.every below train.steps."
            )
    if train.archive:
        Archive(train.archive).reach()


class Archive:
    """A folder or URL that checkpoints are moved to, each whole."""

    def __init__(self, url: str):
        """Raises ValueError where fsspec knows no such place."""
        from fsspec import url_to_fs
        from fsspec.implementations.local import LocalFileSystem

        try:
            self._files, self._root = url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise ValueError(
                f"train.archive: {url!r} cannot be written to ({error}), so checkpoints would pile up. Install the "
                "package it names, or name a folder."
            ) from None
        self._url, self._local = url, isinstance(self._files, LocalFileSystem)

    def reach(self) -> None:
        """Raises ValueError where the place does not answer, or not with these credentials."""
        with reached(self._url, "train.archive"):
            self._files.exists(self._root)

    def move(self, folder: Path) -> str:
        """Copy a complete checkpoint, read the copy back, and only then remove the original. Returns the new place.

        A local copy grows under a hidden name. Elsewhere a rename would be a second copy, so there the completion file
        comes last, as in any checkpoint. A complete copy of other content under the name is left alone: this one is
        then archived as step-<n>-<identity>.
        """
        wanted = checksums.read(folder)
        target = f"{self._root}/{folder.name}"
        there = self._complete(target)
        if there not in (None, wanted):
            target = f"{target}-{identity(wanted)}"
            there = self._complete(target)
        if there is None:
            self._copy(folder, wanted["files"], target)
        checksums.remove(folder)
        return target

    def _complete(self, target: str) -> Any:
        """The completion file of an archived checkpoint, None where there is none."""
        path = f"{target}/{COMPLETE}"
        if not self._files.exists(path):
            return None
        found = json.loads(self._files.cat_file(path))
        found.pop("identity")
        return found

    def _copy(self, folder: Path, files: dict[str, dict[str, Any]], target: str) -> None:
        begun = f"{self._root}/.{target.rpartition('/')[2]}.tmp" if self._local else target
        if self._files.exists(begun):
            self._files.rm(begun, recursive=True)
        if self._local:  # an object store has no folders, and would be given a bucket that is misspelt
            self._files.makedirs(begun, exist_ok=True)
        for name, wanted in files.items():
            self._files.put_file(str(folder / name), f"{begun}/{name}")
            with self._files.open(f"{begun}/{name}", "rb") as copy:
                if self._local:
                    os.fsync(copy.fileno())
                if checksums.measure(copy) != wanted:
                    raise OSError(f"{begun}/{name} does not have the bytes that the run wrote to {folder / name}")
        self._files.put_file(str(folder / COMPLETE), f"{begun}/{COMPLETE}")
        if self._local:
            os.rename(begun, target)


class Keeper:
    """Applies a policy to a folder of checkpoints, in a thread of its own: training does not wait for an archive.

    A checkpoint that cannot be archived stays where it is and is tried again after the next one; the journal has an
    event `archive_failed` for each reason.
    """

    def __init__(self, folder: Path, keep: Keep, archive: str, records: "Records"):
        self._folder, self._keep, self._records = folder, keep, records
        self._archive = Archive(archive) if archive else None
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._last: Future[None] | None = None
        self._told: set[tuple[int, str]] = set()

    def tidy(self) -> None:
        """Begin to move or remove what does not stay."""
        self._last = self._thread.submit(self._tidy)

    def wait(self) -> None:
        """Return when what was begun is done."""
        if self._last is not None:
            self._last.result()

    def close(self) -> None:
        """Finish what was begun."""
        self._thread.shutdown()
        self.wait()

    def _tidy(self) -> None:
        figures = {step: _figures(self._folder / f"step-{step}") for step in checksums.steps(self._folder)}
        for step in sorted(set(figures) - self._keep.stay(figures)):
            folder = self._folder / f"step-{step}"
            if self._archive is None:
                checksums.remove(folder)
                continue
            try:
                self._archive.move(folder)
            except Exception as error:  # each file system of fsspec has errors of its own
                self._tell(step, scrub(f"{type(error).__name__}: {error}"))

    def _tell(self, step: int, reason: str) -> None:
        if (step, reason) in self._told:
            return
        self._told.add((step, reason))
        self._records.event("archive_failed", step, reason=reason)
        folder = self._folder / f"step-{step}"
        print(
            f"train.archive: {folder} could not be archived ({reason}). It stays, and is tried again after the next "
            "checkpoint.",
            file=sys.stderr,
            flush=True,
        )


def _figures(folder: Path) -> dict[str, Any]:
    """Figures of the evaluation at a complete checkpoint's step; none where its completion file is damaged."""
    try:
        return checksums.read(folder)["eval"]
    except ValueError:
        return {}
