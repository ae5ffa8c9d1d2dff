"""Signals that ask a run to end: the step is finished, a checkpoint saved, the journal told, and the exit status is 0.

SIGTERM is what kill, torchrun and Slurm's pre-emption send; SIGUSR1 is what Slurm sends before the time limit where the
job asks for it (sbatch --signal=USR1@300, seconds before the end). The same command then goes on, bit for bit. There is
no export/ yet, by which a script can tell a finished run from one that is to be started again.

torchrun passes SIGTERM on, and SIGUSR1 where it is told to (--signals-to-handle SIGTERM,SIGINT,SIGUSR1). It gives its
processes 30 seconds (--shutdown-timeout) before it kills them, which must be enough for a step and a checkpoint; its
own exit status is then not 0. Whoever is killed while saving goes on from the checkpoint before.
"""

import signal
from types import FrameType, TracebackType
from typing import Any

import torch
import torch.distributed as dist

HANDLED = (signal.SIGTERM, signal.SIGUSR1)


class Signals:
    """Within it the signals are noted instead of ending the process; once left they do again what they did before."""

    def __init__(self) -> None:
        self._caught = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Signals":
        self._before = {one: signal.signal(one, self._note) for one in HANDLED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one, before in self._before.items():
            signal.signal(one, before)

    def agreed(self, device: torch.device) -> str | None:
        """Name of a signal that any rank has got, the same on all of them; None where none has. All must call it."""
        number = self._caught
        if dist.get_world_size() > 1:
            highest = torch.tensor(number, device=device)
            dist.all_reduce(highest, dist.ReduceOp.MAX)
            number = int(highest)
        return signal.Signals(number).name if number else None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._caught = number
