"""Embedding rows for new tokens, written straight from checkpoint to checkpoint.

    python -m tokenization.embed --model DIR --tokenizer DIR --output DIR
    python -m tokenization.embed --model DIR --tokenizer DIR --output DIR --method focus --text 'notes/*.jsonl.gz'

A new token's row is made of the base's rows, never drawn at random: by default it is the mean of its parents' rows, in
the input embedding and, where it is a tensor of its own, in the output layer (tokenization.new_rows has the methods;
tests/benchmarks/embed.py measures them). Rows that pad the matrix to a multiple of 64 are the mean of all the base
tokens' rows: by Jensen's inequality such a row never gets more than the average probability of a token, while a row of
zeros can get any.

Safetensors are copied block by block, so memory stays at some megabytes and the new rows, whatever the model's size.
"""

import json
import shutil
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenization.new_rows import METHODS, Combination, Method, Parents, combinations
from tokenization.safetensors_copy import EMBEDDINGS, Rows, copy_resized, total_size

MULTIPLE = 64
"""Rows are padded to a multiple of this: matrix kernels and tensor-parallel splits want it; 1 turns it off."""
NOT_COPIED = ("tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "tokenizer.json", "added_tokens.json")
"""The base's vocabulary in its several forms."""
INDEX = "model.safetensors.index.json"


def resize(
    model_dir: str | Path,
    tokenizer_dir: str | Path,
    output_dir: str | Path,
    multiple: int = MULTIPLE,
    method: Method = "mean",
    text: Sequence[Path] = (),
) -> dict[str, Any]:
    """Write the model of a Hugging Face folder with rows for the new tokens of an extended tokenizer.

    Other files are copied, the tokenizer's are taken from `tokenizer_dir`, and config.json gets the new `vocab_size`.
    The matrix keeps its rows where the new ids fit into padding that is there already. `text` is what `focus` learns
    on: files of domain text (Parquet, JSON lines, plain). The folder appears whole or not at all.
    Returns {"rows_before", "rows", "new_tokens", "tensors", "method", "by_mean"}; the last is the number of tokens that
    `focus` found too rarely in the text, which get the mean of their parents.
    Raises ValueError where model and tokenizer do not belong together, the model is not kept as safetensors, or `focus`
    has no text.
    """
    from tokenization.folder import read_extension, written_whole

    model, tokenizer = Path(model_dir), Path(tokenizer_dir)
    extension = read_extension(tokenizer)
    config = _config(model)
    _check_base(model, tokenizer, config, extension)
    before, parents = config["vocab_size"], _parents(tokenizer, extension)
    needed = max([before, *(index + 1 for index in parents)])
    after = before if needed == before else -(-needed // multiple) * multiple
    weights = _weight_files(model)
    new, by_mean = _combinations(tokenizer, extension, parents, method, text)
    rows = Rows(before, extension["base_vocab"], after, new)
    tensors: list[str] = []
    with written_whole(output_dir, ours="extension.json") as folder:
        for file in weights:
            tensors += copy_resized(model / file, folder / file, rows)
        if not tensors:
            raise ValueError(
                f"{model}: none of its tensors is a known embedding ({', '.join(EMBEDDINGS)}) of {before:,} rows, so "
                "no row can be added."
            )
        _copy_others(model, tokenizer, folder, weights)
        _write_configs(model, folder, {**config, "vocab_size": after}, weights)
    return {
        "rows_before": before,
        "rows": after,
        "new_tokens": len(parents),
        "tensors": tensors,
        "method": method,
        "by_mean": by_mean,
    }


def _combinations(
    tokenizer: Path, extension: Mapping[str, Any], parents: Parents, method: Method, text: Sequence[Path]
) -> tuple[dict[int, Combination], int]:
    """The base rows each new row is made of, and for `focus` the number of new tokens it could not compare."""
    if method != "focus":
        return combinations(parents, method), 0
    if not text:
        raise ValueError(
            "--method focus: looks for tokens that are used alike in domain text, but no --text is given. Give the "
            "text that the tokenizer was extended on (--text 'notes/*.jsonl.gz'), or use --method mean."
        )
    if not parents:
        return {}, 0
    from tokenization.neighbours import neighbours

    found, _ = neighbours(text, tokenizer, extension["base_vocab"], list(parents))
    return {**combinations(parents, "mean"), **found}, len(parents) - len(found)


def _config(model: Path) -> dict[str, Any]:
    from curate.files import read_json

    config = read_json(model / "config.json")
    if not isinstance(config.get("vocab_size"), int):
        raise ValueError(f"{model / 'config.json'}: has no vocab_size of its own, so it is no plain language model's.")
    return config


def _parents(tokenizer: Path, extension: Mapping[str, Any]) -> Parents:
    """New id -> its parents. Raises ValueError where a parent is not known before its child."""
    parents = {new["id"]: tuple(new["parents"]) for new in extension["new_tokens"]}
    for index, of in parents.items():
        unknown = [one for one in of if not (0 <= one < extension["base_vocab"] or (one in parents and one < index))]
        if unknown or not of or index < extension["base_vocab"]:
            raise ValueError(
                f"{tokenizer / 'extension.json'}: new token {index} has the parents {list(of)}, which are not tokens "
                "before it, so its row cannot be made. Extend the tokenizer again."
            )
    return parents


def _check_base(model: Path, tokenizer: Path, config: Mapping[str, Any], extension: Mapping[str, Any]) -> None:
    """Raises ValueError where the tokenizer was extended from another one than the model's."""
    from tokenization.pretokens import Pretokens

    if extension["base_vocab"] > config["vocab_size"]:
        raise ValueError(
            f"{tokenizer}: extends a tokenizer of {extension['base_vocab']:,} ids, but {model} has only "
            f"{config['vocab_size']:,} rows, so it is not this model's. Extend the model's own tokenizer."
        )
    if (model / "tokenizer.json").is_file():
        new = Pretokens(tokenizer).names
        moved = [(index, token) for index, token in sorted(Pretokens(model).names.items()) if new.get(index) != token]
        if moved:
            index, token = moved[0]
            raise ValueError(
                f"{tokenizer}: {len(moved):,} ids mean another token than in {model} (id {index} is {token!r} there "
                f"and {new.get(index)!r} here), so its rows would stand for the wrong tokens. Extend the model's own "
                "tokenizer."
            )


def _weight_files(model: Path) -> list[str]:
    from tokenization.folder import weight_files

    if (model / INDEX).is_file():
        files = weight_files(model / INDEX)
    elif (model / "model.safetensors").is_file():
        files = ["model.safetensors"]
    else:
        raise ValueError(
            f"{model}: holds neither model.safetensors nor {INDEX}, and only safetensors can be resized. "
            "Save the model with transformers: save_pretrained(FOLDER)."
        )
    missing = [file for file in files if not (model / file).is_file()]
    if missing:
        raise ValueError(
            f"{model / INDEX}: names {missing[0]}, which is not there ({len(missing)} of {len(files)} files are "
            "missing), so the model is not whole. Fetch it again."
        )
    return files


def _copy_others(model: Path, tokenizer: Path, folder: Path, weights: Sequence[str]) -> None:
    """Copy what is neither weights nor vocabulary from the model, and the tokenizer's files from the tokenizer."""
    from tokenization.folder import COMPANIONS, copy_companions

    skip = {*weights, "config.json", INDEX, "extension.json", *NOT_COPIED, *COMPANIONS}
    for path in sorted(model.iterdir()):
        if path.is_file() and path.name not in skip and path.suffix not in (".bin", ".pth", ".safetensors"):
            shutil.copyfile(path, folder / path.name)
    copy_companions(tokenizer, folder)
    for name in ("tokenizer.json", "extension.json"):
        shutil.copyfile(tokenizer / name, folder / name)


def _write_configs(model: Path, folder: Path, config: Mapping[str, Any], weights: Sequence[str]) -> None:
    """Write config.json and, for shards, their index with the new totals."""
    from curate.files import read_json, write_json, write_text

    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
    if (model / INDEX).is_file():
        index = read_json(model / INDEX)
        metadata = dict(index.get("metadata") or {})
        metadata["total_size"], elements = total_size(folder / file for file in weights)
        if "total_parameters" in metadata:
            metadata["total_parameters"] = elements
        write_json(folder / INDEX, {**index, "metadata": metadata})


def _files(globs: Sequence[str]) -> list[Path]:
    """The files of some globs, each once. Raises ValueError for a glob without any."""
    files: set[Path] = set()
    for glob in globs:
        path = Path(glob)
        found = set(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        if not found:
            raise ValueError(f"--text {glob}: matches no file, so there is no text to learn from.")
        files |= found
    return sorted(files)


def main(argv: list[str] | None = None) -> None:
    """Resize a model for an extended tokenizer."""
    parser = ArgumentParser("python -m tokenization.embed", None, __doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--model", metavar="DIR", required=True, help="Hugging Face folder: config.json, safetensors")
    parser.add_argument("--tokenizer", metavar="DIR", required=True, help="extended tokenizer, with extension.json")
    parser.add_argument("--output", metavar="DIR", required=True, help="folder for the resized model")
    parser.add_argument(
        "--method", choices=METHODS, default="mean", help="what a new row is made of (default mean, of its parents)"
    )
    parser.add_argument(
        "--text", nargs="+", metavar="GLOB", default=[], help="domain text for --method focus: jsonl, parquet, txt"
    )
    parser.add_argument(
        "--multiple", type=int, default=MULTIPLE, help=f"rows are padded to a multiple of this (default {MULTIPLE})"
    )
    options = parser.parse_args(argv)
    if options.multiple < 1:
        raise ValueError(f"--multiple: {options.multiple} is less than 1. Give 1 for no padding.")
    if options.text and options.method != "focus":
        raise ValueError(f"--text: is read by --method focus only, not by {options.method}. Leave it out.")
    done = resize(
        options.model, options.tokenizer, options.output, options.multiple, options.method, _files(options.text)
    )
    names = ", ".join(done["tensors"])
    print(f"{done['new_tokens']:,} new tokens; rows {done['rows_before']:,} -> {done['rows']:,} in {names}")
    print(f"made by: {done['method']}" + (f", {done['by_mean']:,} by mean" if done["by_mean"] else ""))
    print(f"written to {options.output}")


if __name__ == "__main__":
    from pipelines import cli

    cli.run(main)
