"""Three epochs of replay on a curriculum, killed ten times and resumed at other world sizes: the order of the plan."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from curate.files import read_json
from mix.build import build
from mix.loader import Loader
from mix.plan import Plan
from pipelines import config
from tests.mix import consumer

REPO = Path(__file__).resolve().parents[2]
KILLS = 10
EPOCHS = 3
SCHEDULE = [{"step": 0, "domain": 0.5, "replay": 0.5}, {"step": 30, "domain": 0.8, "replay": 0.2}]


@pytest.fixture
def built(make_run: Callable[..., Path]) -> tuple[Path, Plan]:
    """A run of documents made here, with replay falling from half to a fifth over 30 steps."""
    run = make_run(steps=100, global_batch=consumer.GLOBAL_BATCH)
    values = yaml.safe_load((run / "pipeline.yaml").read_text())
    values["mix"] |= {"schedule": SCHEDULE, "max_epochs": 20}
    (run / "pipeline.yaml").write_text(yaml.safe_dump(values))
    return run, build(config.load(run / "pipeline.yaml"))


def steps_for(plan: Plan, epochs: int) -> int:
    """Steps until each source of replay has been used up so many times."""
    replay = {at: source.rows for at, (pool, source) in enumerate(plan.sources) if pool.name == "replay"}
    steps = 1
    while any(plan.taken(steps * consumer.GLOBAL_BATCH)[at] < epochs * rows for at, rows in replay.items()):
        steps += 1
    return steps


@contextmanager
def consumers(run: Path, folder: Path, steps: int) -> Iterator[subprocess.Popen[str]]:
    """The process that starts attempts."""
    command = [sys.executable, str(REPO / "tests" / "mix" / "consumer.py"), str(run), str(folder), str(steps)]
    environment = os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=REPO, env=environment, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[str], question: str = "") -> int:
    """Send a line, if there is something to ask; the number that comes back."""
    assert process.stdin and process.stdout
    if question:
        process.stdin.write(question + "\n")
        process.stdin.flush()
    return int(process.stdout.readline())


def wait_for(log: Path, step: int) -> None:
    """Wait until a row of `step` is written down."""
    deadline = time.monotonic() + 60
    while not (log.exists() and any(int(line.split(",")[0][1:]) >= step for line in whole_lines(log))):
        assert time.monotonic() < deadline, f"step {step} was not reached within a minute"
        time.sleep(0.001)


def whole_lines(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]


def rows_consumed(run: Path, folder: Path, plan: Plan) -> int:
    """Where the next attempt goes on."""
    checkpoint = folder / "checkpoint.json"
    loader = Loader(plan, run / "packed", consumer.GLOBAL_BATCH)
    return loader.resume(read_json(checkpoint)) if checkpoint.exists() else 0


def killed_again_and_again(run: Path, folder: Path, plan: Plan, steps: int) -> list[tuple[int, list[list[Any]]]]:
    """Kill KILLS attempts at random moments and let one more end: the row each began at, and what it logged."""
    chance = random.Random(4)
    worlds = chance.sample([1, 2, 3, 4, 8] * 3, KILLS + 1)
    assert set(worlds) == {1, 2, 3, 4, 8}
    moments = sorted(chance.sample(range(1, steps * 3 // 4), KILLS))
    logged = []
    with consumers(run, folder, steps) as process:
        for attempt, world in enumerate(worlds):
            begin = rows_consumed(run, folder, plan)
            group = ask(process, f"{attempt} {world}")
            if attempt < KILLS:
                wait_for(folder / f"{attempt}-{chance.randrange(world)}.jsonl", moments[attempt])
                time.sleep(chance.uniform(0, 0.04))
                os.killpg(group, signal.SIGKILL)
            assert ask(process) == (-signal.SIGKILL if attempt < KILLS else 0)
            logged.append((begin, consumer.read_log(folder, attempt, world)))
    return logged


def test_ten_kills_and_other_world_sizes_leave_the_plans_order(built: tuple[Path, Plan], tmp_path: Path) -> None:
    run, plan = built
    steps = steps_for(plan, EPOCHS)
    total = steps * consumer.GLOBAL_BATCH
    (tmp_path / "log").mkdir()
    logged = killed_again_and_again(run, tmp_path / "log", plan, steps)
    ends = [begin for begin, _ in logged[1:]] + [total]
    assert len(set(ends)) > 5, "the kills left checkpoints at several steps"
    assert sum(line[2] >= end for (_, lines), end in zip(logged, ends, strict=True) for line in lines) > 0

    kept = [line for (_, lines), end in zip(logged, ends, strict=True) for line in lines if line[2] < end]
    wanted = plan.rows(0, total)
    assert [line[2] for line in kept] == list(range(total))
    for at, whole in ((3, wanted.source), (4, wanted.row), (5, wanted.epoch)):
        assert [line[at] for line in kept] == whole.tolist()
    once = {line[2]: line for line in kept}
    assert all(line[2:] == once[line[2]][2:] for _, lines in logged for line in lines), "redone rows are the same rows"

    replay = {at for at, (pool, _) in enumerate(plan.sources) if pool.name == "replay"}
    pieces = Counter((line[3], *piece) for line in kept if line[3] in replay and line[5] < EPOCHS for piece in line[7])
    assert set(pieces.values()) == {EPOCHS}, "every piece of every document of replay is seen in each epoch"
    tokens: Counter[str] = Counter()
    for _, document, _, length in pieces:
        tokens[document] += length
    packed = pl.read_parquet(run / "packed/replay/*/documents.parquet")
    assert dict(tokens) == dict(packed.iter_rows()), "together the pieces are the whole documents"


def test_the_curriculum_was_followed(built: tuple[Path, Plan]) -> None:
    _, plan = built
    replay = [at for at, (pool, _) in enumerate(plan.sources) if pool.name == "replay"]
    for step in range(60):
        share = max(0.2, 0.5 - 0.3 * step / 30)
        source = plan.rows(step * consumer.GLOBAL_BATCH, consumer.GLOBAL_BATCH).source
        given = sum(one in replay for one in source.tolist())
        assert abs(given - share * consumer.GLOBAL_BATCH) <= 1.25, "a row of rounding, and the stair's middle"
