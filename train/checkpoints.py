"""Checkpoints of the full state: weights, optimizer, schedule, rows consumed, step.

A checkpoint is a folder step-<n>. It counts from the moment its `.metadata` is renamed into place, which torch does
last; a run that was killed while saving goes on from the one before.
"""

from dataclasses import dataclass

import train.platform  # noqa: F401  (before torchtitan)

# isort: split
from torchtitan.components.checkpointer import CheckpointManager


class Checkpoints(CheckpointManager):
    """torchtitan's checkpoints, with the last step's treated like any other: complete, and older ones removed."""

    @dataclass(kw_only=True, slots=True)
    class Config(CheckpointManager.Config):
        """Keys as torchtitan's."""

    def _save(self, curr_step: int, last_step: bool = False) -> bool:
        saved = super()._save(curr_step, last_step)
        if saved and last_step:
            self._purge_stale_checkpoints()
        return saved
