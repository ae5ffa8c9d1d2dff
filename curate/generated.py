"""Replay text that the base model writes itself: `replay: {generated: {documents: 20000}}`.

For a base whose training text cannot be had. A model sampled at temperature 1 from its beginning-of-text token alone
gives text of the distribution it was trained on, and replaying that keeps what it knows nearly as well as the text
itself (Marek et al. 2026, arXiv 2605.26097). The documents are a source like any other: curated by the same stages,
with a ledger, held-out documents, and each one's number as its origin. Where it is the only replay source, held-out
general text is the model's own too: measure forgetting by tasks (eval.general) as well.

Documents are written in batches, a file each, with a seed of their own: a killed run goes on after the last whole
batch, and the file has the same bytes as if it had not been killed. One core writes 3,000 tokens/s of the tiny base.
"""

import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.config import Generated
from curate.files import aside, file_identity, identity, read_object, write_text

if TYPE_CHECKING:
    from curate.sources import Source
    from pipelines.config import Pipeline

VERSION = 1
"""Raised when the same keys give other documents than before."""
NAME = "generated"
"""Of the source, and of its folder in the run's."""
TAIL = 1 << 20
"""Bytes at the end of a file of weights that stand for all of it: reading the whole of a large model takes minutes."""
BROKEN = "\ufffd"
"""What stands for a character of which a cut document has only the first bytes."""

Write = Callable[[int, int], list[list[int]]]
"""(first document, number of documents) -> the tokens of each, without special ones."""


def source_of(pipeline: "Pipeline", keys: Generated, where: str) -> "Source":
    """The source, known by model and keys before it is written. Raises ValueError where it could not be."""
    from importlib.util import find_spec

    from curate.sources import Source
    from tokenization.encode import special_ids
    from tokenization.folder import find

    model = find(pipeline.model, weights=True)
    if keys.engine == "vllm" and find_spec("vllm") is None:
        raise ValueError(
            f"{where}: generated.engine: vllm is asked for, but its package is not installed, so nothing could be "
            "written. Install palimpsest[vllm], or take engine: transformers."
        )
    seen = read_object(model / "config.json", max_position_embeddings=int)["max_position_embeddings"]
    if keys.length >= seen:
        raise ValueError(
            f"{where}: generated.length: {keys.length} tokens and the first one are more than the {seen} that "
            f"{pipeline.model} sees (max_position_embeddings). Set it to at most {seen - 1}."
        )
    if special_ids(model) == (None, None):
        raise ValueError(
            f"{where}: generated: the tokenizer of {pipeline.model} names neither BOS nor EOS, so there is nothing to "
            "begin a document from. Name them in its tokenizer_config.json."
        )
    weights = [[path.name, path.stat().st_size, _tail(path)] for path in sorted(model.glob("*.safetensors"))]
    files = {name: file_identity(model / name) for name in ("config.json", "tokenizer.json")}
    made_of = identity([VERSION, weights, files, keys.model_dump(mode="json")])
    root = pipeline.folder / NAME / made_of
    return Source("replay", NAME, str(root), f"{NAME}.jsonl", 0, made_of, generated=keys)


def write_generated(pipeline: "Pipeline", sources: "Sequence[Source]", say: Callable[[str], None]) -> None:
    """Write what the model has not written yet; files of other keys or models are removed."""
    mine = [source for source in sources if source.generated]
    for folder in (pipeline.folder / NAME).glob("*"):
        if str(folder) not in {source.root for source in mine}:
            shutil.rmtree(folder)
    for source in mine:
        _write(pipeline, source, say)


def _write(pipeline: "Pipeline", source: "Source", say: Callable[[str], None]) -> None:
    from tokenization.encode import load
    from tokenization.folder import find

    keys, folder = source.generated, Path(source.root)
    assert keys is not None
    file, parts = folder / source.path, folder / "parts"
    if file.exists():
        return
    names = [parts / f"{number:06d}.jsonl" for number in range(math.ceil(keys.documents / keys.batch))]
    missing = [number for number, name in enumerate(names) if not name.exists()]
    if missing:
        model = find(pipeline.model, weights=True)
        tokenizer, write = load(model), ENGINES[keys.engine](model, keys)
        for number in missing:
            first = number * keys.batch
            say(f"{pipeline.model} writes replay text: {first:,} of {keys.documents:,} documents")
            rows = write(first, min(keys.batch, keys.documents - first))
            texts = [text.rstrip(BROKEN) for text in tokenizer.decode_batch(rows, skip_special_tokens=True)]
            lines = [json.dumps({"id": str(first + at), "text": text}) for at, text in enumerate(texts) if text]
            write_text(names[number], "".join(f"{line}\n" for line in lines))
    with aside(file) as temporary, open(temporary, "wb") as whole:
        for name in names:
            whole.write(name.read_bytes())
    shutil.rmtree(parts)


def _with_transformers(folder: Path, keys: Generated) -> Write:
    """In this process, on the GPU where there is one, in the precision that the weights are kept in."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    start, end = _marks(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", trust_remote_code=False, use_safetensors=True
    )
    model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    model.generation_config = GenerationConfig()  # a model's own may sample from a part of its distribution alone
    wanted = GenerationConfig(
        do_sample=True,
        temperature=keys.temperature,
        top_k=0,
        top_p=1.0,
        max_new_tokens=keys.length,
        eos_token_id=end,
        pad_token_id=start if end is None else end,
    )

    def write(first: int, count: int) -> list[list[int]]:
        prompts = torch.full((count, 1), start, device=model.device)
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(_seed(keys, first))
            rows = model.generate(prompts, attention_mask=torch.ones_like(prompts), generation_config=wanted)
        return [_until(row[1:].tolist(), end) for row in rows]

    return write


def _with_vllm(folder: Path, keys: Generated) -> Write:
    """With all GPUs of the machine; each document has a seed of its own."""
    import torch
    from vllm import LLM, SamplingParams

    start, end = _marks(folder)
    model = LLM(
        model=str(folder),
        max_model_len=keys.length + 1,
        tensor_parallel_size=max(1, torch.cuda.device_count()),
        trust_remote_code=False,
    )

    def write(first: int, count: int) -> list[list[int]]:
        wanted = [
            SamplingParams(
                temperature=keys.temperature,
                max_tokens=keys.length,
                seed=_seed(keys, document),
                stop_token_ids=[] if end is None else [end],
                detokenize=False,
            )
            for document in range(first, first + count)
        ]
        found = model.generate([{"prompt_token_ids": [start]}] * count, wanted, use_tqdm=False)
        return [_until(list(one.outputs[0].token_ids), end) for one in found]

    return write


ENGINES: dict[str, Callable[[Path, Generated], Write]] = {"transformers": _with_transformers, "vllm": _with_vllm}
"""generated.engine -> what makes a writer."""


def _marks(folder: Path) -> tuple[int, int | None]:
    """The token a document begins after (BOS, or the EOS of the one before), and the one it ends with."""
    from tokenization.encode import special_ids

    bos, end = special_ids(folder)
    start = end if bos is None else bos
    assert start is not None
    return start, end


def _seed(keys: Generated, document: int) -> int:
    """63 bits of its own for a document, or the batch that begins with it."""
    return int(identity([keys.seed, document]), 16) >> 1


def _until(tokens: list[int], end: int | None) -> list[int]:
    return tokens[: tokens.index(end)] if end in tokens else tokens


def _tail(path: Path) -> str:
    import hashlib

    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        return hashlib.blake2b(file.read(), digest_size=8).hexdigest()
