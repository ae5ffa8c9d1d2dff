"""Training runs one after another in the same process (or processes): `python -m tests.train.in_turn FILE`.

FILE is JSON: a list of {"arguments": [...], "decide": {step: strength of EWC}, "resume": [run, step, lost]}: the
arguments as for train.launch; with `resume` it goes on from that checkpoint of another run, as if that one had been
killed before the next and had lost some of its folders. Starting a process takes longer than a small run.
"""

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import torch.distributed as dist

from curate.files import read_json
from pipelines import cli
from tokenization.embed import resize
from train import architecture, platform, settings
from train.configure import configure, meet
from train.export import export
from train.extension import Extension
from train.trainer import ContinuedTrainer


class Decide(Extension):
    """Decides on EWC's strength after given steps."""

    name = "decide"

    def __init__(self, strengths: dict[int, float]):
        self.strengths = strengths

    def finish_step(self, trainer: ContinuedTrainer, figures: dict[str, Any]) -> None:
        if trainer.step in self.strengths:
            trainer.decide("ewc", strength=self.strengths[trainer.step], evidence="a test")


def train(arguments: list[str], strengths: dict[int, float], resume: tuple[str, int, list[str]] | None) -> None:
    """What train.launch does between meeting and parting."""
    pipeline, _ = cli.parse("tests.train.in_turn", "", "train", arguments)
    found = settings.resolve(pipeline)
    if dist.get_rank() == 0:
        if resume:
            kill(found.folder.parent / resume[0], found.folder, *resume[1:])
        settings.remember(found)
        if found.needs_resizing and not found.initial.is_dir():
            resize(found.base, found.tokenizer, found.initial)
    dist.barrier()
    if found.needs_resizing:
        found = dataclasses.replace(found, weights=found.initial, architecture=architecture.read(found.initial))
    config = configure(found)
    config.extensions = [Decide(strengths), *config.extensions]
    trainer = config.build()
    trainer.train()
    trainer.close()
    if dist.get_rank() == 0:
        export(found, trainer.step, found.folder / settings.EXPORT)
    dist.barrier()


def kill(finished: Path, copy: Path, step: int, lost: list[str]) -> None:
    """A finished run's folder as a kill after the checkpoint of `step` leaves it, without the folders `lost`."""
    shutil.copytree(finished, copy)
    for name in (settings.EXPORT, *lost):
        shutil.rmtree(copy / name)
    for path in (copy / settings.CHECKPOINTS).iterdir():
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)


def main() -> None:
    """Train each run of the list."""
    platform.prepare_process()
    meet()
    for run in read_json(Path(sys.argv[1])):
        strengths = {int(step): strength for step, strength in run.get("decide", {}).items()}
        train(run["arguments"], strengths, run.get("resume"))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
