"""Embedding rows for new tokens, written straight from checkpoint to checkpoint.

    python -m tokenization.embed --model DIR --tokenizer DIR --output DIR

A new token's row is the mean of its two parents' rows, in the input embedding and, where it is a tensor of its own, in
the output layer. A parent that is new itself is computed first, in float32, and rounded only when written. Rows that
pad the matrix to a multiple of 64 are the mean of all the base's rows: by Jensen's inequality such a row never gets
more than the average probability of a token, while a row of zeros can get any.

Safetensors are copied block by block, so memory stays at some megabytes and the new rows, whatever the model's size.
"""

import json
import shutil
import struct
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np

EMBEDDINGS = (
    "model.embed_tokens.weight",
    "lm_head.weight",
    "transformer.wte.weight",
    "wte.weight",
    "gpt_neox.embed_in.weight",
    "embed_out.weight",
    "model.language_model.embed_tokens.weight",
)
"""Tensors with a row per token: Llama, Qwen, Mistral, GPT-2 and NeoX, input and output."""
MULTIPLE = 64
"""Rows are padded to a multiple of this: matrix kernels and tensor-parallel splits want it; 1 turns it off."""
BLOCK_ROWS = 4096
"""Rows copied at a time."""
NOT_COPIED = ("tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "tokenizer.json", "added_tokens.json")
"""The base's vocabulary in its several forms."""
INDEX = "model.safetensors.index.json"


def resize(
    model_dir: str | Path, tokenizer_dir: str | Path, output_dir: str | Path, multiple: int = MULTIPLE
) -> dict[str, Any]:
    """Write the model of a Hugging Face folder with rows for the new tokens of an extended tokenizer.

    Other files are copied, the tokenizer's are taken from `tokenizer_dir`, and config.json gets the new `vocab_size`.
    The matrix keeps its rows where the new ids fit into padding that is there already.
    Returns {"rows_before", "rows", "new_tokens", "tensors"}. Raises ValueError where model and tokenizer do not belong
    together, or the model is not kept as safetensors.
    """
    from curate.files import read_json, write_json, write_text
    from tokenization.folder import COMPANIONS, copy_companions, written_whole

    model, tokenizer = Path(model_dir), Path(tokenizer_dir)
    extension = read_json(tokenizer / "extension.json")
    config = _config(model)
    _check_base(model, tokenizer, config, extension)
    before, parents = config["vocab_size"], _parents(extension)
    needed = max([before, *(index + 1 for index in parents)])
    rows = before if needed == before else -(-needed // multiple) * multiple
    weights = _weight_files(model)
    tensors: list[str] = []
    with written_whole(output_dir, ours="extension.json") as folder:
        for file in weights:
            tensors += copy_resized(model / file, folder / file, before, rows, parents)
        if not tensors:
            raise ValueError(
                f"{model}: none of its tensors is a known embedding ({', '.join(EMBEDDINGS)}), so no row can be added."
            )
        skip = {*weights, "config.json", INDEX, "extension.json", *NOT_COPIED, *COMPANIONS}
        for path in sorted(model.iterdir()):
            if path.is_file() and path.name not in skip and path.suffix not in (".bin", ".pth", ".safetensors"):
                shutil.copyfile(path, folder / path.name)
        copy_companions(tokenizer, folder)
        for name in ("tokenizer.json", "extension.json"):
            shutil.copyfile(tokenizer / name, folder / name)
        write_text(folder / "config.json", json.dumps({**config, "vocab_size": rows}, indent=2) + "\n")
        if (model / INDEX).is_file():
            write_json(folder / INDEX, _index(model, folder))
    return {"rows_before": before, "rows": rows, "new_tokens": len(parents), "tensors": tensors}


def copy_resized(
    source: Path, target: Path, before: int, rows: int, parents: Mapping[int, tuple[int, int]]
) -> list[str]:
    """Copy a safetensors file, embeddings resized from `before` to `rows` rows. Returns the names of those resized."""
    with open(source, "rb") as file, open(target, "wb") as out:
        header, start = read_header(file, source)
        metadata = header.pop("__metadata__", None)
        resized = [name for name in header if name in EMBEDDINGS and header[name]["shape"][0] == before]
        order = sorted(header, key=lambda name: header[name]["data_offsets"])
        described: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
        position = 0
        for name in order:
            begin, end = header[name]["data_offsets"]
            size, shape = end - begin, list(header[name]["shape"])
            if name in resized:
                size, shape[0] = size // before * rows, rows
            described[name] = {
                "dtype": header[name]["dtype"],
                "shape": shape,
                "data_offsets": [position, position + size],
            }
            position += size
        text = json.dumps(described, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        out.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            begin, end = header[name]["data_offsets"]
            file.seek(start + begin)
            if name in resized:
                _write_rows(file, out, header[name], rows, parents, f"{source}: {name}")
            else:
                _copy_range(file, out, end - begin)
    return resized


def read_header(file: BinaryIO, path: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and the position of its first tensor byte."""
    try:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
    except (struct.error, ValueError, MemoryError, OverflowError) as error:
        raise ValueError(f"{path}: is not a whole safetensors file ({error}). Fetch or export it again.") from None
    end = max((tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"), default=0)
    if path.stat().st_size != 8 + length + end:
        raise ValueError(
            f"{path}: is cut off or has bytes too many, so no tensor of it can be trusted. Fetch it again."
        )
    return header, 8 + length


def mean_of_parents(
    base: "Mapping[int, np.ndarray]", parents: Mapping[int, tuple[int, int]]
) -> "dict[int, np.ndarray]":
    """New id -> float32 row [D], the mean of its parents' rows, which are in `base` or computed before it.

    >>> import numpy as np
    >>> rows = {0: np.float32([0, 8]), 1: np.float32([4, 0])}
    >>> {index: row.tolist() for index, row in mean_of_parents(rows, {2: (0, 1), 3: (2, 1)}).items()}
    {2: [2.0, 4.0], 3: [3.0, 2.0]}
    """
    rows: dict[int, np.ndarray] = {}
    for index in sorted(parents):
        left, right = (rows[parent] if parent in rows else base[parent] for parent in parents[index])
        rows[index] = (left + right) / 2
    return rows


def _write_rows(
    file: BinaryIO,
    out: BinaryIO,
    tensor: Mapping[str, Any],
    rows: int,
    parents: Mapping[int, tuple[int, int]],
    where: str,
) -> None:
    """Copy the base's rows as they are, then write the new ones in the tensor's own type."""
    import numpy as np

    first, (begin, end), dtype = file.tell(), tensor["data_offsets"], tensor["dtype"]
    before = tensor["shape"][0]
    width = (end - begin) // before
    needed = sorted({parent for pair in parents.values() for parent in pair} - set(parents))
    base: dict[int, np.ndarray] = {}
    for index in needed:
        file.seek(first + index * width)
        base[index] = _to_float32(file.read(width), dtype, where)
    new = {index: _from_float32(row, dtype) for index, row in mean_of_parents(base, parents).items()}
    file.seek(first)
    total = np.zeros(tensor["shape"][1])
    for start in range(0, before, BLOCK_ROWS):
        block = bytearray(file.read(min(BLOCK_ROWS, before - start) * width))
        total += _to_float32(bytes(block), dtype, where).reshape(-1, len(total)).sum(axis=0, dtype=np.float64)
        for index in range(start, min(start + BLOCK_ROWS, before)):
            if index in new:
                block[(index - start) * width : (index - start + 1) * width] = new[index]
        out.write(block)
    padding = _from_float32((total / before).astype(np.float32), dtype)
    for index in range(before, rows):
        out.write(new.get(index, padding))


def _to_float32(data: bytes, dtype: str, where: str) -> "np.ndarray":
    import numpy as np

    if dtype == "BF16":
        return (np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16).view(np.float32)
    if dtype in ("F32", "F16", "F64"):
        return np.frombuffer(data, dtype=f"<f{int(dtype[1:]) // 8}").astype(np.float32)
    raise ValueError(
        f"{where}: is kept as {dtype}, and rows can be averaged only in F64, F32, F16 and BF16. "
        "Export the model in one of these."
    )


def _from_float32(values: "np.ndarray", dtype: str) -> bytes:
    """The bytes of `values` in a safetensors type; bfloat16 is rounded to nearest, ties to even."""
    import numpy as np

    if dtype != "BF16":
        return values.astype(f"<f{int(dtype[1:]) // 8}").tobytes()
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()


def _copy_range(file: BinaryIO, out: BinaryIO, size: int) -> None:
    while size:
        block = file.read(min(size, 1 << 24))
        assert block
        out.write(block)
        size -= len(block)


def _config(model: Path) -> dict[str, Any]:
    from curate.files import read_json

    config = read_json(model / "config.json")
    if not isinstance(config.get("vocab_size"), int):
        raise ValueError(f"{model / 'config.json'}: has no vocab_size of its own, so it is no plain language model's.")
    return config


def _parents(extension: Mapping[str, Any]) -> dict[int, tuple[int, int]]:
    return {new["id"]: (new["parents"][0], new["parents"][1]) for new in extension["new_tokens"]}


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
        moved = sum(new.get(index) != token for index, token in Pretokens(model).names.items())
        if moved:
            raise ValueError(
                f"{tokenizer}: {moved:,} ids mean another token than in {model}, so its rows would stand for the wrong "
                "tokens. Extend the model's own tokenizer."
            )


def _weight_files(model: Path) -> list[str]:
    from curate.files import read_json

    if (model / INDEX).is_file():
        return sorted(set(read_json(model / INDEX)["weight_map"].values()))
    if (model / "model.safetensors").is_file():
        return ["model.safetensors"]
    raise ValueError(
        f"{model}: holds neither model.safetensors nor {INDEX}, and only safetensors can be resized. "
        "Save the model with transformers: save_pretrained(FOLDER)."
    )


def _index(model: Path, folder: Path) -> dict[str, Any]:
    """The shards' index with the resized total."""
    from curate.files import read_json

    index = read_json(model / INDEX)
    total = 0
    for name in sorted(set(index["weight_map"].values())):
        with open(folder / name, "rb") as file:
            header, _ = read_header(file, folder / name)
        total += sum(t["data_offsets"][1] - t["data_offsets"][0] for n, t in header.items() if n != "__metadata__")
    return {**index, "metadata": {**index.get("metadata", {}), "total_size": total}}


def main(argv: list[str] | None = None) -> None:
    """Resize a model for an extended tokenizer."""
    parser = ArgumentParser("python -m tokenization.embed", None, __doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--model", metavar="DIR", required=True, help="Hugging Face folder: config.json, safetensors")
    parser.add_argument("--tokenizer", metavar="DIR", required=True, help="extended tokenizer, with extension.json")
    parser.add_argument("--output", metavar="DIR", required=True, help="folder for the resized model")
    parser.add_argument(
        "--multiple", type=int, default=MULTIPLE, help=f"rows are padded to a multiple of this (default {MULTIPLE})"
    )
    options = parser.parse_args(argv)
    if options.multiple < 1:
        raise ValueError(f"--multiple: {options.multiple} is less than 1. Give 1 for no padding.")
    done = resize(options.model, options.tokenizer, options.output, options.multiple)
    names = ", ".join(done["tensors"])
    print(f"{done['new_tokens']:,} new tokens; rows {done['rows_before']:,} -> {done['rows']:,} in {names}")
    print(f"written to {options.output}")


if __name__ == "__main__":
    from pipelines import cli

    cli.run(main)
