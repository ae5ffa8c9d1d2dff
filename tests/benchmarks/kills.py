"""The real trainer, ended by kill -9 at twenty random moments, beside runs left alone.

    python tests/benchmarks/kills.py

Three runs are killed: one that always has one process (8 kills), one that always has two (6), one that has one and two
in turn (6). Half of the kills come at any time after the start, half while a checkpoint is written. Each run archives
what it does not keep. Compared with runs left alone: every line of metrics.jsonl bit by bit at the same number of
processes; rows, tokens, share and learning rate at another; the exported weights; which checkpoints are kept and
archived, and that each is as it was written.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

from tests.benchmarks import restarts, timing  # noqa: E402
from tests.train import kills  # noqa: E402
from train import checksums, records  # noqa: E402

KEYS = ["--train.steps=36", "--train.checkpoint_every=2", "--train.keep_every=12"]
SAME_ROWS = ("step", "rows", "tokens", "domain_share", "lr")
LONGEST_START, LONGEST_SAVE = 3.0, 0.15
"""Seconds: kills come up to this long after a start, or after a save has begun."""
RUNS = {"one process": ([1], 8), "two processes": ([2], 6), "one and two in turn": ([1, 2], 6)}
"""Name -> numbers of processes, in turn, and kills."""


def train_killed(run: Path, name: str, keys: list[str], worlds: list[int], number: int) -> list[bool]:
    """Kill a training run `number` times, or say that it ended too early; returns which kills came in a save."""
    kinds = [kills.a_save(LONGEST_SAVE), kills.some_time(LONGEST_START)]
    turns = [(worlds[i // 2 % len(worlds)], kinds[i % 2]) for i in range(number)]
    killed = kills.train_killed(run, name, keys, turns, worlds[0], seed=number)
    if len(killed) < number:
        print(f"{name}: ended after {len(killed)} of {number} kills")
    return killed


def compare(run: Path, name: str, other: str, exact: bool) -> dict[str, Any]:
    """A killed run beside one left alone; AssertionError where they differ in what must be equal."""
    folders = [run / "train" / one for one in (name, other)]
    mine, theirs = (kills.lines(folder) for folder in folders)
    for one, two in zip(mine, theirs, strict=True):
        assert one == two if exact else [one[key] for key in SAME_ROWS] == [two[key] for key in SAME_ROWS]
    weights = [(folder / "export" / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1] or not exact
    for places in (
        [folder / "checkpoints" for folder in folders],
        [run / "archive" / "small" / one.name for one in folders],
    ):
        kept = [checksums.steps(place) for place in places]
        assert kept[0] == kept[1], kept
        assert not any(checksums.damage(folder) for folder in places[0].glob("step-*"))
    events = records.read(folders[0] / "journal.jsonl")
    away = {
        key: max(abs(one[key] - two[key]) for one, two in zip(mine, theirs, strict=True))
        for key in ("loss", "grad_norm")
    }
    return {
        "unfinished found": sum(event["event"] == "checkpoint_unfinished" for event in events),
        "resumed at": " ".join(str(event["step"]) for event in events if event["event"] == "resume"),
        "lines": len(mine),
        "equal lines": sum(one == two for one, two in zip(mine, theirs, strict=True)),
        "loss differs by": away["loss"],
        "norm by": away["grad_norm"],
    }


def checksum_share(folder: Path) -> float:
    """Milliseconds to read a checkpoint and compute its checksums, median of 5."""
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        assert checksums.damage(folder) == []
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)


def main() -> None:
    """All runs, the checks, the table."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        restarts.make_run(run)
        keys = [*KEYS, f"--train.archive={run / 'archive'}"]
        for world in (1, 2):
            kills.finish(kills.start(run, f"alone_{world}", *keys, world=world))
        rows = {}
        for label, (worlds, number) in RUNS.items():
            name = label.replace(" ", "_")
            killed = train_killed(run, name, keys, worlds, number)
            found = compare(run, name, f"alone_{worlds[0]}", exact=len(worlds) == 1)
            rows[label] = {"kills": len(killed), "in a save": sum(killed), **found}
        newest = run / "train" / "alone_1" / "checkpoints" / "step-36"
        size = sum(path.stat().st_size for path in newest.iterdir()) / 1e6
        title = f"kill -9; a checkpoint of {size:.1f} MB is checked in {checksum_share(newest):.1f} ms"
        timing.report("kills", title, rows)


if __name__ == "__main__":
    main()
