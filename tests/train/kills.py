"""Training runs to be ended by kill -9, started from a process that has loaded what they import.

Each rank is a process that calls `train.launch.main` as the command does.
"""

import multiprocessing
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from train import checksums
from train.checksums import COMPLETE
from train.settings import CHECKPOINTS

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.train.loaded"])


def start(run: Path, name: str, *arguments: str, world: int = 1) -> list[BaseProcess]:
    """Start a training run; what its processes print is added to <run>/train/<name>.log."""
    return start_with(_launch, run, name, *arguments, world=world)


def start_with(
    main: Callable[[list[str]], None], run: Path, name: str, *arguments: str, world: int = 1
) -> list[BaseProcess]:
    """Call a function with a training run's command line, in a process for each rank."""
    os.environ["OMP_NUM_THREADS"] = "1"  # read when the first process is started
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    given = [str(run), "--train.run", name, *arguments]
    log = run / "train" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    ranks: list[BaseProcess] = [
        _CONTEXT.Process(target=_become, args=(main, given, log, rank, world, port)) for rank in range(world)
    ]
    for process in ranks:
        process.start()
    return ranks


def _become(
    main: Callable[[list[str]], None], arguments: list[str], log: Path, rank: int, world: int, port: int
) -> None:
    """Be one rank of a run, with the output added to a file."""
    with open(log, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in names.items()} | {"MASTER_ADDR": "localhost"}
    main(arguments)
    sys.stdout.flush()


def _launch(arguments: list[str]) -> None:
    from pipelines import cli
    from train import launch

    cli.run(lambda: launch.main(arguments))


def finish(ranks: list[BaseProcess], code: int = 0) -> None:
    """Wait for a run to end, each of its processes with this exit code."""
    for process in ranks:
        process.join(200)
    assert [process.exitcode for process in ranks] == [code] * len(ranks)


def kill(ranks: list[BaseProcess]) -> bool:
    """Kill -9 every process of a run; returns whether one was still running."""
    for process in ranks:
        process.kill()
    for process in ranks:
        process.join()
    return any(process.exitcode == -9 for process in ranks)


def unfinished(folder: Path) -> set[str]:
    """Names of the checkpoints of a training run that are being written, or were when it was killed."""
    newest = next(iter(checksums.steps(folder / CHECKPOINTS)), 0)  # an older one is being removed
    found = [path for path in (folder / CHECKPOINTS).glob("step-*") if not (path / COMPLETE).exists()]
    return {path.name for path in found if checksums.step_of(path) > newest}


def some_time(longest: float) -> Callable[[random.Random, Path, list[BaseProcess]], None]:
    """Wait any time up to `longest` seconds from the start."""
    return lambda chance, folder, ranks: time.sleep(chance.uniform(0, longest))


def a_save(longest: float) -> Callable[[random.Random, Path, list[BaseProcess]], None]:
    """Wait for some save, one of the next five, and then any time up to `longest` seconds.

    The processes are left stopped in the middle of it; one that is over by then is not counted.
    """

    def wait(chance: random.Random, folder: Path, ranks: list[BaseProcess]) -> None:
        seen = unfinished(folder)
        wanted = len(seen) + chance.randint(1, 5)
        while any(process.is_alive() for process in ranks):
            seen |= unfinished(folder)
            time.sleep(0.001 if len(seen) < wanted else chance.uniform(0, longest))
            if len(seen) >= wanted and unfinished(folder):
                _signal(ranks, signal.SIGSTOP)
                if unfinished(folder):
                    return
                _signal(ranks, signal.SIGCONT)

    return wait


def _signal(ranks: list[BaseProcess], number: int) -> None:
    for process in ranks:
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, number)


def train_killed(
    run: Path,
    name: str,
    arguments: list[str],
    waits: list[tuple[int, Callable[[random.Random, Path, list[BaseProcess]], None]]],
    last_world: int,
    seed: int,
) -> list[bool]:
    """Start a training run once for each (number of ranks, wait) and kill it after the wait; then let one start end.

    Returns for each kill whether a checkpoint was being written. A start that ends before its wait counts for none.
    """
    chance, folder = random.Random(seed), run / "train" / name
    killed = []
    for world, wait in waits:
        before = unfinished(folder)
        ranks = start(run, name, *arguments, world=world)
        wait(chance, folder, ranks)
        if not kill(ranks):
            finish(ranks)
            break
        killed.append(bool(unfinished(folder) - before))
    finish(start(run, name, *arguments, world=last_world))
    return killed


def lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without the fields that time decides."""
    from train import records

    found = records.read(folder / "metrics.jsonl")
    return [{key: value for key, value in line.items() if key not in records.TIMING} for line in found]
