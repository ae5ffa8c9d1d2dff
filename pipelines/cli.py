"""The command line every command shares: a pipeline file or run, and any key by its dotted name."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from pipelines import config
from pipelines.secrets import scrub
from pipelines.section import Section
from pipelines.storage import connect, is_url

RUNS = Path("runs")


def parse(
    command: str,
    about: str,
    section: str,
    argv: list[str] | None = None,
    arguments: Callable[[argparse.ArgumentParser], None] | None = None,
) -> tuple[config.Pipeline, argparse.Namespace]:
    """Read the command line of `command`, whose own keys are those of `section`.

    The keys of `section` are options by their plain name (`--seq-len`), all keys by their dotted name
    (`--mix.seq_len`). The target is a pipeline file, a run folder, the URL of a published run (fetched into --output,
    or runs/<the URL's last name>), or nothing for the latest run.
    Returns the pipeline with the overrides applied, and the options that `arguments` added.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {command}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "target",
        nargs="?",
        help="pipeline file (.yaml), run folder, or URL of a published run; the latest run if left out",
    )
    parser.add_argument("--output", metavar="DIR", help="run folder instead of runs/<name>")
    if arguments:
        arguments(parser)
    _add_keys(parser, section)
    options = parser.parse_args(argv)
    overrides = {key: value for key, value in vars(options).items() if key.startswith("key:") and value is not None}
    if options.target and is_url(options.target):
        source = _fetch(options.target, options.output, command)
    else:
        source = _source(options.target or options.output, command)
    values = {key.removeprefix("key:"): _value(key, text) for key, text in overrides.items()}
    if options.output:
        values["output"] = options.output
    elif source.name == "pipeline.yaml" and source.parent.name:
        values["output"] = str(source.parent)
    pipeline = config.load(source, values, getattr(options, "allow_import", False))
    if pipeline.storage.publish:
        connect(pipeline.storage.publish, "storage.publish")  # known to be wrong before the command's work is done
    if (pipeline.folder / "published.json").exists():
        from pipelines import published

        published.use(pipeline, command)
    return pipeline, options


def run(main: Callable[[], None]) -> None:
    """Run a command; what the user can mend is printed without a traceback and exits with 2."""
    try:
        main()
    except (ValueError, FileNotFoundError, PermissionError) as error:
        if not isinstance(error, ValueError) or type(error) is ValueError:
            print(f"error: {scrub(str(error))}", file=sys.stderr)
            raise SystemExit(2) from None
        raise


def remember_latest(folder: Path) -> None:
    """Make `runs/latest` point at a run, so that the next command finds it."""
    if folder.resolve().parent != RUNS.resolve():
        return
    link, temporary = RUNS / "latest", RUNS / ".latest.tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(folder.name)
    temporary.replace(link)


def _fetch(url: str, output: str | None, command: str) -> Path:
    """Fetch a published run; returns its pipeline file."""
    from curate.files import is_plain
    from pipelines import published

    published.check_command(command, url)
    name = url.rstrip("/").rpartition("/")[2]
    if not output and not is_plain(name):
        raise ValueError(f"{url}: ends with no name that a folder could have. Name one with --output.")
    folder = Path(output) if output else RUNS / name
    published.fetch(url.rstrip("/"), folder)
    return folder / "pipeline.yaml"


def _source(target: str | None, command: str) -> Path:
    if target is None:
        latest = RUNS / "latest" / "pipeline.yaml"
        if not latest.exists():
            raise ValueError(
                f"{latest}: there is no run yet, so {command} has nothing to work on. "
                "Start with: python -m curate.run pipelines/clinical.yaml"
            )
        return RUNS / (RUNS / "latest").resolve().name / "pipeline.yaml"
    path = Path(target)
    if path.is_dir():
        return path / "pipeline.yaml"
    return path


def _value(key: str, text: str) -> Any:
    try:
        return config.read_yaml(text)
    except ValueError as error:
        raise ValueError(f"--{key.removeprefix('key:')}: {text!r} is not a YAML value ({error}).") from None


def _add_keys(parser: argparse.ArgumentParser, own: str) -> None:
    taken = {action.dest for action in parser._actions}
    plain = {name for name in config.Pipeline.model_fields[own].annotation.model_fields}  # type: ignore[union-attr]
    for name, field in config.Pipeline.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            group = parser.add_argument_group(f"{name}: keys", section.__doc__)
            for key, inner in section.model_fields.items():
                names = [f"--{name}.{key}"]
                if name == own and key not in taken:
                    names.insert(0, f"--{key.replace('_', '-')}")
                _add(group, names, f"{name}.{key}", inner)
        elif name != "output" and name not in plain:
            _add(parser, [f"--{name.replace('_', '-')}"], name, field)


def _add(group: Any, names: list[str], key: str, field: Any) -> None:
    default = field.get_default(call_default_factory=True)
    shown = "required in the file" if default is PydanticUndefined else f"default {_short(default)}"
    text = f"{field.description} ({shown})".replace("%", "%%")
    group.add_argument(*names, dest=f"key:{key}", metavar="VALUE", help=text)


def _short(default: Any) -> str:
    if isinstance(default, Section):
        return str(default.model_dump())
    return "none" if default is None else str(default)
