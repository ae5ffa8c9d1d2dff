"""Weights of sources found by mix.search against natural and uniform ones, at equal tokens, on held-out domain text.

    python tests/benchmarks/search.py [RUN] [--steps 8] [--test-steps 16] [--seeds 1 2] [--work build/search]

RUN is a folder that curate.run and mix.build have finished; left out, pipelines/clinical.yaml is run on ../shared/data
where that is there, else on the built-in sample. Nothing is written into it. The search has proxy runs of --steps steps
at seed 0 and looks at the first held-out documents of each pool. Then each method's weights are trained with anew at
other seeds, for --test-steps steps, and measured on held-out documents that the search has not seen. The same command
goes on after a kill. About ten minutes on one quiet core.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from timing import report

from eval import held_out
from eval.sweep_arms import with_keys
from mix import search
from mix.search import METHODS, NATURAL, UNIFORM
from pipelines import config
from pipelines.config import Pipeline
from train import own_run, settings

REPO = Path(__file__).resolve().parents[2]
DATA = REPO.parent / "shared" / "data"
DOCUMENTS, CHARACTERS = 200, 500
"""Held-out documents of a pool that the search looks at, from their beginnings; the test has twice as many others of
the domain. General ones are the same: nothing is chosen by them."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--steps", type=int, default=8, help="of a proxy run")
    parser.add_argument("--runs", type=int, default=18, help="proxy runs of regmix")
    parser.add_argument("--test-steps", type=int, default=16, help="of the runs that are compared")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="of the runs that are compared")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--work", type=Path, default=Path("build") / "search")
    options = parser.parse_args()
    keys = {"search.steps": options.steps, "search.runs": options.runs, "search.shifts": [0.5]}
    pipeline = prepare(options.run or curated(options.work / "run"), options.work, keys)
    weights: dict[str, dict[str, float]] = {}
    for method in options.methods:
        found = search.search(pipeline, method)
        weights |= {name: found.runs[index].weights for index, name in enumerate((NATURAL, UNIFORM))}
        weights[method] = found.run.weights
        own_run.prepare(pipeline.folder, pipeline)  # natural weights again
    longer = with_keys(pipeline, {"search.steps": options.test_steps})
    measured = test(longer, weights, options.seeds)
    title = (
        f"{options.test_steps} steps of {pipeline.train.global_batch} x {pipeline.mix.seq_len} tokens, bits per byte "
        f"of held-out text the search has not seen, seeds {options.seeds}; proxy runs of {options.steps} steps"
    )
    report("search", title, table(measured))
    for name, given in weights.items():
        print(f"{name:8}", ", ".join(f"{source} {weight:.3f}" for source, weight in given.items()))


def curated(folder: Path) -> Path:
    """A run of the clinical pipeline."""
    data = ["--data-root", str(DATA)] if DATA.is_dir() else []
    curation = ["curate.run", "pipelines/clinical.yaml", *data, "--output", str(folder)]
    for command in (curation, ["mix.build", str(folder)]):
        subprocess.run([sys.executable, "-m", *command], cwd=REPO, check=True)
    return folder


def prepare(run: Path, work: Path, keys: dict[str, Any]) -> Pipeline:
    """A folder beside the run with its documents and shards, and the pipeline for it."""
    keys |= {"output": str(work), "eval.documents": DOCUMENTS, "eval.characters": CHARACTERS}
    keys |= {"mix.weights": "natural", "mix.seed": 0}
    pipeline = with_keys(config.load(run / "pipeline.yaml"), keys)
    own_run.prepare(run, pipeline)
    return pipeline


def test(
    pipeline: Pipeline, weights: dict[str, dict[str, float]], seeds: list[int]
) -> dict[str, list[dict[str, float]]]:
    """Bits per byte of both pools after training with each of these weights, a seed each."""
    from eval import hugging_face

    space, windows = search.find_space(pipeline), unseen(pipeline)
    seeded = [with_keys(pipeline, {"mix.seed": seed, "train.seed": seed}) for seed in seeds]
    runs = {
        name: [own_run.prepare(pipeline.folder, search.proxy(one, space, given, f"test-{name}")) for one in seeded]
        for name, given in weights.items()
    }
    own_run.train([run for some in runs.values() for run in some])
    found: dict[str, list[dict[str, float]]] = {}
    for name, some in runs.items():
        models = [hugging_face.load(run.folder / settings.EXPORT) for run in some]
        found[name] = [held_out.bits_per_byte(windows, hugging_face.nll(model)) for model in models]
    return found


def unseen(pipeline: Pipeline) -> held_out.Windows:
    """Held-out domain documents after those that the search looks at, in the same order, and general ones."""
    every = held_out.read(pipeline.folder, None, CHARACTERS)
    domain, general = (every.filter(every["pool"] == pool) for pool in held_out.POOLS)
    chosen = domain[DOCUMENTS : 3 * DOCUMENTS].vstack(general[:DOCUMENTS])
    return held_out.build(chosen, pipeline.folder / "tokenizer", pipeline.mix.seq_len)


def table(measured: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, Any]]:
    """A row for each set of weights: means over seeds, and how many seeds are better than natural and uniform ones."""
    domain = {name: [one["domain_bits_per_byte"] for one in found] for name, found in measured.items()}
    mean = {name: statistics.mean(figures) for name, figures in domain.items()}
    rows: dict[str, dict[str, Any]] = {}
    for name, found in measured.items():
        rows[name] = {"domain": f"{mean[name]:.4f}"}
        for other in (NATURAL, UNIFORM):
            better = sum(mine < theirs for mine, theirs in zip(domain[name], domain[other], strict=True))
            rows[name] |= {
                f"% of {other}": f"{100 * (mean[name] / mean[other] - 1):+.2f}",
                f"better than {other}": f"{better} of {len(found)}",
            }
        rows[name]["general"] = f"{statistics.mean(one['general_bits_per_byte'] for one in found):.4f}"
    return rows


if __name__ == "__main__":
    main()
