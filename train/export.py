"""A checkpoint as a Hugging Face folder, written from disk: after a run, or while it goes on.

    python -m train.export                                    the newest checkpoint of the latest run
    python -m train.export runs/clinical --step 300           an earlier one that is still there
    python -m train.export --train.run lora --adapter         LoRA's adapters alone, as a PEFT folder
    python -m train.export --step 300 --to models/clinical    elsewhere than train/<run>/exports/step-300

A folder of the whole model loads in transformers; adapters of LoRA and DoRA are merged into it. A PEFT folder holds the
adapters and the rows of new tokens, and loads with peft.PeftModel.from_pretrained on the base model, which must have a
row for each token first: base.resize_token_embeddings(len(tokenizer)). Both hold the tokenizer, and export.json, which
says what they were made of. Weights are float32.

A layer is read at a time, so the memory taken is that of one file written (5 GB) and one layer.
"""

import argparse
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.files import read_object, write_json
from pipelines import cli
from pipelines.config import Pipeline

if TYPE_CHECKING:
    import torch

    from train.settings import Settings

FILE_BYTES = 5_000_000_000
"""Weights of a larger model are split into files of about this size."""
ABOUT = "export.json"
"""File that says where an exported folder comes from; a folder without it is never replaced."""


def main(argv: list[str] | None = None) -> None:
    """Export a checkpoint."""
    pipeline, options = cli.parse("train.export", __doc__ or "", "train", argv, _arguments)
    from train.settings import newest_step

    found = trained(pipeline)
    step = options.step if options.step is not None else newest_step(found.folder)
    name = f"step-{step}-adapter" if options.adapter else f"step-{step}"
    target = Path(options.to) if options.to else found.folder / "exports" / name
    print(f"exported to {export(found, step, target, options.adapter)}")


def export(settings: "Settings", step: int, target: Path, adapter: bool = False) -> Path:
    """Write the checkpoint of a step to the folder `target`, which appears whole; `adapter` writes a PEFT folder.

    One process calls it. Raises ValueError where the checkpoint is not there or goes while it is read, the run has no
    adapters, or `target` holds something else.
    """
    from tokenization.folder import copy_companions, written_whole

    keys = settings.pipeline.train
    if adapter and not keys.lora_rank:
        raise ValueError(
            f"--adapter: the training run {keys.run!r} trained all weights (train.lora_rank: 0), so it has no adapter. "
            "Leave --adapter out to export the whole model."
        )
    source = _checkpoint(settings, step)
    about = {"training_run": keys.run, "step": step, "holds": "adapter" if adapter else "model"}
    with written_whole(target, ours=ABOUT) as folder:
        (_write_adapter if adapter else _write_model)(settings, source, folder)
        shutil.copyfile(settings.tokenizer / "tokenizer.json", folder / "tokenizer.json")
        copy_companions(settings.tokenizer, folder)
        write_json(folder / ABOUT, {**about, "base": settings.pipeline.model, "tokenizer": settings.plan.tokenizer})
    return target


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--step", type=int, metavar="N", help="step of the checkpoint; the newest if left out")
    parser.add_argument("--adapter", action="store_true", help="LoRA's adapters as a PEFT folder, not merged")
    parser.add_argument("--to", metavar="DIR", help="folder to write; train/<run>/exports/step-<N> if left out")


def trained(pipeline: Pipeline) -> "Settings":
    """A training run with the model and the training keys that it was begun with, whatever the pipeline file says now.

    Raises ValueError where there is no such run, or the tokenizer is another one since.
    """
    from train.settings import resolve

    path = pipeline.folder / "train" / pipeline.train.run / "config.json"
    if not path.is_file():
        runs = sorted(one.parent.name for one in path.parents[1].glob("*/config.json"))
        there = f"There are: {', '.join(runs)}" if runs else "There is none yet"
        raise ValueError(
            f"{path}: is not there, so there is no training run {pipeline.train.run!r} to export. {there}; name one "
            "with --train.run."
        )
    made_with = read_object(path, **{"model": str, "tokenizer.json": str})
    train = {key.removeprefix("train."): value for key, value in made_with.items() if key.startswith("train.")}
    other = sorted(train.keys() ^ type(pipeline.train).model_fields.keys())
    if other:
        raise ValueError(
            f"{path}: was written by another version of this tool, whose keys differ ({', '.join(other)}), so it is "
            "not known what the checkpoints were made with. Export with the version that trained."
        )
    changes = {"train": type(pipeline.train).model_validate(train), "model": made_with["model"]}
    found = resolve(pipeline.model_copy(update=changes))
    if made_with["tokenizer.json"] != found.plan.tokenizer:
        raise ValueError(
            f"{path}: the training run {pipeline.train.run!r} was made with another tokenizer than the run folder has "
            "now, so its tokens would mean something else. Restore that tokenizer, or train again."
        )
    return found


def _checkpoint(settings: "Settings", step: int) -> Path:
    from train import checksums
    from train.settings import CHECKPOINTS

    folder = settings.folder / CHECKPOINTS
    path = folder / f"step-{step}"
    there = sorted(checksums.steps(folder))
    if step not in there:
        steps = f"There are: {', '.join(map(str, there))}" if there else "There is none yet"
        raise ValueError(
            f"{path}: is no whole checkpoint, so there is nothing to export. {steps}. train.checkpoint_every and "
            "train.keep_checkpoints say which are written and kept."
        )
    damage = checksums.damage(path)
    if damage:
        raise ValueError(
            f"{path}: is damaged ({'; '.join(damage)}), so its weights are not those that were trained. Export another "
            f"step with --step (there are {', '.join(map(str, there))}), or copy it back from train.archive."
        )
    return path


def _write_model(settings: "Settings", source: Path, folder: Path) -> None:
    """Weights, config.json, generation_config.json."""
    from safetensors.torch import save_file

    from train.adapters import merged

    keys = settings.pipeline.train
    scale, rows = (keys.lora_scale, settings.new_rows) if keys.lora_rank else (1.0, range(0))
    adapter = _checkpoint_adapter(settings)
    files: list[list[str]] = []
    held: dict[str, torch.Tensor] = {}
    vocabulary = total = 0

    def write() -> None:
        save_file(held, folder / f"{len(files)}.safetensors", metadata={"format": "pt"})
        files.append(list(held))
        held.clear()

    for group in _groups(source, settings.architecture.tied):
        for name, weight in adapter.to_hf(merged(group, scale, rows)).items():
            if name == "model.embed_tokens.weight":
                vocabulary = len(weight)
            if held and sum(one.nbytes for one in held.values()) + weight.nbytes > FILE_BYTES:
                write()
            held[name] = weight.contiguous()
            total += weight.nbytes
    write()
    _name_files(folder, files, total)
    _write_configs(settings, folder, vocabulary)


def _name_files(folder: Path, files: list[list[str]], total: int) -> None:
    """Give the weights the names transformers looks for, and an index where they are more than one file."""
    if len(files) == 1:
        (folder / "0.safetensors").rename(folder / "model.safetensors")
        return
    weight_map: dict[str, str] = {}
    for number, names in enumerate(files):
        file = f"model-{number + 1:05}-of-{len(files):05}.safetensors"
        (folder / f"{number}.safetensors").rename(folder / file)
        weight_map |= dict.fromkeys(names, file)
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})


def _write_configs(settings: "Settings", folder: Path, vocabulary: int) -> None:
    """The base's config.json with the vocabulary and special ids of the tokenizer that was trained with."""
    from tokenization.encode import special_ids

    config = json.loads((settings.base / "config.json").read_text(encoding="utf-8"))
    bos, eos = special_ids(settings.tokenizer)
    ids: dict[str, Any] = {"bos_token_id": bos, "eos_token_id": eos}
    config.pop("torch_dtype", None)
    config |= {"vocab_size": vocabulary, "dtype": "float32", **ids}
    write_json(folder / "config.json", config)
    generation = settings.base / "generation_config.json"
    values = json.loads(generation.read_text(encoding="utf-8")) if generation.exists() else {}
    # A chat model may stop at more ids than one: those of the base stay.
    write_json(folder / "generation_config.json", ids | values)


def _write_adapter(settings: "Settings", source: Path, folder: Path) -> None:
    """adapter_model.safetensors and adapter_config.json, as PEFT reads them (tried with 0.21)."""
    from safetensors.torch import save_file

    from train.adapters import peft

    keys, tied = settings.pipeline.train, settings.architecture.tied
    adapter = _checkpoint_adapter(settings)
    tensors: dict[str, torch.Tensor] = {}
    for group in _groups(source, tied):
        tensors |= {name: tensor.contiguous() for name, tensor in peft(group, adapter, tied).items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    rows = list(settings.new_rows)
    ends = ["embed_tokens"] if tied else ["embed_tokens", "lm_head"]
    values = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": settings.pipeline.model,
        "r": keys.lora_rank,
        "lora_alpha": keys.lora_scale * keys.lora_rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_dora": keys.dora,
        "target_modules": sorted(keys.lora_modules),
        "trainable_token_indices": dict.fromkeys(ends, rows) if rows else None,
        "inference_mode": True,
    }
    write_json(folder / "adapter_config.json", values)


def _checkpoint_adapter(settings: "Settings") -> Any:
    """torchtitan's translation of weights to Hugging Face's names and orders."""
    from train import model

    spec = model.specification(settings.architecture)
    return spec.state_dict_adapter(spec.model, None)


def _groups(source: Path, tied: bool) -> Iterator[dict[str, "torch.Tensor"]]:
    """The weights of a checkpoint, a layer (or what is outside of layers) at a time."""
    import torch

    from train import read_checkpoint

    groups: dict[str, dict[str, Any]] = {}
    with _still_there(source):
        metadata = read_checkpoint.Reader(source).read_metadata()
    for name, about in metadata.state_dict_metadata.items():
        part, _, rest = name.partition(".")
        if part in ("tok_embeddings", "layers", "norm", "lm_head") and not (tied and part == "lm_head"):
            groups.setdefault(f"{part}.{rest.split('.')[0]}" if part == "layers" else part, {})[name] = about
    for sizes in groups.values():
        group = {name: torch.empty(about.size, dtype=about.properties.dtype) for name, about in sizes.items()}
        with _still_there(source):
            read_checkpoint.load(group, source, no_dist=True)
        yield group


@contextmanager
def _still_there(source: Path) -> Iterator[None]:
    """Says of a file that is missing that the run has removed it."""
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        if not isinstance(error.__cause__ or error, FileNotFoundError):
            raise
        raise ValueError(
            f"{source}: was removed while it was read, because the run has written newer checkpoints. Export a "
            "newer step, or raise train.keep_checkpoints."
        ) from None


if __name__ == "__main__":
    cli.run(main)
