"""A pilot before the long run: short runs at several learning rates and replay shares, compared on both tracks.

    python -m train.pilot                                  the latest run, at the pilot keys of its pipeline file
    python -m train.pilot runs/clinical --steps 300 --learning-rates '[1e-4, 3e-4]' --replay-shares '[0.1, 0.2, 0.3]'
    python -m train.pilot runs/clinical --processes 8      eight processes an arm

An arm is a training run on the run's mixture (train/pilot-...), one after the other, all with the same seeds, the same
warm-up and decay in proportion. Nothing is packed again: train/pilot_arm.py says how its share holds, and when it ends
early. The same command goes on after a kill. Writes pilot/ in the run folder: pilot.json, pilot.html, and chosen.yaml,
a copy of the pipeline with the learning rate and shares that did best. The pipeline file itself stays as it is.
"""

import argparse
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import cli, config
from pipelines.config import Pipeline

if TYPE_CHECKING:
    from train.settings import Settings

FACTORS = (1 / 3, 1, 3)
"""Of train.peak_lr, where no learning rates are given."""
EVALUATIONS = 5
"""Evaluations of an arm after step 0, at least; more where eval.every asks for them."""


@dataclass(frozen=True)
class Outcome:
    """How an arm ended."""

    name: str
    learning_rate: float
    replay: float
    steps: int
    """Steps made."""
    stopped: str | None
    """Why it ended early; None where it did not."""
    loss: float | None
    """Training loss of the last step in nats a token; None where not one was made."""
    evaluated: list[int]
    """Steps at which held-out text was measured, from 0 on."""
    domain: list[float]
    """Bits per byte at these steps."""
    general: list[float]
    """Bits per byte at these steps."""

    @property
    def gain(self) -> float:
        """How far domain bits per byte fell, in percent of those at step 0."""
        return 100 * (1 - self.domain[-1] / self.domain[0])

    @property
    def rise(self) -> float:
        """How far general bits per byte rose, in percent of those at step 0."""
        return 100 * (self.general[-1] / self.general[0] - 1)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    pipeline, options = cli.parse("train.pilot", __doc__ or "", "pilot", argv, _arguments)
    target = chosen_file(pipeline)
    if options.target and Path(options.target).resolve() == target.resolve():
        raise ValueError(
            f"{target}: is what the pilot writes, so it would be written over. Copy it, and name the copy."
        )
    pilot(pipeline, options.processes)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--processes", type=int, default=1, help="processes of an arm, one a GPU (default 1)")


def chosen_file(pipeline: Pipeline) -> Path:
    """Where the copy of the pipeline goes."""
    return pipeline.folder / "pilot" / "chosen.yaml"


def pilot(pipeline: Pipeline, processes: int = 1) -> list[Outcome]:
    """Run the arms that have not ended yet, show them, and write what is recommended."""
    from curate.files import write_json
    from train import pilot_show, settings

    planned = [settings.resolve(arm) for arm in arms(pipeline)]
    for one in planned:
        _check(one, pipeline.train.steps, processes)
    outcomes = []
    for number, one in enumerate(planned, 1):
        arm = one.pipeline
        print(f"arm {number} of {len(planned)}: {told(arm.train.peak, arm.mix.replay)}", flush=True)
        outcomes.append(run(one, processes))
    best, rule = recommend(outcomes, pipeline.pilot.bound)
    folder = chosen_file(pipeline).parent
    folder.mkdir(exist_ok=True)
    figures = [{**asdict(outcome), "gain": outcome.gain, "rise": outcome.rise} for outcome in outcomes]
    named = {"bound": pipeline.pilot.bound, "chosen": best.name if best else None, "rule": rule}
    write_json(folder / "pilot.json", named | {"arms": figures})
    pilot_show.show(outcomes, best, rule, pipeline.pilot.bound)
    pilot_show.write(folder / "pilot.html", pipeline.name, outcomes, best, rule, pipeline.pilot.bound)
    print(f"{folder / 'pilot.html'}: the same with its curves")
    if best:
        write_chosen(pipeline, best)
    return outcomes


def arms(pipeline: Pipeline) -> list[Pipeline]:
    """The pipeline of each arm, share by share and rate by rate. Raises ValueError naming the key that does not fit."""
    keys = pipeline.pilot
    if pipeline.phases:
        raise ValueError(
            "phases: each has its own shares and learning rate, and a pilot compares those of one mixture. Run it with "
            f"--phases '[]' --train.steps {pipeline.train.steps}, and carry over to the phases what it finds."
        )
    if not pipeline.eval.held_out:
        raise ValueError(
            "eval.held_out: is 0, so there is no text to compare the arms on. Set it, e.g. to 0.02, and run curate.run."
        )
    rates = keys.learning_rates or [float(f"{factor * pipeline.train.peak:.2g}") for factor in FACTORS]
    made = [_arm(pipeline, rate, replay) for replay in keys.replay_shares for rate in rates]
    if len({arm.train.run for arm in made}) < len(made):
        raise ValueError("pilot.learning_rates, pilot.replay_shares: one is given twice. Leave out the second one.")
    return made


def _arm(pipeline: Pipeline, rate: float | str, replay: float) -> Pipeline:
    from train.own_run import shortened

    values = pipeline.model_dump(mode="json")
    train, steps = values["train"], pipeline.pilot.steps
    train |= shortened(pipeline.train, steps)
    train |= {"peak_lr": rate, "checkpoint_every": min(train["checkpoint_every"], max(1, steps // 4))}
    values["eval"]["every"] = min(values["eval"]["every"], max(1, steps // EVALUATIONS))
    values |= {"output": str(pipeline.folder), "mix": values["mix"] | _shares(replay)}
    arm = config.parse(values, pipeline.folder / "pipeline.yaml")
    train["run"] = f"pilot-lr{arm.train.peak:g}-replay{replay:g}".replace("+", "")
    return config.parse(values, pipeline.folder / "pipeline.yaml")


def _shares(replay: float) -> dict[str, Any]:
    """Keys of `mix:` for a share of replay throughout."""
    return {"domain": float(1 - Fraction(str(replay))), "replay": replay, "schedule": []}


def _check(arm: "Settings", steps: int, processes: int) -> None:
    """Raises ValueError where `steps` steps could not be had at the arm's share, or the arm is of another pilot."""
    from mix import epochs
    from mix.weights import find_caps
    from train import settings

    settings.check_batches(arm.pipeline, processes)
    mix = arm.pipeline.mix
    plan = arm.plan.with_change(0, {"domain": mix.domain, "replay": mix.replay})
    caps = find_caps(arm.pipeline.folder / "pipeline.yaml", mix, {pool.name: pool.sources for pool in plan.pools})
    if mix.when_capped == "error":
        where = Path(f"pilot.replay_shares: {mix.replay:g}")
        epochs.check(where, mix, plan, steps, arm.pipeline.train.global_batch, caps)
    begun = arm.folder / "config.json"
    if begun.exists():
        trained = (arm.folder / "ended").exists() or settings.newest_step(arm.folder)
        changes = settings.differences(settings.read_object(begun), arm) if trained else ""
        stop = _stop(arm.folder)
        if stop and stop["bound"] != arm.pipeline.pilot.bound:
            changes = f"pilot.bound was {stop['bound']:g}, is {arm.pipeline.pilot.bound:g}"
        if changes:
            raise ValueError(
                f"{begun}: this arm was begun with other settings ({changes}), so it cannot be compared with the "
                f"others. Delete {arm.pipeline.folder / 'train' / 'pilot-*'}, or take the settings from before."
            )


def run(arm: "Settings", processes: int) -> Outcome:
    """The outcome of an arm, which is trained first unless it has ended already; only its records are kept."""
    from train.settings import CHECKPOINTS

    ended = arm.folder / "ended"
    if not ended.exists():
        arm.folder.mkdir(parents=True, exist_ok=True)
        file = arm.folder / "pipeline.yaml"
        config.save(arm.pipeline, file)
        several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        launcher = several if processes > 1 else []
        done = subprocess.run([sys.executable, *launcher, "-m", "train.pilot_arm", str(file)])
        if done.returncode:
            raise ValueError(f"{arm.folder}: this arm failed (above). The same command goes on with it.")
        ended.touch()
    for part in (CHECKPOINTS, arm.initial.name):
        shutil.rmtree(arm.folder / part, ignore_errors=True)
    return outcome(arm.pipeline, arm.folder)


def outcome(arm: Pipeline, folder: Path) -> Outcome:
    """What an arm's records say."""
    from train import records

    lines = records.read(folder / "metrics.jsonl")
    steps = [line for line in lines if "loss" in line]
    evaluations = [line for line in lines if "eval" in line]
    stop = _stop(folder)
    return Outcome(
        name=arm.train.run,
        learning_rate=arm.train.peak,
        replay=arm.mix.replay,
        steps=len(steps),
        stopped=f"step {stop['step']}: {stop['why']}" if stop else None,
        loss=steps[-1]["loss"] if steps else None,
        evaluated=[line["step"] for line in evaluations],
        domain=[line["eval"]["domain_bits_per_byte"] for line in evaluations],
        general=[line["eval"]["general_bits_per_byte"] for line in evaluations],
    )


def _stop(folder: Path) -> dict[str, Any] | None:
    from train import records
    from train.pilot_arm import STOP

    journal = folder / "journal.jsonl"
    events = records.read(journal) if journal.exists() else []
    return next((event for event in events if event["event"] == STOP), None)


def recommend(outcomes: list[Outcome], bound: float) -> tuple[Outcome | None, str]:
    """The arm to go on with, and by which rule; None where no arm got better on the domain.

    Of arms that are equal the first one counts.
    """
    whole = [one for one in outcomes if not one.stopped and one.gain > 0]
    within = [one for one in whole if one.rise <= bound]
    if within:
        best = max(within, key=lambda one: one.gain)
        return best, f"largest domain gain of the arms whose general bits per byte rise by at most {bound:g} %"
    if whole:
        best = min(whole, key=lambda one: one.rise)
        return best, (
            f"no arm keeps the rise of general bits per byte within {bound:g} %, so the one with the least rise; try "
            "lower learning rates or larger replay shares"
        )
    return None, "no arm got to its end with a domain gain, so none; try lower learning rates"


def told(learning_rate: float, replay: float) -> str:
    """An arm in words."""
    return f"learning rate {learning_rate:g}, replay {replay:g}"


def write_chosen(pipeline: Pipeline, best: Outcome) -> None:
    """A copy of the pipeline with the chosen values, and what to do with it."""
    path = chosen_file(pipeline)
    values = pipeline.model_dump(mode="json")
    values["train"]["peak_lr"] = best.learning_rate
    values["mix"] |= _shares(best.replay)
    config.save(config.parse(values, path), path)
    print(f"{path}: the pipeline with {told(best.learning_rate, best.replay)}")
    print(f"next: python -m mix.build {path}; torchrun -m train.launch {path}")


if __name__ == "__main__":
    cli.run(main)
