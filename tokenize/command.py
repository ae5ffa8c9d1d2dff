"""The command line of fertility and extend: a run, or a tokenizer and any text without a run."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenization.config import TokenizerConfig

if TYPE_CHECKING:
    from tokenization.counting import Counts


@dataclass
class Request:
    """What the command line asks for."""

    tokenizer: Path
    """Folder with tokenizer.json."""
    run: Path | None
    """Run whose kept documents are the text; None where --text names it."""
    text: list[str]
    """Globs of domain text."""
    general: list[str]
    """Globs of general text."""
    settings: TokenizerConfig
    output: Path | None
    """Folder to write to; None where the command writes nothing, or into the run."""


def parse(
    command: str,
    about: str,
    argv: list[str] | None = None,
    writes: bool = False,
) -> Request:
    """Read the command line: `[RUN] [--tokenizer DIR]`, or `--tokenizer DIR --text GLOB ...` without a run.

    Where the command `writes` a tokenizer, the form without a run also needs `--output DIR`.
    """

    def both(parser: ArgumentParser) -> None:
        parser.add_argument("--tokenizer", metavar="DIR", help="folder with tokenizer.json; the run's base model's")
        parser.add_argument(
            "--text", nargs="+", metavar="GLOB", help="domain text instead of a run's: jsonl, parquet, txt"
        )
        parser.add_argument("--general", nargs="+", metavar="GLOB", default=[], help="general text beside --text")

    first = ArgumentParser(add_help=False)
    first.add_argument("--text", nargs="+")
    if first.parse_known_args(argv)[0].text is None:
        return _from_run(command, about, argv, both)
    parser = ArgumentParser(prog=f"python -m {command}", description=about, formatter_class=RawDescriptionHelpFormatter)
    both(parser)
    if writes:
        parser.add_argument("--output", metavar="DIR", required=True, help="folder for the extended tokenizer")
    for key, field in TokenizerConfig.model_fields.items():
        names = [f"--{key.replace('_', '-')}", f"--tokenizer.{key}"]
        parser.add_argument(*names, dest=f"key:{key}", metavar="VALUE", help=f"{field.description}".replace("%", "%%"))
    options = parser.parse_args(argv)
    if options.tokenizer is None:
        raise ValueError("--tokenizer: is missing; with --text there is no run that names a base model.")
    output = Path(options.output) if writes else None
    return Request(Path(options.tokenizer), None, options.text, options.general, _settings(options), output)


def counts(request: Request) -> "dict[str, dict[str, Counts]]":
    """Count the text asked for: pool -> source -> counts."""
    from tokenization import counting

    if request.run is not None:
        return counting.count_run(request.run)
    asked = {"domain": ("--text", request.text), "replay": ("--general", request.general)}
    return {pool: _count_sources(*pair) for pool, pair in asked.items() if pair[1]}


def _count_sources(option: str, globs: list[str]) -> "dict[str, Counts]":
    """Counts by source: files of the same stem are one source."""
    from tokenization import counting

    files: dict[str, set[Path]] = {}
    for glob in globs:
        path = Path(glob)
        found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        if not found:
            raise ValueError(f"{option} {glob}: matches no file, so there is no text to look at.")
        for file in found:
            files.setdefault(file.name.partition(".")[0], set()).add(file)
    return {source: counting.count(counting.read_texts(sorted(files[source]))) for source in sorted(files)}


def _from_run(command: str, about: str, argv: list[str] | None, arguments: Callable[[ArgumentParser], None]) -> Request:
    from pipelines import cli
    from tokenization.folder import find

    pipeline, options = cli.parse(command, about, "tokenizer", argv, arguments)
    folder = Path(options.tokenizer) if options.tokenizer else find(pipeline.model)
    return Request(folder, pipeline.folder, [], [], pipeline.tokenizer, None)


def _settings(options: Namespace) -> TokenizerConfig:
    import yaml
    from pydantic import ValidationError

    given = {name.removeprefix("key:"): value for name, value in vars(options).items() if name.startswith("key:")}
    values: dict[str, Any] = {key: yaml.safe_load(text) for key, text in given.items() if text is not None}
    try:
        return TokenizerConfig(**values)
    except ValidationError as error:
        problem = error.errors()[0]
        raise ValueError(f"--{problem['loc'][0]}: {problem['input']!r} cannot be used: {problem['msg']}.") from None
