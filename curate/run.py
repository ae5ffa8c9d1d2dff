"""python -m curate.run PIPELINE: raw text in, clean documents and the ledger out.

Writes runs/<name>/: documents/, held_out/, removed/, manifest.json, tokenizer/, pipeline.yaml. Prints the resolved plan
before and the funnel after. A run that was killed goes on where it stopped; one that is finished is not done again.
A changed stage runs again with those that follow it, and nothing before it does.
"""

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from pipelines import cli, config

if TYPE_CHECKING:
    from rich.console import Console

    from curate.curation import Curation


def main(argv: list[str] | None = None) -> None:
    """The command; raises ValueError for what the user can mend."""
    if "--stages-help" in (sys.argv if argv is None else argv):
        print(_stages_help())
        return
    pipeline, options = cli.parse("curate.run", _about(), "curate", argv, _arguments)

    from rich.console import Console

    from curate import explain
    from curate.curation import resolve_curation, run_only
    from curate.files import alone
    from pipelines.published import publish_finished

    console, started = Console(), time.monotonic()
    where = options.target or "runs/latest/pipeline.yaml"
    curation = resolve_curation(pipeline, where, lambda line: console.print(f"[dim]{line}[/dim]"))
    _print_plan(console, curation, options.explain)
    if options.explain or options.dry_run:
        return
    with alone(pipeline.folder):
        if options.only:
            _print_verdicts(console, options.only, run_only(curation, options.only))
            return
        explain.remember(curation)
        config.save(pipeline, pipeline.folder / "pipeline.yaml")
        cli.remember_latest(pipeline.folder)
        _curate(console, curation)
        publish_finished(pipeline)
    console.print(f"{pipeline.folder}: done in {time.monotonic() - started:.1f} s. Next: python -m mix.build")


def _curate(console: "Console", curation: "Curation") -> None:
    """Run the stages and the vocabulary's; print what came of each."""
    from curate.curation import run_curation
    from tokenization import vocabulary

    pipeline = curation.pipeline
    manifest = run_curation(curation)
    _print_funnel(console, manifest)
    if empty := [pool for pool in ("domain", "replay") if pool not in manifest["kept"]]:
        raise ValueError(
            f"{pipeline.folder}: no document of the pool {empty[0]} is left, so there is nothing to train on. "
            "removed/ says which stage dropped them and why; loosen it, or add sources."
        )
    console.print("[dim]tokenizer: analysis, extension by the rules[/dim]")
    summary = vocabulary.build(pipeline.folder, pipeline, manifest["identity"])
    _print_vocabulary(console, summary)


def _about() -> str:
    return __doc__ or ""


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--stages-help", action="store_true", help="list the curation stages with their keys and exit")
    add("--dry-run", action="store_true", help="check the pipeline and its files, print the plan and exit")
    add("--explain", action="store_true", help="as --dry-run, and say of each stage why it would run or not")
    add(
        "--allow-import", action="store_true", help="run classes of any package that the pipeline names: trust its code"
    )
    add("--only", metavar="STAGE", help="run one stage on what is on disk, print what it removes and exit")


def _stages_help() -> str:
    import curate.stages  # noqa: F401
    from curate.stage import STAGES

    lines = []
    for name, stage in sorted(STAGES.items()):
        lines.append(f"{name}: {(stage.__doc__ or '').strip()}")
        for key, field in stage.model_fields.items():
            lines.append(f"    {key}: {field.description} (default {field.get_default(call_default_factory=True)})")
        lines.append("")
    return "\n".join(lines)


def _print_plan(console: Any, curation: Any, why: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from curate import explain

    pipeline = curation.pipeline
    table = Table(title=f"curation of {pipeline.name}", title_justify="left")
    for column in ("pool", "source", "file", "MB"):
        table.add_column(column, justify="right" if column == "MB" else "left")
    for source in curation.sources:
        file = escape(f"{source.root}/{source.path}")
        table.add_row(source.pool, escape(source.name), file, f"{source.bytes / 1e6:.1f}")
    console.print(table)
    stages = Table(title="stages, in order", title_justify="left")
    for column in ("stage", "keys", "", *(["why"] if why else [])):
        stages.add_column(column, overflow="fold")
    steps = [None, *(step.stage for step in curation.steps)]
    for stage, (label, runs, reason) in zip(steps, explain.reasons(curation), strict=True):
        set_keys = stage.model_dump(exclude_defaults=True) if stage else {}
        keys = escape(", ".join(f"{key}={value}" for key, value in set_keys.items()))
        stages.add_row(
            label, keys or "defaults" * bool(stage), "runs" if runs else "on disk", *([escape(reason)] if why else [])
        )
    console.print(stages)
    executor = pipeline.curate.executor
    console.print(f"executor: {executor.kind}, {executor.workers} workers; run folder: {pipeline.folder}")


def _print_funnel(console: Any, manifest: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title="funnel", title_justify="left")
    for column in ("stage", "in", "removed", "MB in", "MB kept", "seconds", "reasons"):
        table.add_column(column, justify="left" if column in ("stage", "reasons") else "right", overflow="fold")
    for stage in manifest["stages"]:
        told = _counts(stage["reasons"])
        if stage["documents_edited"]:
            cut = f"{stage['bytes_cut'] / 1e6:.2f} MB shorter"
            told += f"{'; ' * bool(told)}edited {stage['documents_edited']:,} ({cut}): {_counts(stage['edits'])}"
        table.add_row(
            stage["name"],
            f"{stage['documents_in']:,}",
            f"{stage['documents_removed']:,}",
            f"{stage['bytes_in'] / 1e6:.2f}",
            f"{stage['bytes_kept'] / 1e6:.2f}",
            f"{stage['seconds']:.1f}",
            told,
        )
    console.print(table)
    for title in ("kept", "held_out"):
        pools = ", ".join(
            f"{pool} {count['documents']:,} documents, {count['bytes'] / 1e6:.2f} MB"
            for pool, count in manifest[title].items()
        )
        console.print(f"{title.replace('_', ' ')}: {pools or 'nothing'}")
    taken, removed = (
        manifest["stages"][0]["documents_in"],
        sum(stage["documents_removed"] for stage in manifest["stages"]),
    )
    kept = sum(pool["documents"] for pool in manifest["kept"].values())
    console.print(f"every document accounted for: {taken:,} in = {kept:,} kept + {removed:,} in the ledger")


def _counts(reasons: dict[str, int]) -> str:
    ranked = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{reason} {count:,}" for reason, count in ranked)


def _print_verdicts(console: Any, stage: str, ledger: Any) -> None:
    """What one stage removes, by reason, with the first of each."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{stage}: {ledger.height:,} documents removed", title_justify="left")
    for column in ("reason", "documents", "for example", "detail", "text"):
        table.add_column(column, overflow="fold")
    for (reason,), group in ledger.group_by("reason", maintain_order=True):
        name, evidence, text = group.select("id", "detail", "excerpt").row(0)
        table.add_row(reason, f"{group.height:,}", Text(name), Text(evidence), Text(text[:80]))
    console.print(table)


def _print_vocabulary(console: Any, summary: dict[str, Any]) -> None:
    from rich.table import Table

    what = (
        "trained from scratch"
        if summary["trained"]
        else f"{summary['new_tokens']:,} new"
        if summary["extended"]
        else "as the base's"
    )
    console.print(f"tokenizer: {summary['vocabulary']:,} tokens, {what}" + " (on disk)" * summary["reused"])
    for reason in summary["reasons"]:
        console.print(f"  {reason}")
    table = Table()
    for column in ("pool", "tokens per word", "extended", "tokens", "extended", "change"):
        table.add_column(column, justify="left" if column == "pool" else "right")
    after, tokens_after = summary["fertility_extended"] or {}, summary["tokens_extended"] or {}
    for pool, tokens in summary["tokens"].items():
        extended = tokens_after.get(pool, tokens)
        fertility = summary["fertility"][pool]
        cells = (f"{fertility:.3f}", f"{after.get(pool, fertility):.3f}", f"{tokens:,}", f"{extended:,}")
        table.add_row(pool, *cells, f"{100 * (extended / tokens - 1):+.2f} %")
    console.print(table)


if __name__ == "__main__":
    cli.run(main)
