"""Several training runs one after the other on the same processes, which load torch once: `train` below.

Each process is `python -m tests.train.several`, with RANK and WORLD_SIZE set, and a list of argument lists of
train.launch as JSON; each run's processes meet at a port of their own. ["lose", FOLDER, STEP] in the list leaves a
training run's folder as if it had been killed before the checkpoint of that step.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.train import small


def train(runs: list[list[str]], processes: int) -> None:
    """Train each of `runs` (arguments of train.launch) to its end on `processes` processes of one thread."""
    ports = [str(port) for port in _free_ports(len(runs))]
    shared = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.train.several", json.dumps(runs), *ports],
            cwd=small.REPO,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(processes)
    ]
    try:
        outputs = [process.communicate(timeout=300)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert not any(process.returncode for process in started), "\n".join(outputs)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def main() -> None:
    """One process: train all runs."""
    from train import launch

    for arguments, port in zip(json.loads(sys.argv[1]), sys.argv[2:], strict=True):
        os.environ["MASTER_PORT"] = port
        if arguments[0] == "lose":
            lose(Path(arguments[1]), arguments[2])
        else:
            launch.main(arguments)


def lose(folder: Path, step: str) -> None:
    """Remove the export and a checkpoint; both are gone when any of the processes returns."""
    if os.environ["RANK"] == "0":
        shutil.rmtree(folder / "checkpoints" / f"step-{step}")
        (folder / "export").rename(folder / "lost")
    while (folder / "export").exists():
        time.sleep(0.01)


if __name__ == "__main__":
    main()
