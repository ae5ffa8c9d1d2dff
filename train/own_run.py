"""Training runs that are no run of their own: in a folder inside a run, over its documents and shards.

    python -m train.own_run FOLDER ...    trains in each folder, one after the other, in one process (or under torchrun)

The replay sweep (eval/replay_sweep.py) and the search for weights (mix/search.py) train many of them. Only the mixture
is planned again; the same call after a kill goes on where it stopped. A process begins in 8 s and a proxy run may take
10, so runs that are known together are made in one.
"""

import contextlib
import gc
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curate.files import alone
from pipelines import cli, config
from pipelines.config import Pipeline
from train import parallelism
from train.config import TrainConfig
from train.settings import EXPORT, Settings, check_batches, remember, resolve

SHARED = ("documents", "held_out", "packed", "tokenizer")
"""What such a run has in common with the run that it lies in: links to its own."""
LAST_LINES = 30
"""Lines of a failed training run's log that the error shows."""


def prepare(run: Path, pipeline: Pipeline) -> Settings:
    """Link what is shared with `run`, where it is not there yet, and plan the mixture of `pipeline` in its folder.

    Raises ValueError where the folder was trained in with other settings.
    """
    from mix import build

    folder = pipeline.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in SHARED:
        link = folder / name
        if not link.is_symlink() and not link.exists():
            link.symlink_to((run / name).resolve())
    with contextlib.redirect_stdout(io.StringIO()):
        build.build(pipeline)
    found = resolve(pipeline)
    remember(found)
    return found


def train(runs: Sequence[Settings], processes: int = 1, command: tuple[str, ...] = ("train.own_run",)) -> None:
    """Train those to the end that are not, in a process of their own. Raises ValueError where training fails.

    `command` is the module and its arguments before the folders; it leaves an export in each.
    """
    missing = [one for one in runs if not (one.folder / EXPORT).is_dir()]
    if not missing:
        return
    folders = [str(one.pipeline.folder) for one in missing]
    several = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    log = missing[0].pipeline.folder / "train.log"
    with open(log, "w", encoding="utf-8") as output:
        started = [sys.executable, *(several if processes > 1 else []), "-m", *command, *folders]
        code = subprocess.run(started, stdout=output, stderr=subprocess.STDOUT).returncode
    if code or not all((one.folder / EXPORT).is_dir() for one in missing):
        last = "\n".join(log.read_text(encoding="utf-8").splitlines()[-LAST_LINES:])
        raise ValueError(f"{log}: training ended with {code} before the last step. Its last lines:\n{last}")


def shortened(train: TrainConfig, steps: int) -> dict[str, Any]:
    """Keys of `train:` for a shorter run: `steps`, and a warm-up and decays that are the same share of them."""
    shorter = min(1.0, steps / train.steps)
    keys = {key: getattr(train, key) for key in ("warmup_steps", "decay_steps", "cooldown_steps")}
    kept = {key: max(1, int(count * shorter)) for key, count in keys.items() if count}  # 0 turns the one off
    return {"steps": steps, **kept}


def main() -> None:
    """Train in each folder of the command line that has no export; a signal ends it after a step."""
    world, first = int(os.environ.get("WORLD_SIZE", "1")), os.environ.get("RANK", "0") == "0"
    for folder in sys.argv[1:]:
        try:
            found = resolve(config.load(Path(folder) / "pipeline.yaml", {"output": folder}))
            check_batches(found.pipeline, parallelism.layout(found.pipeline.train, world).rows)
        except ValueError:
            if first:
                raise
            raise SystemExit(2) from None  # every process finds the same; the first one says it
        with alone(found.folder) if first else contextlib.nullcontext():
            if not (found.folder / EXPORT).is_dir() and not _train(found, first):
                return


def _train(found: Settings, first: bool) -> bool:
    """Whether the run came to its end; the processes stay together for the next one."""
    from train.launch import make_ready

    found = make_ready(found, first)
    import torch.distributed as dist

    from train.configure import configure
    from train.export import export

    trainer = configure(found).build()
    try:
        whole = trainer.train()
    finally:
        trainer.close()
    if whole and first:
        export(found, trainer.step, found.folder / EXPORT)
    dist.barrier()
    del trainer
    gc.collect()  # torchtitan has turned it off, and the next model needs the memory
    return whole


if __name__ == "__main__":
    cli.run(main)
