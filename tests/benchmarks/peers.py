"""Peers that cannot live in our environment: each in one of its own, called as a process that times itself."""

import json
import statistics
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

FOLDER = Path("build/peers")


def python(name: str, *requirements: str) -> str:
    """The Python of an environment with `requirements`, made on the first call under build/peers/<name>."""
    folder = FOLDER / name
    ready = folder / "requirements.txt"
    if not ready.exists() or ready.read_text().split("\n") != list(requirements):
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *requirements], check=True)
        ready.write_text("\n".join(requirements))
    return str((folder / "bin" / "python").absolute())


def call(interpreter: str, script: str | Path, *arguments: str | Path) -> dict[str, object]:
    """Run a script in a peer's environment; returns the JSON object it prints as its last line."""
    done = subprocess.run([interpreter, script, *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{script} failed with exit status {done.returncode}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def interleaved(contenders: dict[str, Callable[[], float]], rounds: int) -> dict[str, dict[str, float]]:
    """Like timing.interleaved, for contenders that return the seconds they took; of 0 rounds the first call counts."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, contender in contenders.items():
            seconds[name].append(contender())
    return {
        name: {"first_s": taken[0], "median_s": statistics.median(taken[1:] or taken)}
        for name, taken in seconds.items()
    }
