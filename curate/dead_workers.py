"""A pool of processes whose worker is killed (as the system does when memory runs out) waits for its task for ever.

Python's pools start another worker and lose the task. So the workers are watched from a thread, and the wait is ended.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import multiprocess

GRACE = 10.0
"""Seconds a pool may go on without a worker: one that ends by itself, after an error or at the end, is quicker."""


class _LostError(Exception):
    """Raised by the signal in what the main thread waits for."""


@contextlib.contextmanager
def told(where: str) -> Iterator[None]:
    """Meanwhile a pool on the main thread that lost a worker raises ValueError, which begins with `where`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over = threading.Event()

    def watch() -> None:
        seen: set[int] = set()
        while not over.wait(0.5):
            alive = {process.pid for process in multiprocess.active_children()}
            if seen - alive and not over.wait(GRACE):
                os.kill(os.getpid(), signal.SIGUSR2)
                return
            seen = alive

    before = signal.signal(signal.SIGUSR2, _raise)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    except _LostError:
        raise ValueError(
            f"{where}: a worker process was killed before its task was done, most likely because memory ran out. Lower "
            "executor.workers (each worker holds its own part of the text), and run the command again: it goes on with "
            "what is not done."
        ) from None
    finally:
        over.set()
        signal.signal(signal.SIGUSR2, before)


def _raise(*_: object) -> None:
    raise _LostError
