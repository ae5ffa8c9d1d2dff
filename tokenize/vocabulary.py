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

VERSION = 2
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
            f"tokenizer.extend: always, with tokenizer.train: {config.train}: a tokenizer trained on this text has "
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
    from tokenization.counting import count_run, document_files, read_texts
    from tokenization.folder import written_whole
    from tokenization.pretokens import tokenizer_file

    wanted = identity(
        {
            "version": VERSION,
            "config": config.model_dump(mode="json", exclude={"new_rows"}),
            "base": file_identity(tokenizer_file(base)) if base else None,
            "documents": documents,
        }
    )
    target = run / "tokenizer"
    if (target / "fertility.json").is_file():
        analysis = read_json(target / "fertility.json")
        if analysis.get("identity") == wanted:
            return {**analysis["summary"], "reused": True}
    counts = count_run(run)
    with written_whole(target, ours="extension.json") as folder:
        if base is None:
            files = document_files(run)
            texts = read_texts(file for pool in files.values() for paths in pool.values() for file in paths)
            summary = _trained(folder, texts, counts, config)
        else:
            summary = _extended(folder, base, name, counts, config)
        write_json(folder / "fertility.json", {"identity": wanted, **summary.pop("analysis"), "summary": summary})
    return {**summary, "reused": False}


def _trained(
    folder: Path, texts: Any, counts: "dict[str, dict[str, Counts]]", config: TokenizerConfig
) -> dict[str, Any]:
    """A tokenizer from scratch, and its analysis."""
    from curate.files import write_json
    from tokenization.fertility import analyse
    from tokenization.pretokens import Pretokens
    from tokenization.train import train_into

    trained = train_into(texts, config.train, folder)
    write_json(folder / "extension.json", {"base": None, "base_vocab": trained["vocabulary"], "new_tokens": []})
    analysis = analyse(Pretokens(folder), counts)
    reasons = [f"trained from scratch on the kept documents (tokenizer.train: {config.train})"]
    return _summary("scratch", analysis, None, False, reasons, None)


def _extended(
    folder: Path, base: Path, name: str, counts: "dict[str, dict[str, Counts]]", config: TokenizerConfig
) -> dict[str, Any]:
    """The base tokenizer, extended if the policy says so, and its analysis before and after."""
    from tokenization.cutting import CutText
    from tokenization.extend import check_extendable, extend_counted
    from tokenization.fertility import analyse, worth_extending
    from tokenization.pretokens import Pretokens

    pretokens = Pretokens(base)
    if config.extend == "always":
        check_extendable(pretokens, name)
    text = CutText(pretokens, counts)
    analysis = analyse(pretokens, counts, text)
    worth, reasons = worth_extending(analysis, config)
    if config.extend != "auto":
        worth = config.extend == "always"
        reasons = [f"tokenizer.extend: {config.extend}", *reasons]
    if not worth or not config.new_tokens:
        _copy(base, folder, name, pretokens)
        return _summary(name, analysis, None, worth, reasons, None)
    extension, extended = extend_counted(
        pretokens,
        base,
        counts,
        text,
        config.new_tokens,
        config.max_general_share,
        folder,
        config.min_count,
        name,
    )
    after = analyse(extended, counts, text)
    return _summary(name, analysis, after, worth, reasons, extension)


def _copy(base: Path, folder: Path, name: str, pretokens: "Pretokens") -> None:
    from curate.files import write_json
    from tokenization.folder import copy_companions
    from tokenization.pretokens import tokenizer_file

    shutil.copyfile(tokenizer_file(base), folder / "tokenizer.json")
    copy_companions(base, folder)
    write_json(folder / "extension.json", {"base": name, "base_vocab": max(pretokens.names) + 1, "new_tokens": []})


def _summary(
    base: str,
    analysis: dict[str, Any],
    after: dict[str, Any] | None,
    worth: bool,
    reasons: list[str],
    extension: dict[str, Any] | None,
) -> dict[str, Any]:
    """What `build` returns, with the analyses for fertility.json under `analysis`."""
    pools = analysis["pools"]
    return {
        "base": base,
        "vocabulary": (after or analysis)["vocabulary"],
        "trained": base == "scratch",
        "extended": after is not None,
        "new_tokens": len(extension["new_tokens"]) if extension else 0,
        "reasons": reasons,
        "fertility": {pool: row["fertility"] for pool, row in pools.items()},
        "fertility_extended": {pool: row["fertility"] for pool, row in after["pools"].items()} if after else None,
        "tokens": {pool: row["tokens"] for pool, row in pools.items()},
        "tokens_extended": {pool: row["tokens"] for pool, row in after["pools"].items()} if after else None,
        "general_share": extension["general_share"] if extension else None,
        "analysis": {**analysis, "extended": after and after["pools"], "worth_extending": worth},
    }
