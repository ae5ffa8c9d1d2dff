"""What a training run works with, found on disk and checked before any model is built; no torch is imported here."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.files import file_identity, identity, read_object, write_json
from eval import controller
from mix.plan import Plan
from mix.plan_file import read_plan
from pipelines.config import Pipeline
from tokenization.encode import tokenizer_identity
from tokenization.folder import find, read_extension, weight_files
from train import architecture, checkpoint_policy, checksums
from train.architecture import Architecture
from train.keys import health
from train.keys.checkpoints import CheckpointKeys
from train.keys.loggers import LoggerKeys
from train.keys.phases import learning_rate
from train.records import Records

CHECKPOINTS, EXPORT = "checkpoints", "export"
"""Folders of a training run."""
_THRESHOLDS = "eval.thresholds"
"""A resumed run may set them anew, with an entry in the journal."""
_MAY_CHANGE = (
    *(f"train.{key}" for keys in (CheckpointKeys, health.HealthKeys, LoggerKeys) for key in keys.model_fields),
    *("train.run", "train.local_batch", "train.data_parallel_replicate", "train.data_parallel_shard"),
    *("train.tensor_parallel", "train.pipeline_parallel", "train.context_parallel", "train.activation_checkpointing"),
    *("train.compile", "eval.run_code", "eval.score_contaminated", _THRESHOLDS),
)
"""Keys that a resumed run may set anew: they change neither the data nor, beyond rounding, the result. Keys of health
hold from the checkpoint on, so that a run that health stopped can be gone on with."""


@dataclass(frozen=True)
class Settings:
    """A training run, resolved."""

    pipeline: Pipeline
    architecture: Architecture
    base: Path
    """Hugging Face folder of the base model."""
    weights: Path | None
    """Hugging Face folder the weights come from; None for random weights."""
    tokenizer: Path
    """Folder with the tokenizer that the mixture was encoded with."""
    new_tokens: int
    """Tokens the tokenizer has beyond the base model's."""
    plan: Plan
    """The mixture."""

    @property
    def folder(self) -> Path:
        """Folder of the training run: runs/<name>/train/<run>."""
        return self.pipeline.folder / "train" / self.pipeline.train.run

    @property
    def needs_resizing(self) -> bool:
        """Whether the base model's embedding must get rows for new tokens first."""
        return self.weights is not None and self.new_tokens > 0

    @property
    def new_rows(self) -> range:
        """Ids of the tokens that the base's tokenizer lacks; empty where the model begins with random weights."""
        if not self.new_tokens or self.pipeline.train.init == "scratch":
            return range(0)
        ids = [new["id"] for new in read_extension(self.tokenizer)["new_tokens"]]
        rows = range(min(ids), max(ids) + 1)
        if sorted(ids) != list(rows):
            raise ValueError(
                f"{self.tokenizer / 'extension.json'}: new_tokens: their ids do not follow each other, so it is not "
                "known which rows are new. Extend the tokenizer again."
            )
        return rows

    @property
    def initial(self) -> Path:
        """Hugging Face folder of the resized base model."""
        return self.folder / "initial"


def resolve(pipeline: Pipeline) -> Settings:
    """Find and check everything but the weights. Raises ValueError naming the file and key that do not fit."""
    train = pipeline.train
    learning_rate(train, pipeline.phases, train.steps)  # refuses steps that do not fit
    checkpoint_policy.check(pipeline)
    health.check(train)
    controller.check(pipeline)
    train.check_loggers()
    plan = read_plan(pipeline.folder / "mixture.json")
    base = find(pipeline.model, weights=True)
    tokenizer = pipeline.folder / "tokenizer"
    if tokenizer_identity(tokenizer) != plan.tokenizer:
        raise ValueError(
            f"{tokenizer / 'tokenizer.json'}: is not the tokenizer that the mixture was encoded with, so its tokens "
            "would mean something else. Run mix.build again."
        )
    size = plan.vocabulary_size
    shape = architecture.read(base)
    scratch = train.init == "scratch"
    if scratch and train.lora_rank:
        raise ValueError(
            "train.lora_rank: adapters learn beside the weights of a base, but train.init is scratch, so those would "
            "stay random. Set train.init: base, or train.lora_rank: 0."
        )
    own_tokenizer = pipeline.tokenizer.train > 0
    if own_tokenizer and not scratch:
        raise ValueError(
            "tokenizer.train: makes a tokenizer of its own, but train.init is base, whose embedding rows belong to "
            "another tokenizer's tokens. Set train.init: scratch, or tokenizer.train: 0."
        )
    new_tokens = 0 if own_tokenizer else len(read_extension(tokenizer)["new_tokens"])
    if own_tokenizer or (scratch and new_tokens):
        shape = architecture.read(base, vocab=size)
    elif size > shape.vocab and not new_tokens:
        raise ValueError(
            f"{tokenizer / 'tokenizer.json'}: has {size} tokens, {base / 'config.json'} says vocab_size {shape.vocab}, "
            "so some tokens have no embedding row. The tokenizer and the model do not belong together: mend `model`."
        )
    architecture.check_length(base, shape, plan.seq_len)
    weights = None if scratch else base
    if weights is not None:
        _check_weights(weights)
    if train.tensor_parallel > 1 and train.lora_rank and (train.dora or new_tokens):
        key, what = (
            ("train.dora", "scales rows by their whole lengths")
            if train.dora
            else ("train.lora_rank", f"trains the rows of {new_tokens:,} new tokens whole beside the adapters")
        )
        raise ValueError(
            f"{key}: {what}, which train.tensor_parallel would split. Set train.tensor_parallel: 1, or turn it off."
        )
    return Settings(pipeline, shape, base, weights, tokenizer, new_tokens, plan)


def _check_weights(folder: Path) -> None:
    """Raises ValueError where a model's weights, or some of their files, are not in its folder."""
    if not any(folder.glob("*.safetensors")):
        raise ValueError(
            f"{folder}: has no *.safetensors, so there are no weights to continue. Name a model that comes as "
            "safetensors, or set train.init: scratch for random weights."
        )
    index = folder / "model.safetensors.index.json"
    named = weight_files(index) if index.exists() else []
    missing = sorted(name for name in named if not (folder / name).exists())
    if missing:
        raise ValueError(
            f"{index}: names {len(missing)} files that are not in the folder ({missing[0]} first), so some weights are "
            "missing. Fetch or copy the rest of the model's *.safetensors into it."
        )


def check_batches(pipeline: Pipeline, world: int) -> None:
    """Raises ValueError where the global batch is not whole local batches on `world` ranks with rows of their own."""
    train = pipeline.train
    if train.global_batch % (train.local_batch * world):
        fitting = [n for n in range(1, train.local_batch + 1) if train.global_batch % (n * world) == 0]
        advice = (
            f"Set train.local_batch to {fitting[-1]}" if fitting else f"Set train.global_batch to a multiple of {world}"
        )
        raise ValueError(
            f"train.global_batch: {train.global_batch} is not a multiple of train.local_batch ({train.local_batch}) x "
            f"{world} processes with rows of their own, so a step cannot be shared evenly. {advice}."
        )


def remember(settings: Settings) -> None:
    """Write what the run is made with to config.json, or compare with what its checkpoints were made with.

    Changed thresholds are written to the journal. Raises ValueError naming the keys that differ.
    """
    path, records = settings.folder / "config.json", Records(settings.folder)
    made_with = _made_with(settings)
    nothing_saved = not newest_step(settings.folder) and not (settings.folder / EXPORT).is_dir()
    if nothing_saved and (not path.exists() or differences(read_object(path), settings)):
        shutil.rmtree(settings.initial, ignore_errors=True)
        records.discard()  # decisions of other settings would be made again
    if nothing_saved:
        write_json(path, made_with)
        return
    before = read_object(path)
    changes = differences(before, settings)
    if changes:
        raise ValueError(
            f"{path}: the training run {settings.pipeline.train.run!r} was begun with other settings ({changes}), so "
            f"its checkpoints cannot be gone on with. Choose another --train.run, or delete {settings.folder}."
        )
    was, now = before.get(_THRESHOLDS), made_with[_THRESHOLDS]
    if was != now:
        records.event("thresholds", newest_step(settings.folder), was=was, now=now)
        write_json(path, before | {_THRESHOLDS: now})


def differences(before: dict[str, Any], settings: Settings) -> str:
    """What decides what is learned and is not as it was when `before`, a config.json, was written; empty if nothing."""
    made_with = _made_with(settings)
    differing = [key for key in sorted({*before, *made_with}) if before.get(key) != made_with.get(key)]
    differing = [key for key in differing if key not in _MAY_CHANGE]
    return "; ".join(f"{key} was {before.get(key)!r}, is {made_with.get(key)!r}" for key in differing)


def newest_step(run: Path) -> int:
    """Step of the newest complete checkpoint of a training run's folder, 0 where there is none."""
    return next(iter(checksums.steps(run / CHECKPOINTS)), 0)


def _made_with(settings: Settings) -> dict[str, Any]:
    """Dotted key -> value of everything that decides what is learned."""
    pipeline = settings.pipeline
    flat = {f"train.{key}": value for key, value in pipeline.train.model_dump(mode="json").items()}
    flat |= {f"eval.{key}": value for key, value in pipeline.eval.model_dump(mode="json").items()}
    weights = [] if settings.weights is None else sorted(settings.weights.glob("*.safetensors"))
    flat["model"] = pipeline.model
    flat["model files"] = identity(
        {
            "config.json": file_identity(settings.base / "config.json"),
            "weights": [[file.name, file.stat().st_size] for file in weights],
        }
    )
    flat["tokenizer.json"] = settings.plan.tokenizer
    flat["mixture.json"] = settings.plan.base.identity
    if pipeline.phases:
        flat["phases"] = [phase.model_dump(mode="json") for phase in pipeline.phases]
    flat["tokenizer.new_rows"] = pipeline.tokenizer.new_rows
    return flat
