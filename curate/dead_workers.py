"""A pool of processes whose worker is killed (as the system does when memory runs out) waits for its task for ever.

Python's pools start another worker and lose the task. So a task at work leaves its process in a file, <folder>/running/
<task>, and a thread looks whether those processes are there.
"""

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

RUNNING = "running"
GRACE = 10.0
"""Seconds a pool may go on without a worker: one that is ended after an error of another is quicker."""


class _LostError(Exception):
    """Raised by the signal in what the main thread waits for."""


@contextlib.contextmanager
def at_work(folder: Path, task: int) -> Iterator[None]:
    """Around a task, in the process that does it."""
    path = folder / RUNNING / str(task)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(os.getpid()))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def told(folder: Path) -> Iterator[None]:
    """Meanwhile a pool on the main thread that lost a worker raises ValueError. `folder`: as the tasks have it."""
    shutil.rmtree(folder / RUNNING, ignore_errors=True)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            if _lost(folder) and not over.wait(GRACE):
                os.kill(os.getpid(), signal.SIGUSR2)
                return

    before = signal.signal(signal.SIGUSR2, _raise)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    except _LostError:
        raise ValueError(
            f"{folder}: a worker process was killed before its task was done, most likely because memory ran out. "
            "Lower executor.workers (each worker holds its own part of the text), and run the command again: it goes "
            "on with what is not done."
        ) from None
    finally:
        over.set()
        signal.signal(signal.SIGUSR2, before)


def _lost(folder: Path) -> bool:
    """Whether a process that has a task is gone."""
    for path in (folder / RUNNING).glob("*"):
        with contextlib.suppress(FileNotFoundError, ValueError, PermissionError):  # done, or being written
            try:
                os.kill(int(path.read_text()), 0)
            except ProcessLookupError:
                return True
    return False


def _raise(*_: object) -> None:
    raise _LostError
