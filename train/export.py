"""The trained model as a Hugging Face folder that transformers loads."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch.distributed as dist

from curate.files import write_json
from tokenization.encode import special_ids
from tokenization.folder import copy_companions
from train.settings import EXPORT, Settings
from train.trainer import ContinuedTrainer

# isort: split
from torchtitan.components.checkpointer import MODEL, AsyncMode


def export(trainer: ContinuedTrainer, settings: Settings) -> Path:
    """Write weights (fp32 safetensors), config, generation config and tokenizer; the folder appears whole.

    Every rank must call it: each writes its part of the weights.
    """
    target = settings.folder / EXPORT
    temporary = settings.folder / f".{EXPORT}.tmp"
    first = dist.get_rank() == 0
    if first:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    dist.barrier()
    weights = trainer.checkpointer.states[MODEL].state_dict()  # type: ignore[attr-defined]
    trainer.checkpointer.dcp_save(weights, str(temporary), AsyncMode.DISABLED, to_hf=True)  # type: ignore[attr-defined]
    if first:
        _tidy(temporary)
        _write_configs(settings, temporary)
        shutil.copyfile(settings.tokenizer / "tokenizer.json", temporary / "tokenizer.json")
        copy_companions(settings.tokenizer, temporary)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    dist.barrier()
    return target


def _tidy(folder: Path) -> None:
    """Leave only the whole weights, under the name transformers gives them where they are one file."""
    shutil.rmtree(folder / "sharded", ignore_errors=True)
    files = list(folder.glob("*.safetensors"))
    if len(files) == 1:
        files[0].rename(folder / "model.safetensors")
        (folder / "model.safetensors.index.json").unlink(missing_ok=True)


def _write_configs(settings: Settings, folder: Path) -> None:
    """The base's config.json with the vocabulary and special ids of the tokenizer that was trained with."""
    config = json.loads((settings.base / "config.json").read_text(encoding="utf-8"))
    bos, eos = special_ids(settings.tokenizer)
    ids: dict[str, Any] = {"bos_token_id": bos, "eos_token_id": eos}
    config.pop("torch_dtype", None)
    config |= {"vocab_size": settings.architecture.vocab, "dtype": "float32", **ids}
    write_json(folder / "config.json", config)
    generation = settings.base / "generation_config.json"
    values = json.loads(generation.read_text(encoding="utf-8")) if generation.exists() else {}
    # A chat model may stop at more ids than one: those of the base stay.
    write_json(folder / "generation_config.json", ids | values)
