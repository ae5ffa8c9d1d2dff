"""The same base continued in several ways for the same steps: what each gains on the domain and forgets of the rest.

    python -m eval.replay_sweep [RUN] [--seeds 0 1 2] [--arms 100/0 80/20 ...] [--steps 300]

Arms (eval/sweep_arms.py): fixed shares of replay, EWC, LoRA, the controller, averages with the base, ... Each arm and
seed is a training run of its own in <run>/sweep/<arm>-seed-<n>, over the run's own shards (only the mixture is planned
again), one after the other. A seed is another order of the rows. The same command goes on where it was killed, and an
arm or seed more trains only what is new.

Writes eval/replay_sweep.json and eval/replay_sweep.html (plotly, no network needed) in the run folder, after every arm.
The changes are those of bits per byte between step 0 and the last step, with 95 % intervals over seeds (Student's t).
"""

import argparse
import shutil
from typing import TYPE_CHECKING, Any

from eval.sweep_arms import Arm, arms, chosen, with_keys
from eval.sweep_generated import domain_alone
from pipelines import cli
from pipelines.config import Pipeline

if TYPE_CHECKING:
    from eval.sweep_table import Result


def main(argv: list[str] | None = None) -> None:
    """The command."""
    pipeline, options = cli.parse("eval.replay_sweep", __doc__ or "", "train", argv, _arguments)
    if options.list:
        for arm in arms(pipeline):
            print(f"{arm.name:32} {f'{arm.share:g} of {arm.of}, the rest the base' if arm.of else arm.keys}")
        return
    sweep(pipeline, chosen(pipeline, options.arms), options.seeds, options.processes)


def sweep(pipeline: Pipeline, wanted: list[Arm], seeds: list[int], processes: int = 1) -> None:
    """Train what is not trained yet, measure, write table and plot."""
    from eval import sweep_generated
    from eval.sweep_table import show, write
    from train import own_run

    if not pipeline.eval.held_out:
        raise ValueError("eval.held_out: is 0, so neither gain nor forgetting can be measured. Set it, e.g. 0.02.")
    if not (pipeline.folder / "mixture.json").is_file():
        raise ValueError(f"{pipeline.folder}: has no mixture.json, so there are no shards. Run mix.build first.")
    of_arm = {(arm.name, seed): arm_pipeline(pipeline, arm, seed) for seed in seeds for arm in wanted if not arm.of}
    results: list[Result] = []
    for seed in seeds:
        for arm in wanted:
            trained = of_arm[arm.of or arm.name, seed]
            print(f"{arm.name}, seed {seed}: {trained.folder}", flush=True)
            if arm.generated:
                generated = sweep_generated.curate(pipeline, trained.mix.replay)
                sweep_generated.link(pipeline.folder, generated.folder, trained.folder)
            if not arm.of:
                own_run.train([own_run.prepare(pipeline.folder, trained)], processes)
            results.append(_measure(trained, arm, seed))
            write(pipeline, results)
    show(pipeline, results)


def arm_pipeline(pipeline: Pipeline, arm: Arm, seed: int) -> Pipeline:
    """The pipeline of an arm's own run."""
    folder = pipeline.folder / "sweep" / f"{arm.folder}-seed-{seed}"
    own: dict[str, Any] = {
        "output": str(folder),
        "train.run": "main",
        "mix.seed": seed,
        "train.seed": seed,
        "phases": [],
    }
    if arm.generated:
        own["mix.weights"] = domain_alone(pipeline.folder, pipeline.mix.weights) or "natural"
        own["mix.max_epochs"] = domain_alone(pipeline.folder, pipeline.mix.max_epochs)
    return with_keys(pipeline, arm.keys | own)


def _measure(pipeline: Pipeline, arm: Arm, seed: int) -> "Result":
    """Bits per byte of the base and of the arm's model."""
    from eval.select import evaluations
    from eval.sweep_table import Result

    history = evaluations(pipeline.folder / "train" / pipeline.train.run)
    before, after = history[0].figures, dict(history[-1].figures)
    if arm.of:
        after = _measure_average(pipeline, arm)
    return Result.of(arm, seed, before, after, pipeline.eval.select_weight)


def _measure_average(pipeline: Pipeline, arm: Arm) -> dict[str, float]:
    """As during training, on the averaged weights; kept beside the training run, the weights are not."""
    from curate.files import file_identity, identity, read_json, write_json
    from eval import held_out, hugging_face
    from eval.average import average, base_of

    run = pipeline.folder / "train" / pipeline.train.run
    keys, path = pipeline.eval, run / f"averaged-{arm.share:g}.json"
    weights = identity([file_identity(file) for file in sorted((run / "export").glob("*.safetensors"))])
    made_of = {"weights": weights, "documents": keys.documents, "characters": keys.characters}
    if path.exists() and (found := read_json(path))["made_of"] == made_of:
        return dict(found["figures"])
    folder = average(base_of(run, pipeline.model), run / "export", run / "averaged", arm.share)
    tokenizer = pipeline.folder / "tokenizer"
    windows = held_out.load(pipeline.folder, tokenizer, pipeline.mix.seq_len, keys.documents, keys.characters)
    figures = held_out.bits_per_byte(windows, hugging_face.nll(hugging_face.load(folder)))
    shutil.rmtree(folder)
    write_json(path, {"made_of": made_of, "figures": figures})
    return figures


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--arms", nargs="+", default=[], metavar="NAME", help="arms by name (--list); eight of them if left out"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="seeds (default 0 1 2)")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="processes of a training run (default 1)")
    parser.add_argument("--list", action="store_true", help="show the arms and their keys, train nothing")


if __name__ == "__main__":
    cli.run(main)
