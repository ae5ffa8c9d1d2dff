"""The vocabulary step of a run: base tokenizer -> analysis -> new tokens, if the pipeline's rules say so.

Reads runs/<name>/documents/, writes runs/<name>/tokenizer/: tokenizer.json and its companions as used from here on,
extension.json (new tokens and their parents; none where the tokenizer stays as it is) and fertility.json.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenization.config import TokenizerConfig

if TYPE_CHECKING:
    from pipelines.config import Pipeline
    from tokenization.counting import Counts
    from tokenization.pretokens import Pretokens

VERSION = 1
"""Raised when this code writes another tokenizer for the same input; what is on disk is then made again."""


def build(run_folder: str | Path, pipeline: "Pipeline", documents: str) -> dict[str, Any]:
    """Make the run's tokenizer, or keep the one that is there if nothing it depends on has changed.

    `documents` is the identity of the kept documents. Returns a summary: `reused`, `base`, `vocabulary`, `trained`,
    `extended`, `new_tokens`, `reasons` (a sentence per rule), per pool `fertility`, `fertility_extended` (None where
    not extended), `tokens`, `tokens_extended`, and `general_share` (of general tokens that are new ones).
    Raises ValueError naming file or key where the base tokenizer is not usable.
    """
    from tokenization.folder import find

    config = pipeline.tokenizer
    if config.train and config.extend == "always":
        raise ValueError(
            f"tokenizer.extend: always, with tokenizer.train: {config.train}: a tokenizer trained on this very text has "
            "nothing to be extended by. Set extend: never, or train: 0."
        )
    base = None if config.train else find(pipeline.model)
    return _build(Path(run_folder), base, pipeline.model, config, documents)


def rebuild(run_folder: Path, base: Path, config: TokenizerConfig) -> dict[str, Any]:
    """Extend `base` on the run's documents whatever the rules say. Returns what extension.json holds."""
    from curate.files import file_identity, identity, read_json
    from tokenization.counting import document_files

    files = [file for sources in document_files(run_folder).values() for paths in sources.values() for file in paths]
    documents = identity([[str(file.relative_to(run_folder)), file_identity(file)] for file in files])
    always = config.model_copy(update={"extend": "always", "train": 0})
    _build(run_folder, base, str(base), always, documents)
    return read_json(run_folder / "tokenizer" / "extension.json")


def _build(run: Path, base: Path | None, name: str, config: TokenizerConfig, documents: str) -> dict[str, Any]:
    from curate.files import file_identity, identity, read_json, write_json
    from tokenization import counting
    from tokenization.folder import written_whole
    from tokenization.pretokens import tokenizer_file

    wanted = identity(
        {
            "version": VERSION,
            "config": config.model_dump(mode="json"),
            "base": file_identity(tokenizer_file(base)) if base else None,
            "documents": documents,
        }
    )
    target = run / "tokenizer"
    if (target / "fertility.json").is_file():
        analysis = read_json(target / "fertility.json")
        if analysis.get("identity") == wanted:
            return {**analysis["summary"], "reused": True}
    counts = counting.count_run(run)
    with written_whole(target, ours="extension.json") as folder:
        if base is None:
            files = counting.document_files(run)
            texts = counting.read_texts(file for pool in files.values() for paths in pool.values() for file in paths)
            summary = _trained(folder, texts, counts, config)
        else:
            summary = _extended(folder, base, name, counts, config)
        write_json(folder / "fertility.json", {"identity": wanted, **summary.pop("analysis"), "summary": summary})
    return {**summary, "reused": False}
