"""The real trainer, killed ten times at random and resumed on one and two processes, beside a run left alone.

    python tests/benchmarks/restarts.py

Trains the built-in base on documents made here, with replay falling from half to a fifth, until replay has been seen
three times. Checks every line of metrics.jsonl against the plan (rows, share of domain rows), shows by how much the
losses of the two runs differ, and counts each document of replay in the rows that were trained on.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

from curate.files import write_json  # noqa: E402
from mix import trace  # noqa: E402
from mix.build import build  # noqa: E402
from pipelines import config  # noqa: E402
from tests.benchmarks import timing  # noqa: E402
from tests.train import small  # noqa: E402
from tokenization.folder import copy_companions  # noqa: E402
from train import records  # noqa: E402

BASE = REPO / "pipelines" / "models" / "tiny-llama"
GLOBAL_BATCH = 8
KILLS = 10
EPOCHS = 3
SCHEDULE = [{"step": 0, "domain": 0.5, "replay": 0.5}, {"step": 30, "domain": 0.8, "replay": 0.2}]


def make_run(folder: Path) -> config.Pipeline:
    """A built run whose training ends with the step in which replay has been used up EPOCHS times."""
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir(parents=True)
    (tokenizer / "tokenizer.json").write_bytes((BASE / "tokenizer.json").read_bytes())
    copy_companions(BASE, tokenizer)
    write_json(tokenizer / "extension.json", {"base": str(BASE), "base_vocab": 0, "new_tokens": []})
    small.write_documents(folder / "documents/domain/notes", "domain", "notes", range(400))
    small.write_documents(folder / "documents/replay/books", "replay", "books", range(24))
    values = small.pipeline(folder, BASE, global_batch=GLOBAL_BATCH, local_batch=2, checkpoint_every=4).model_dump()
    values["eval"] |= {"held_out": 0}
    values["mix"] |= {"seq_len": small.SEQ_LEN, "schedule": SCHEDULE, "max_epochs": 50}
    steps, known = 200, 0
    while steps != known:
        known = steps
        values["train"]["steps"] = steps
        pipeline = config.parse(values, folder / "pipeline.yaml")
        plan = build(pipeline)
        steps = next(n for n in range(1, 1000) if plan.taken(n * GLOBAL_BATCH)[1] >= EPOCHS * plan.sources[1][1].rows)
    return pipeline


def kill(pid: int) -> None:
    """Kill -9 a process and all it started: torchrun's workers are sessions of their own."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended meanwhile
    family = [pid]
    for member in family:  # grows while it is read
        family += [child for child, parent in parents.items() if parent == member]
    for member in family:
        try:
            os.kill(member, signal.SIGKILL)
        except ProcessLookupError:
            continue


def wait_for(process: subprocess.Popen[str], path: Path, step: int) -> None:
    """Wait until the metrics have a line of `step`."""
    while not (path.exists() and any(line["step"] >= step for line in records.read(path))):
        if process.poll() is not None:
            raise SystemExit(f"the run ended before step {step}:\n{process.communicate()[0]}")
        time.sleep(0.002)


def train_killed(run: Path, steps: int) -> list[int]:
    """Kill KILLS attempts and let one more end; returns how many processes each had."""
    chance = random.Random(0)
    worlds = chance.sample([1, 2] * KILLS, KILLS) + [2]
    moments = sorted(chance.sample(range(1, steps * 3 // 4), KILLS))
    for world, moment in zip(worlds, moments, strict=False):
        process = small.start(run, "--train.run", "killed", processes=world)
        wait_for(process, run / "train" / "killed" / "metrics.jsonl", moment)
        time.sleep(chance.uniform(0, 0.1))
        kill(process.pid)
        process.communicate()
    small.train(run, "--train.run", "killed", processes=worlds[-1])
    return worlds


def check(run: trace.Run, lines: list[dict[str, Any]]) -> None:
    """Every step's line says the rows and the share that the plan gives it."""
    assert [line["step"] for line in lines] == list(range(1, run.steps + 1))
    for line in lines:
        source = run.plan.rows((line["step"] - 1) * GLOBAL_BATCH, GLOBAL_BATCH).source
        assert line["rows"] == line["step"] * GLOBAL_BATCH
        assert line["domain_share"] == (source == 0).mean(), f"step {line['step']}"


def pieces_of_replay(run: trace.Run) -> Counter[tuple[str, int]]:
    """How often each piece of each document of replay stands in the first EPOCHS epochs of the trained rows."""
    seen: Counter[tuple[str, int]] = Counter()
    for step in range(1, run.steps + 1):
        segments = trace.trace_step(run, step)
        for pool, epoch, *piece in segments.select("pool", "epoch", "id", "first_token").rows():
            if pool == "replay" and epoch < EPOCHS:
                seen[piece[0], piece[1]] += 1
    return seen


def main() -> None:
    """Both runs, the checks, the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        pipeline = make_run(path)
        small.train(path, "--train.run", "whole")
        worlds = train_killed(path, pipeline.train.steps)
        names = ("whole", "killed")
        lines = {name: records.read(path / "train" / name / "metrics.jsonl") for name in names}
        runs = {name: trace.open_run(pipeline, name) for name in names}
        for name in names:
            check(runs[name], lines[name])
        seen = pieces_of_replay(runs["killed"])
        assert set(seen.values()) == {EPOCHS}
        events = records.read(path / "train" / "killed" / "journal.jsonl")
        resumed = [event["step"] for event in events if event["event"] == "resume"]
        away = max(abs(one["loss"] - other["loss"]) for one, other in zip(*lines.values(), strict=True))
        timing.report(
            "restarts",
            f"{KILLS} kills, processes {worlds}, resumed at steps {resumed}",
            {
                name: {
                    "steps": runs[name].steps,
                    "steps with the plan's rows": len(lines[name]),
                    "pieces of replay": len(seen),
                    "times each was seen": EPOCHS,
                    "largest loss difference": away if name == "killed" else 0.0,
                }
                for name in names
            },
        )


if __name__ == "__main__":
    main()
