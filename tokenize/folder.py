"""Folders of tokenizer files: where a base model's is, and which of them travel with an extended tokenizer."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curate.files import is_plain, read_object

COMPANIONS = ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json")
"""Files beside tokenizer.json that stay true when tokens are added. Others (vocab.json, merges.txt, tokenizer.model)
hold the vocabulary a second time, without the new tokens, and are left behind."""


def find(model: str, weights: bool = False) -> Path:
    """The folder of a base model: a Hugging Face folder, or a hub id, whose tokenizer (and `weights`) are fetched.

    Raises ValueError where neither is there.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    try:
        patterns = ["*.json", "*.safetensors"] if weights else ["tokenizer.json", *COMPANIONS]
        return Path(snapshot_download(model, allow_patterns=patterns))
    except Exception as error:  # the hub client raises a dozen kinds, all for the user to mend
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"model: {model} is neither a folder here nor a model the hub gives out ({reason}), so there is nothing "
            "to continue. Name a folder with config.json, tokenizer.json and safetensors, or a hub id. Without a "
            f"network: run `hf download {model} --include '*.json' '*.safetensors' --local-dir FOLDER` where there is "
            "one, copy FOLDER here and set model: FOLDER."
        ) from None


def read_extension(tokenizer: Path) -> dict[str, Any]:
    """extension.json of a tokenizer's folder. Raises ValueError where it is missing or damaged."""
    path = tokenizer / "extension.json"
    found = read_object(path, base_vocab=int, new_tokens=list)
    for new in found["new_tokens"]:
        if not (isinstance(new, dict) and isinstance(new.get("id"), int) and isinstance(new.get("parents"), list)):
            raise ValueError(f"{path}: new_tokens: {new!r} has no id and parents. Extend the tokenizer again.")
        if not all(isinstance(one, int) for one in new["parents"]):
            raise ValueError(f"{path}: new_tokens: the parents of {new['id']} are no ids. Extend the tokenizer again.")
    return found


def weight_files(index: Path) -> list[str]:
    """Names of the files that a model.safetensors.index.json lists, sorted.

    Raises ValueError where it is damaged, or names a file elsewhere than beside it.
    """
    listed = read_object(index, weight_map=dict)["weight_map"].values()
    for name in listed:
        if not (is_plain(name) and name.endswith(".safetensors")):
            raise ValueError(f"{index}: names {name!r}, which is no safetensors file beside it. Fetch the model again.")
    return sorted(set(listed))


def copy_companions(source: Path, target: Path) -> None:
    """Copy the files that belong to a tokenizer beside its tokenizer.json."""
    for name in COMPANIONS:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    templates = source / "additional_chat_templates"
    if templates.is_dir():
        shutil.copytree(templates, target / templates.name)


@contextmanager
def written_whole(folder: str | Path, ours: str) -> Iterator[Path]:
    """A hidden folder beside `folder` to write into; on leaving it takes the place of `folder`, on an error it goes.

    A folder that is there already is replaced if it holds the file `ours`, which shows that this tool wrote it;
    otherwise ValueError.
    """
    folder = Path(folder)
    if folder.is_file():
        raise ValueError(f"{folder}: is a file, and a folder is to be written there. Name another.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / ours).is_file():
        raise ValueError(
            f"{folder}: holds files but no {ours}, so it was not written by this command and is not replaced. "
            "Name another folder, or empty it."
        )
    new, old = folder.with_name(f".{folder.name}.tmp"), folder.with_name(f".{folder.name}.old")
    for left_over in (new, old):
        shutil.rmtree(left_over, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        for path in sorted(new.rglob("*")):
            _sync(path)
        _sync(new)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        _sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
