"""What a training run will take, before anything is spent: memory, time, money, and whether it is warranted at all.

    python -m train.plan                                              the latest run, on 8 H100s
    python -m train.plan pipelines/clinical.yaml --gpu a100-80g --gpus 64 --tensor-parallel 8 --price 2.1
    python -m train.plan runs/clinical --probe --measure              timed and measured on this machine

Needs the base model's config.json, no weights; before mix.build the budget comes from the pipeline's keys. torch is
loaded for --probe and --measure only. Once there is a mixture, the plan is also written to plan.json in the run folder,
and eval.report sets it beside what training took.
"""

import argparse
import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.files import write_json
from mix.config import MixConfig
from pipelines import cli
from pipelines.config import Pipeline
from train import architecture, flops, memory, parallelism, speed, warranted
from train.architecture import Architecture
from train.fits import fits
from train.gpus import GPUS, Gpu
from train.keys.phases import in_turn
from train.memory import STATES, Layout, Work

if TYPE_CHECKING:
    from mix.plan import Plan

WRITTEN = "plan.json"
"""File of the run folder."""
BYTES_PER_TOKEN = 4.0
"""UTF-8 bytes of text per token, before anything is encoded: English under a vocabulary of 32k and more."""


@dataclass(frozen=True)
class Budget:
    """How much is trained on."""

    tokens: float
    tokens_from: str
    corpus: float | None
    """Tokens of the domain pool, each once; None where not known."""
    corpus_from: str
    epochs: float | None
    """How often the budget goes through the domain pool."""


def main(argv: list[str] | None = None) -> None:
    """The command."""
    pipeline, options = cli.parse("train.plan", __doc__ or "", "train", argv, _arguments)
    made = make(pipeline, options)
    if (pipeline.folder / "mixture.json").exists():
        write_json(pipeline.folder / WRITTEN, made)
    if options.json:
        json.dump(made, sys.stdout, indent=1)
        print()
        return
    from train.plan_show import show

    show(made)


def make(pipeline: Pipeline, options: argparse.Namespace) -> dict[str, Any]:
    """Everything the plan says, as JSON types; each part names what it assumes."""
    mixture = _mixture(pipeline)
    shape = _shape(pipeline, mixture)
    seq_len = mixture.seq_len if mixture else pipeline.mix.seq_len
    work = _work(pipeline, options, seq_len)
    gpu, layout = GPUS[options.gpu], _layout(pipeline, options)
    parallelism.check_model(shape, layout, seq_len)
    budget = _budget(pipeline, options, mixture)
    given = options.tokens_per_second, options.mfu
    reached = speed.estimate(shape, gpu, layout, work, *given, probe=options.probe)
    bits, bits_from = _bits(pipeline, seq_len, options.measure)
    findings = warranted.judge(shape, budget.corpus, budget.epochs, bits)
    return {
        "model": {"folder": pipeline.model, **asdict(shape), "parameters": shape.parameters},
        "budget": asdict(budget),
        "phases": _phases(pipeline, seq_len),
        "accumulation": pipeline.train.global_batch / (work.batch * layout.rows),
        "flops": _flops(shape, work, budget.tokens),
        "memory": _memory(shape, gpu, layout, work),
        "speed": None if reached is None else asdict(reached),
        "cost": speed.cost(shape, gpu, budget.tokens, reached, options.price),
        "fits": fits(shape, work, options.gpus),
        "warranted": {
            "verdict": warranted.verdict(findings),
            "bits_from": bits_from,
            "findings": [asdict(finding) for finding in findings],
        },
    }


def _arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the plan")
    group.add_argument("--gpu", choices=sorted(GPUS), default="h100", help="kind of GPU (default h100)")
    group.add_argument(
        "--gpus",
        type=_at_least_one,
        default=8,
        help="GPUs in all, shared out by the keys of parallelism, e.g. --tensor-parallel; the rest is FSDP (default 8)",
    )
    text = "; ".join(f"{name}: {states.about}" for name, states in STATES.items())
    group.add_argument("--states", choices=sorted(STATES), default="fp32", help=f"{text} (default fp32)")
    figures = (
        ("--tokens", "training tokens instead of steps x global batch x seq_len"),
        ("--corpus-tokens", "domain tokens, each once, where the mixture is not built"),
        ("--tokens-per-second", "of all GPUs together, where you know it"),
        ("--price", "price of one GPU for one hour, in any currency"),
    )
    for name, text in figures:
        group.add_argument(name, type=_positive, metavar="NUMBER", help=text)
    group.add_argument("--mfu", type=_share, metavar="SHARE", help="model FLOPs utilisation instead of a published one")
    group.add_argument("--probe", action="store_true", help="time a few steps of the model on this machine")
    group.add_argument("--measure", action="store_true", help="measure the base on the run's held-out text")
    group.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return number


def _share(text: str) -> float:
    number = _positive(text)
    if number > 1:
        raise argparse.ArgumentTypeError(f"{text} is more than 1, the whole of the peak rate")
    return number


def _mixture(pipeline: Pipeline) -> "Plan | None":
    path = pipeline.folder / "mixture.json"
    if not path.exists():
        return None
    from mix.plan_file import read_plan

    return read_plan(path)


def _shape(pipeline: Pipeline, mixture: "Plan | None") -> Architecture:
    """The base, with rows for the tokens that the run's tokenizer adds."""
    shape = architecture.read(Path(pipeline.model))
    own = pipeline.tokenizer.train > 0
    if mixture and (own or mixture.vocabulary_size > shape.vocab):
        shape = architecture.read(Path(pipeline.model), vocab=mixture.vocabulary_size)
    seq_len = mixture.seq_len if mixture else pipeline.mix.seq_len
    architecture.check_length(Path(pipeline.model), shape, seq_len)
    return shape


def _work(pipeline: Pipeline, options: argparse.Namespace, seq_len: int) -> Work:
    element = 2 if pipeline.train.dtype == "bfloat16" else 4
    train = pipeline.train
    checkpointing = train.activation_checkpointing
    return Work(seq_len, train.local_batch, element, checkpointing, options.states, train.lora_rank)


def _layout(pipeline: Pipeline, options: argparse.Namespace) -> Layout:
    try:
        return parallelism.layout(pipeline.train, options.gpus)
    except ValueError as error:
        raise ValueError(f"--gpus: {options.gpus}: {error}") from None


def _budget(pipeline: Pipeline, options: argparse.Namespace, mixture: "Plan | None") -> Budget:
    train, mix = pipeline.train, pipeline.mix
    seq_len = mixture.seq_len if mixture else mix.seq_len
    tokens, about = train.steps * train.global_batch * seq_len, "train.steps x train.global_batch x mix.seq_len"
    if options.tokens:
        tokens, about = options.tokens, "--tokens"
    corpus, corpus_from = None, "not known before curation"
    kept = _kept_bytes(pipeline)
    if options.corpus_tokens:
        corpus, corpus_from = options.corpus_tokens, "--corpus-tokens"
    elif mixture:
        corpus = float(sum(source.tokens for pool, source in mixture.sources if pool.name == "domain"))
        corpus_from = "mixture.json"
    elif kept is not None:
        corpus, corpus_from = kept / BYTES_PER_TOKEN, f"manifest.json: bytes kept / {BYTES_PER_TOKEN:g}"
    epochs = tokens * _domain_share(mix, train.steps) / corpus if corpus else None
    return Budget(tokens, about, corpus, corpus_from, epochs)


def _domain_share(mix: MixConfig, steps: int) -> float:
    """The mean share of domain rows over all steps: mix.domain, or what mix.schedule comes to."""
    import numpy as np

    at, shares = [knot.step for knot in mix.schedule] or [0], [knot.domain for knot in mix.schedule] or [mix.domain]
    return float(np.interp(np.arange(steps), at, shares).mean())


def _phases(pipeline: Pipeline, seq_len: int) -> list[dict[str, Any]]:
    """Each of `phases:` with its first step (from 1 on), what it trains on and its learning rate."""
    found: list[dict[str, Any]] = []
    begin = 0
    for phase, rate in zip(pipeline.phases, in_turn(pipeline.train, pipeline.phases), strict=True):
        knot = next(knot for knot in pipeline.mix.schedule if knot.step == begin)
        shares = {"domain": knot.domain, "replay": knot.replay, "best": knot.best, "learning_rate": rate.describe()}
        tokens = phase.steps * pipeline.train.global_batch * seq_len
        found.append({"name": phase.name, "first_step": begin + 1, "steps": phase.steps, "tokens": tokens, **shares})
        begin += phase.steps
    return found


def _kept_bytes(pipeline: Pipeline) -> int | None:
    """Bytes of domain text that curation kept; None before it."""
    from curate.read_manifest import read_manifest

    path = pipeline.folder / "manifest.json"
    return read_manifest(path).get("kept", {}).get("domain", {}).get("bytes") if path.exists() else None


def _flops(a: Architecture, work: Work, tokens: float) -> dict[str, Any]:
    counted = flops.count(a, work.seq_len, work.checkpointing, work.lora_rank)
    return {
        "rule_of_thumb": flops.rule_of_thumb(a.parameters, tokens),
        "counted": counted.model * tokens,
        "recomputed": counted.recomputed * tokens,
        "of_utilisation": flops.of_utilisation(a, work.seq_len) * tokens,
        "per_token": {**asdict(counted), "forward": counted.forward, "model": counted.model},
    }


def _memory(a: Architecture, gpu: Gpu, layout: Layout, work: Work) -> dict[str, Any]:
    mine, whole = memory.per_gpu(a, layout, work), memory.unsharded(a, layout, work)
    return {
        "gpu": asdict(gpu),
        "layout": {**asdict(layout), "gpus": layout.gpus, "name": str(layout)},
        "work": asdict(work),
        "states": STATES[work.states].about,
        "per_gpu": {**asdict(mine), "total": mine.total, "worked_example": mine.worked_example},
        "unsharded": {**asdict(whole), "total": whole.total},
        "limit": gpu.memory * (1 - memory.ROOM),
        "fits": mine.total <= gpu.memory * (1 - memory.ROOM),
    }


def _bits(pipeline: Pipeline, seq_len: int, measure: bool) -> tuple[dict[str, float] | None, str]:
    """Bits per byte of the base on both pools, and where they are from."""
    from curate.files import read_json

    if measure:
        return _measured(pipeline, seq_len), "measured now"
    for path in sorted((pipeline.folder / "eval").glob("*.json")):
        base = read_json(path).get("base") or {}
        names = ("domain_bits_per_byte", "general_bits_per_byte")
        if all(name in base for name in names):
            return {name: base[name] for name in names}, str(path)
    return None, "not measured"


def _measured(pipeline: Pipeline, seq_len: int) -> dict[str, float]:
    from eval import held_out, hugging_face
    from tokenization.folder import find

    evaluation = pipeline.eval
    base = find(pipeline.model, weights=True)
    windows = held_out.load(pipeline.folder, base, seq_len, evaluation.documents, evaluation.characters)
    return held_out.bits_per_byte(windows, hugging_face.nll(hugging_face.load(base)))


if __name__ == "__main__":
    cli.run(main)
