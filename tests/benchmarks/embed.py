"""Rows for new tokens by every method: bits per byte before, right after the extension, and after some training.

    python tests/benchmarks/embed.py [--steps 60]
    python tests/benchmarks/embed.py --longer 400     first continue the tiny base for so many steps on general text

The tokenizer of pipelines/models/tiny-llama is extended by 500 tokens on the curated text of ../shared/data/domain, the
model gets rows by tokenization.embed, and train.launch continues it on 80 % domain and 20 % general text; it measures
held-out documents at step 0 and at the last. Bits per byte do not depend on the tokenizer. The base without new tokens
is trained on as many bytes. One seed: every method sees the same rows in the same order.

The base trained longer (build/embed/longer) is measured too where --longer has made it; 400 steps are 3.3M tokens, 12
minutes on one core. Everything is kept in build/embed, and the same command after a stop goes on where it was.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import polars as pl
import timing

from tokenization.new_rows import METHODS, Method

WORK = Path("build/embed")
CURATED, LONGER = WORK / "curated", WORK / "longer"
BASES = {"tiny-llama": Path("pipelines/models/tiny-llama"), "longer": LONGER / "train" / "main" / "export"}
NEW_TOKENS = 500
SHARES = {"domain": 0.8, "replay": 0.2}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="steps of 16 x 256 tokens after the extension")
    parser.add_argument(
        "--longer", type=int, metavar="STEPS", help="continue the tiny base for STEPS of 32 x 256 tokens"
    )
    options = parser.parse_args()
    if options.longer:
        train_longer(options.longer)
        return
    plain, extended = prepare()
    steps = {extended: options.steps, plain: round(options.steps * bytes_a_row(extended) / bytes_a_row(plain))}
    rows: dict[str, dict[str, Any]] = {}
    for name, base in BASES.items():
        if not base.is_dir():
            print(f"{base}: not there, so it is left out; make it with: python {sys.argv[0]} --longer 400")
            continue
        before = rows[f"{name}, not extended"] = measured(plain, base, name, steps[plain])
        for method in METHODS:
            model = embedded(base, f"{name}-{method}", method)
            found = measured(extended, model, f"{name}-{method}", steps[extended])
            rows[f"{name}, {method}"] = {**found, "before": before["before"], "right after": found["before"]}
    columns = ("before", "right after", "trained", "general, right after", "general, trained", "steps")
    title = f"bits per byte, held-out domain text: {NEW_TOKENS} new tokens, rows by method, {options.steps} steps"
    timing.report("embed", title, {name: {key: row.get(key) for key in columns} for name, row in rows.items()})


def train_longer(steps: int) -> None:
    """Continue the tiny base on general text as pipelines/base.yaml made it, or go on doing so."""
    keys = {"tokenizer.train": 0, "train.init": "base", "train.steps": steps, "train.peak_lr": 2e-3}
    keys |= {"train.warmup_steps": 50, "train.checkpoint_every": 20, "eval.every": 100, "eval.documents": 30}
    if not (LONGER / "mixture.json").is_file():
        run("curate.run", "pipelines/base.yaml", "--output", LONGER, **keys)
        run("mix.build", LONGER)
    run("train.launch", LONGER, **{"train.steps": steps})


def prepare() -> tuple[Path, Path]:
    """The same curated documents as two runs: encoded by the base's tokenizer, and by the extended one."""
    from curate.files import read_json, write_json
    from pipelines import config
    from tokenization import vocabulary

    if not (CURATED / "manifest.json").is_file():
        run("curate.run", "pipelines/clinical.yaml", "--data-root", "../shared/data", "--output", CURATED)
    folders = WORK / "plain", WORK / "extended"
    for folder, extend in zip(folders, ("never", "always"), strict=True):
        if (folder / "mixture.json").is_file():
            continue
        folder.mkdir(exist_ok=True)
        for part in ("documents", "held_out"):
            (folder / part).unlink(missing_ok=True)
            (folder / part).symlink_to((CURATED / part).resolve())
        keys = {"tokenizer.extend": extend, "tokenizer.new_tokens": NEW_TOKENS, "output": str(folder)}
        keys |= {"train.ewc": 0.0, "train.lr_groups": {}}  # all rows learn alike: the methods are compared, not EWC
        pipeline = config.load(Path("pipelines/clinical.yaml"), keys | {f"mix.{pool}": SHARES[pool] for pool in SHARES})
        config.save(pipeline, folder / "pipeline.yaml")
        vocabulary.build(folder, pipeline, read_json(CURATED / "manifest.json")["identity"])
        # The models that are trained have the new rows already: for train.launch there is nothing to extend.
        learned = folder / "tokenizer" / "learned.json"
        if not learned.is_file():
            extension = read_json(folder / "tokenizer" / "extension.json")
            write_json(learned, extension)
            write_json(folder / "tokenizer" / "extension.json", {**extension, "new_tokens": []})
        run("mix.build", folder)
    return folders


def bytes_a_row(folder: Path) -> float:
    """UTF-8 bytes of text in an average row of a run's mixture."""
    from mix.plan_file import read_plan

    total = 0.0
    for pool in read_plan(folder / "mixture.json").pools:
        files = str(folder / "documents" / pool.name / "*" / "*.parquet")
        size = pl.scan_parquet(files).select(pl.col("text").str.len_bytes().sum()).collect().item()
        total += SHARES[pool.name] * size / pool.rows
    return total


def embedded(base: Path, name: str, method: str) -> Path:
    """The base with rows for the new tokens."""
    from curate.files import read_json, write_json
    from tokenization.embed import resize
    from tokenization.folder import written_whole

    target, tokenizer = WORK / "models" / name, WORK / "extended" / "tokenizer"
    if target.is_dir():
        return target
    with written_whole(WORK / "tokenizer", ours="extension.json") as folder:
        for file in ("tokenizer.json", "tokenizer_config.json"):
            (folder / file).write_bytes((tokenizer / file).read_bytes())
        write_json(folder / "extension.json", read_json(tokenizer / "learned.json"))
    assert method in get_args(Method)
    text = sorted((CURATED / "documents" / "domain").glob("*/*.parquet")) if method == "focus" else []
    done = resize(base, WORK / "tokenizer", target, method=method, text=text)  # type: ignore[arg-type]
    print(f"{name}: {done['new_tokens']} new rows, {done['by_mean']} of them by mean for want of text")
    return target


def measured(folder: Path, model: Path, name: str, steps: int) -> dict[str, Any]:
    """Bits per byte of a model before and after `steps` of train.launch on a run's mixture."""
    training = f"{name}-{steps}"
    keys = {"model": model, "train.run": training, "train.steps": steps, "train.checkpoint_every": 20}
    run("train.launch", folder, **keys, **{"eval.every": steps, "eval.documents": 50})
    lines = [json.loads(line) for line in open(folder / "train" / training / "metrics.jsonl", encoding="utf-8")]
    found = {line["step"]: line["eval"] for line in lines if "eval" in line}
    return {
        "before": found[0]["domain_bits_per_byte"],
        "trained": found[steps]["domain_bits_per_byte"],
        "general, right after": found[0]["general_bits_per_byte"],
        "general, trained": found[steps]["general_bits_per_byte"],
        "steps": steps,
    }


def run(command: str, *arguments: Any, **keys: Any) -> None:
    """A command of the product, its output to build/embed/log.txt."""
    options = [part for key, value in keys.items() for part in (f"--{key}", str(value))]
    WORK.mkdir(parents=True, exist_ok=True)
    with open(WORK / "log.txt", "a") as log:
        done = subprocess.run([sys.executable, "-m", command, *map(str, arguments), *options], stdout=log, stderr=log)
    if done.returncode:
        sys.exit(f"{command} failed with exit status {done.returncode}; see {WORK / 'log.txt'}")


if __name__ == "__main__":
    main()
