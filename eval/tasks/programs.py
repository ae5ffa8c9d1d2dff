"""Programs that a model wrote, run against HumanEval's tests in a process of their own with limits.

It is no sandbox: a program has the user's rights. It starts in an empty folder that is removed afterwards, without the
environment's variables, with 10 s of processor time and as much of waiting, 1 GiB of memory, files of at most 1 MiB and
no core dump.
"""

import os
import resource
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

SECONDS = 10
MEMORY = 1 << 30
FILE_SIZE = 1 << 20


def passes(item: dict[str, Any], results: list[str]) -> dict[str, float]:
    """1 where the function that the prompt begins and the model ends passes the item's tests (pass@1)."""
    program = f"{item['question']}{results[0]}\n{item['test']}\ncheck({item['entry_point']})\n"
    return {"acc": float(succeeds(program))}


def succeeds(program: str) -> bool:
    """Whether a Python program gets to its end within the limits; one that exits before it does not."""
    with tempfile.TemporaryDirectory() as folder:
        reached = Path(folder) / "end"
        running = subprocess.Popen(
            [sys.executable, "-I", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={},
            preexec_fn=_limit,
            start_new_session=True,
        )
        try:
            running.communicate(f"{program}\nopen('end', 'w').close()\n".encode(errors="replace"), 2 * SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)  # with whatever the program started
            running.wait()
        return reached.exists()


def _limit() -> None:
    for kind, most in (
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, FILE_SIZE),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
