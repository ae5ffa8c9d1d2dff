"""The continued model's weights averaged with the base's: some of what was forgotten comes back for some of the gain.

    python -m eval.average [RUN] --share 0.8      writes train/<run>/averaged-0.8, a Hugging Face folder

    weights = share * continued + (1 - share) * base

Wortsman et al. 2022, arXiv 2109.01903 (WiSE-FT), equation 1. It needs no training and no text: two Hugging Face folders
with the same tensors, of which one tensor at a time is in memory. The base is the one the run began with, its embedding
resized where the run has new tokens.
"""

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pipelines import cli

if TYPE_CHECKING:
    import torch

ABOUT = "average.json"
"""File that says what an averaged folder was made of; a folder without it is never replaced."""
NOT_ITS = ("export.json", ABOUT)
"""Files of the continued model's folder that are not true of the average."""
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
"""A tied head is written by some tools, and left out by others."""


def main(argv: list[str] | None = None) -> None:
    """The command."""
    pipeline, options = cli.parse("eval.average", __doc__ or "", "train", argv, _arguments)
    from tokenization.encode import tokenizer_identity

    run = pipeline.folder / "train" / pipeline.train.run
    continued = Path(options.of) if options.of else run / "export"
    if tokenizer_identity(continued) != tokenizer_identity(pipeline.folder / "tokenizer"):
        raise ValueError(
            f"{continued / 'tokenizer.json'}: is not the tokenizer of {pipeline.folder}, so rows of different tokens "
            "would be averaged. Name a model that was trained in this run."
        )
    target = run / f"averaged-{options.share:g}"
    print(f"averaged to {average(base_of(run, pipeline.model), continued, target, options.share)}")


def average(base: Path, continued: Path, target: Path, share: float) -> Path:
    """Write the folder `target`, which appears whole: `share` of the continued weights, the rest the base's.

    Types, config and tokenizer are the continued model's; sums are made in float32. Raises ValueError where the folders
    do not have the same tensors, or `target` holds something else.
    """
    from curate.files import file_identity, identity, write_json
    from tokenization.folder import written_whole

    if not 0 <= share <= 1:
        raise ValueError(f"--share: {share:g} is not between 0 (the base) and 1 (the continued model).")
    where = _tensors(base)
    _check(where, _tensors(continued), base, continued)
    with written_whole(target, ours=ABOUT) as folder:
        for path in sorted(continued.iterdir()):
            if path.suffix == ".safetensors":
                _average_file(where, path, folder / path.name, share)
            elif path.is_dir():
                shutil.copytree(path, folder / path.name)
            elif path.name not in NOT_ITS:
                shutil.copyfile(path, folder / path.name)
        made_of = {
            name: identity([file_identity(file) for file in sorted(path.glob("*.safetensors"))])
            for name, path in (("base", base), ("continued", continued))
        }
        write_json(folder / ABOUT, {"share": share, **made_of})
    return target


def base_of(run: Path, model: str) -> Path:
    """The Hugging Face folder whose weights a training run (its folder) began with."""
    from tokenization.folder import find

    resized = run / "initial"
    return resized if resized.is_dir() else find(model, weights=True)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--share", type=float, default=0.8, metavar="X", help="of the continued weights (default 0.8)")
    parser.add_argument("--of", metavar="DIR", help="continued model; train/<run>/export if left out")


def _tensors(folder: Path) -> dict[str, tuple[Path, list[int]]]:
    """Name of each tensor -> its file and shape."""
    from tokenization.safetensors_copy import read_header

    found: dict[str, tuple[Path, list[int]]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with open(path, "rb") as file:
            header, _ = read_header(file, path)
        found |= {name: (path, about["shape"]) for name, about in header.items() if name != "__metadata__"}
    if not found:
        raise ValueError(f"{folder}: has no *.safetensors, so there are no weights to average. Name another folder.")
    if HEAD not in found and EMBEDDING in found:
        found[HEAD] = found[EMBEDDING]
    return found


def _check(before: dict[str, Any], after: dict[str, Any], base: Path, continued: Path) -> None:
    shapes = {name: [found[name][1] if name in found else None for found in (after, before)] for name in after | before}
    differing = [name for name, (one, other) in sorted(shapes.items()) if one != other]
    if differing:
        one, other = shapes[differing[0]]
        raise ValueError(
            f"{continued}: {differing[0]} has the shape {one}, in {base} {other}, so the two cannot be averaged "
            f"({len(differing)} tensors differ). The base must be the one that was trained on, its embedding resized "
            "(train/<run>/initial where there are new tokens)."
        )


def _average_file(base: dict[str, tuple[Path, list[int]]], source: Path, target: Path, share: float) -> None:
    """The file `source` with every tensor averaged: its header as it is, then tensor after tensor."""
    import torch
    from safetensors import safe_open

    from tokenization.safetensors_copy import read_header

    with open(source, "rb") as file, open(target, "wb") as out, safe_open(source, "pt") as continued:
        header, start = read_header(file, source)
        file.seek(0)
        out.write(file.read(start))
        header.pop("__metadata__", None)
        for name in sorted(header, key=lambda name: header[name]["data_offsets"]):
            path, _ = base[name]
            with safe_open(path, "pt") as other:
                before = other.get_tensor(name if name in other.keys() else EMBEDDING)
            after = continued.get_tensor(name)
            mean = torch.lerp(before.float(), after.float(), share).to(after.dtype)
            _write(out, mean)


def _write(out: BinaryIO, tensor: "torch.Tensor") -> None:
    import torch

    out.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


if __name__ == "__main__":
    cli.run(main)
