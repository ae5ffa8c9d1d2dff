"""Tokens a second of this trainer on a mixture against stock torchtitan on random tokens: same model, same settings.

    python tests/benchmarks/training.py [--seq-lens 512 4096] [--rounds 7] [--seconds 1.5] [--threads 2] [--data FOLDER]
    python tests/benchmarks/training.py --model 1b --seq-lens 4096    on a GPU: Llama 3.2 1B's shape in bf16

Every contender is a process of its own (peers/train_steps.py) that makes a few steps when its turn comes; the others
wait. A ratio is that of two contenders in one round, the median over the rounds; on a machine with other work the one
by processor time (tokens a second of it) is the steadier. One after the other they add what this trainer adds:

torchtitan                           its trainer, its attention, its loss, random tokens, logs as it does
torchtitan, attention by document    our attention, each row one document
palimpsest, random tokens, causal    our trainer: loss by pool, metrics.jsonl and the terminal every step
palimpsest, causal                   rows of the mixture, torchtitan's attention over the whole row
palimpsest                           everything, documents masked: against the one above, what masking costs

The mixture is real text where --data is there, else the built-in sample; on a CPU rows of 512 and 4096. Utilisation
and memory are figures for accelerators, and are left out on a CPU.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pipeline import DATA, REPO, corpus
from timing import report

from curate.files import read_json, write_json

TINY = REPO / "pipelines" / "models" / "tiny-llama"
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"max_position_embeddings": 8192},
    "1b": {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "max_position_embeddings": 131072,
        "rope_theta": 500000.0,
    },
}
"""What a model has otherwise than the built-in base; 1b is Llama 3.2 1B's config.json."""
TOKENS = {"tiny": 8192, "1b": 32768}
"""Tokens of a step: on two cores a step then takes about half a second."""
STOCK, CAUSAL, OURS = "torchtitan", "palimpsest, causal", "palimpsest"
CONTENDERS = (STOCK, "torchtitan, attention by document", "palimpsest, random tokens, causal", CAUSAL, OURS)


def main() -> None:
    """Print a table for each length of rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, default="tiny")
    parser.add_argument("--seq-lens", nargs="+", type=int, default=[512, 4096])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each contender in each round, about")
    parser.add_argument("--threads", type=int, default=2, help="of each process, on a CPU")
    parser.add_argument("--only", nargs="*", default=CONTENDERS, help="contenders, by name")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        for seq_len in options.seq_lens:
            run = make_run(Path(name), options.data, options.model, seq_len)
            rows |= measure(run, seq_len, options)
    title = f"tokens/s, {options.model} model, {TOKENS[options.model]:,} tokens a step, medians of {options.rounds}"
    report("train", f"{title}; ratios within a round", rows)


def make_run(home: Path, data: Path, model: str, seq_len: int) -> Path:
    """A run up to and with its mixture: 8 MB of text, the built-in tokenizer, random weights."""
    base, documents, run = home / "base", home / "data", home / f"run-{seq_len}"
    if not base.exists():
        shutil.copytree(TINY, base, ignore=shutil.ignore_patterns("*.safetensors"))
        write_json(base / "config.json", read_json(base / "config.json") | SHAPES[model])
        if data.is_dir():
            corpus(data, documents, 8e6)
    batch = TOKENS[model] // seq_len
    precision = "bfloat16" if model == "1b" else "float32"
    train = {"init": "scratch", "global_batch": batch, "local_batch": batch, "dtype": precision}
    values = {
        "name": "benchmark",
        "model": str(base),
        "data_root": str(documents) if documents.is_dir() else "sample",
        "domain": ["domain/*.jsonl.gz"],
        "replay": ["general/*.jsonl.gz"],
        "output": str(run),
        "curate": {"stages": ["normalize"]},
        "tokenizer": {"extend": "never"},
        "mix": {"seq_len": seq_len, "max_epochs": 1000.0},
        "train": train | {"steps": 300, "checkpoint_every": 1000},
    }
    write_json(home / "pipeline.json", values)
    for command in (["curate.run", str(home / "pipeline.json")], ["mix.build", str(run)]):
        subprocess.run([sys.executable, "-m", *command], cwd=REPO, check=True, stdout=subprocess.DEVNULL)
    return run


def measure(run: Path, seq_len: int, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """A row a contender, all taking turns; another one begins each round."""
    running = {name: Contender(run, name, options.threads) for name in CONTENDERS if name in options.only}
    steps = {name: steps_in(options.seconds, contender) for name, contender in running.items()}
    rounds: list[dict[str, dict[str, Any]]] = []
    for turn in range(options.rounds):
        first = turn % len(running)
        order = [*running][first:] + [*running][:first]
        rounds.append({name: running[name].make(steps[name]) for name in order})
    for contender in running.values():
        contender.end()
    tokens = TOKENS[options.model]
    made = {name: [{"tokens": tokens * steps[name], **turn[name]} for turn in rounds] for name in running}
    return {f"{name}, rows of {seq_len}": row(name, made) for name in running}


def steps_in(seconds: float, contender: "Contender") -> int:
    """Steps that a contender makes in about so many seconds."""
    return max(1, round(2 * seconds / contender.make(2)["seconds"]))


def row(name: str, made: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians of one contender, and of its ratios to others in the same round."""

    def against(other: str, clock: str = "seconds") -> float | None:
        if name == other or other not in made:
            return None
        pairs = zip(made[name], made[other], strict=True)
        return statistics.median(
            mine["tokens"] / mine[clock] / (theirs["tokens"] / theirs[clock]) for mine, theirs in pairs
        )

    speed, last = statistics.median(turn["tokens"] / turn["seconds"] for turn in made[name]), made[name][-1]
    found: dict[str, Any] = {
        "tokens/s": speed,
        "of torchtitan": against(STOCK),
        "by processor time": against(STOCK, "processor"),
        "of unmasked": against(CAUSAL) if name == OURS else None,
        "waits for data": statistics.median(turn["waited"] for turn in made[name]),
    }
    if last["peak_flops"]:
        found["utilisation"] = last["flops_per_token"] * speed / last["peak_flops"]
        found["memory GiB"] = last["memory"] / 2**30
    return found


class Contender:
    """A process that makes steps when it is asked to."""

    def __init__(self, run: Path, name: str, threads: int):
        own = run.parent / f"{run.name}-{name.replace(' ', '_').replace(',', '')}"
        own.mkdir()
        for part in ("packed", "mixture.json", "tokenizer", "pipeline.yaml"):
            (own / part).symlink_to(run / part)
        script = Path(__file__).parent / "peers" / "train_steps.py"
        self._name, self._log = name, own / "log.txt"
        with open(self._log, "w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [sys.executable, script, own, name],
                env=os.environ | {"OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": "1000", "PYTHONPATH": str(REPO)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._answer()

    def make(self, steps: int) -> dict[str, Any]:
        """Make steps; their seconds together, the share of them that waited for data, and what torchtitan knows."""
        assert self._process.stdin
        print(steps, file=self._process.stdin, flush=True)
        return self._answer()

    def end(self) -> None:
        """Let it end by itself."""
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        sys.exit(f"{self._name} failed:\n{self._log.read_text(encoding='utf-8')}")


if __name__ == "__main__":
    main()
