"""Checkpoints of the full state: weights, optimizer, schedule, rows consumed, step.

A checkpoint is a folder step-<n> that counts from the moment its complete.json is there, with checksums of all files
(train/checksums.py). A run goes on from the newest one whose files are as they were written. What is newer goes: an
unfinished one is removed, a damaged one set aside as damaged-<n>; the journal says which (`checkpoint_unfinished`,
`checkpoint_damaged`). Which ones stay is decided in train/checkpoint_policy.py.

For a roll-back, on every rank: `step = checkpoints.newest(wanted)`, `checkpoints.load(step)`,
`checkpoints.discard_after(step)`. `train.checksums.steps(folder)` lists them newest first.
"""

import shutil
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch.distributed as dist

import train.platform  # noqa: F401  (before torchtitan)
from train import checksums, read_checkpoint
from train.checkpoint_policy import Keep, Keeper
from train.checksums import COMPLETE
from train.extension import Extension
from train.platform import DEVICE
from train.records import Records

# isort: split
from torchtitan.components.checkpointer import CheckpointManager
from torchtitan.components.checkpointer.dcp import MODEL


def async_mode(wanted: bool) -> Literal["disabled", "async"]:
    """torchtitan's mode of saving: in the background where the device is a GPU and it is wanted."""
    return "async" if wanted and DEVICE != "cpu" else "disabled"


class Checkpoints(CheckpointManager):
    """torchtitan's checkpoints, made to count only when they are whole, and checked before they are used."""

    @dataclass(kw_only=True, slots=True)
    class Config(CheckpointManager.Config):
        """Keys as torchtitan's, and which checkpoints stay."""

        keep: Keep = field(default_factory=Keep)
        """Which checkpoints stay."""
        archive: str = ""
        """Folder or URL the others are moved to; empty removes them."""
        keep_latest_k: int = 0
        """Left at 0: `keep` says what stays."""
        last_save_model_only: bool = False
        """The last step's checkpoint is like any other."""

    pg: dist.ProcessGroup | None
    save_future: "Future[Any] | None"

    def __init__(self, config: Config, *, base_folder: str = "", **parts: Any):
        self._keeper: Keeper | None = None
        self._background = ThreadPoolExecutor(1, "complete")
        self._figures: dict[int, dict[str, Any]] = {}
        self._saved = -1
        super().__init__(config, base_folder=base_folder, **parts)
        # A group of its own: a save in the background meets there while training meets elsewhere.
        self.pg = self.pg or dist.new_group(backend="gloo")
        self._keep, self._path = config.keep, Path(self.folder)
        self._rank, self._world = dist.get_rank(), dist.get_world_size()
        if self._rank == 0:
            self._records = Records(Path(base_folder))
            self._keeper = Keeper(self._path, config.keep, config.archive, self._records)

    def evaluated(self, step: int, figures: dict[str, Any]) -> None:
        """Keep an evaluation's figures for the checkpoint of the same step.

        Raises ValueError where one that the best checkpoint is chosen by is not among them.
        """
        missing = sorted(self._keep.best.keys() - figures.keys())
        if missing:
            raise ValueError(
                f"train.keep_best: {', '.join(missing)} is not measured, so no checkpoint would be the best. "
                f"Measured are {', '.join(figures)}."
            )
        self._figures = {step: figures}

    def newest(self, at_most: int | None = None) -> int:
        """Step of the newest checkpoint at or before `at_most` whose files are as they were written, -1 for none.

        Every rank must call it, and reads its share of the files. Newer ones that are damaged are set aside. Raises
        ValueError where all are damaged; then they stay where they are.
        """
        self._settle()
        complete = self._from_first(checksums.steps(self._path) if self._rank == 0 else None)
        damaged: dict[int, list[str]] = {}
        for step in complete:
            if at_most is not None and step > at_most:
                continue
            found = self._damage(step)
            if not found:
                self._set_aside(damaged, step)
                return step
            damaged[step] = found
        if damaged:
            listed = "; ".join(f"step-{step}: {', '.join(found)}" for step, found in damaged.items())
            raise ValueError(
                f"{self._path}: every checkpoint that could be used is damaged ({listed}), so there is none to go on "
                "from. Copy one back from train.archive, or delete the folder to begin again with the base's weights."
            )
        return -1

    def discard_after(self, step: int) -> None:
        """Remove the checkpoints after `step`, and what is left of unfinished ones. Every rank must call it."""
        self._settle()
        if self._rank == 0:
            for folder in self._path.glob("step-*"):
                if checksums.step_of(folder) > step or not (folder / COMPLETE).exists():
                    checksums.remove(folder)
        dist.barrier(self.pg)
        self._saved = step

    def _find_load_step(self, folder: str = "") -> int:
        step = self.newest()
        if self._rank == 0:
            self._tell_unfinished(step)
        self.discard_after(step)
        return step

    def dcp_load(self, state_dict: dict[str, Any], checkpoint_id: str, from_hf: bool, from_quantized: bool) -> None:
        """As torchtitan's, but nothing in a checkpoint is run (train/read_checkpoint.py)."""
        if from_hf:
            super().dcp_load(state_dict, checkpoint_id, from_hf, from_quantized)
            return
        read_checkpoint.load(state_dict, Path(checkpoint_id))
        if MODEL in self.states:
            self.states[MODEL].load_state_dict(state_dict)

    def _save(self, curr_step: int, last_step: bool = False) -> bool:
        if curr_step == self._saved or not self._should_save(curr_step, last_step):
            return False
        self.maybe_wait_for_saving()
        folder = self._path / f"step-{curr_step}"
        super()._save(curr_step, last_step)
        figures = self._figures.get(curr_step, {})
        if self.save_future is None:
            self._complete(folder, figures)
        else:
            self.save_future = self._background.submit(self._complete, folder, figures, self.save_future)
        self._saved = curr_step
        return True

    def _complete(self, folder: Path, figures: dict[str, Any], written: "Future[Any] | None" = None) -> None:
        """Make a checkpoint count, once its files are written on every rank."""
        if written is not None:
            written.result()
        parts: list[dict[str, Any]] = [{}] * self._world
        dist.all_gather_object(parts, checksums.measure_files(folder, self._rank), self.pg)
        if self._keeper is not None:
            checksums.complete(folder, figures, {name: of for part in parts for name, of in part.items()})
            self._keeper.tidy()

    def _damage(self, step: int) -> list[str]:
        found: list[list[str]] = [[]] * self._world
        mine = checksums.damage(self._path / f"step-{step}", self._rank, self._world)
        dist.all_gather_object(found, mine, self.pg)
        return sorted({one for part in found for one in part})

    def _set_aside(self, damaged: dict[int, list[str]], used: int) -> None:
        if self._rank == 0:
            for step, found in damaged.items():
                folder, aside = self._path / f"step-{step}", self._path / f"damaged-{step}"
                shutil.rmtree(aside, ignore_errors=True)
                self._records.event("checkpoint_damaged", step, found=found, used=used)
                folder.rename(aside)
                _say(f"{folder}: is damaged ({'; '.join(found)}). Step {used} is used instead. It is now {aside}.")
        dist.barrier(self.pg)

    def _tell_unfinished(self, used: int) -> None:
        for folder in sorted(self._path.glob("step-*"), key=checksums.step_of):
            if checksums.step_of(folder) > used and not (folder / COMPLETE).exists():
                self._records.event("checkpoint_unfinished", checksums.step_of(folder), used=max(0, used))
                what = f"step {used} is used instead" if used > 0 else "the run begins with the initial weights"
                _say(f"{folder}: was not finished when the run was ended, so {what}. It is removed.")

    def _from_first(self, value: Any) -> Any:
        """What rank 0 has, on every rank."""
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.pg)
        return values[0]

    def _settle(self) -> None:
        """Return when nothing is written or moved any more."""
        self.maybe_wait_for_saving()
        if self._keeper is not None:
            self._keeper.wait()

    def _close(self) -> None:
        self.maybe_wait_for_saving()
        self._background.shutdown()
        if self._keeper is not None:
            self._keeper.tidy()  # what a killed start left, where no checkpoint was written since
            self._keeper.close()
            self._keeper = None
        super()._close()


class Scores(Extension):
    """Hands an evaluation's figures to the checkpoints, by which the best one is kept."""

    name = "checkpoints"

    def finish_evaluation(self, trainer: Any, figures: dict[str, Any]) -> None:
        """The checkpoint of this step, if there is one, is written after this."""
        trainer.checkpointer.evaluated(trainer.step, figures)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
