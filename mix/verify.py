"""Is a packed run what it says it is? `python -m mix.verify [RUN] [--tokens | --sample N]`.

Reads mixture.json, tokenizer/, documents/ and packed/ of a run and changes nothing. Checked, for every source:

- the plan's identity, the tokenizer's identity, and the hash of every shard;
- what each shard says it was made with, its rows, and in each row: token ids below the vocabulary size, segments that
  add to seq_len, documents that exist, padding last and filled with the one id that padding has;
- documents.parquet has the documents of documents/, in their order, each id once, as many as curation says it kept;
- every document's segments cover each of its tokens exactly once, over all shards;
- counts of rows, documents, documents cut and tokens are the plan's, and no other file lies in packed/.

`--tokens` also encodes every document again and compares the ids with those in the rows; `--sample N` does so for N
documents of each source, evenly spaced. The first thing wrong with each source is told; any ends the command with 2.
"""

import argparse
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from curate.read_manifest import read_manifest
from mix.best import split
from mix.plan import Plan
from mix.plan_file import read_plan
from mix.shards import DOCUMENTS, padding_id
from mix.source import MARKER, Documents, find_documents
from mix.token_files import TokenFiles, find_token_files
from mix.verify_source import AGAIN, Checked, check_source
from pipelines import cli, config
from tokenization.encode import Encoder


def main(argv: list[str] | None = None) -> None:
    """The command."""
    pipeline, options = cli.parse("mix.verify", __doc__ or "", "mix", argv, _arguments)
    verify(pipeline.folder, options.tokens, options.sample)


def _arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--tokens", action="store_true", help="encode every document again and compare the ids")
    group.add_argument("--sample", type=int, metavar="N", help="encode N documents of each source again")


def verify(run: Path, tokens: bool = False, sample: int | None = None) -> None:
    """Check the packed mixture of a run and print what was checked.

    Raises ValueError with one line for each thing found wrong.
    """
    if sample is not None and sample < 1:
        raise ValueError(f"--sample: {sample} documents cannot be encoded again. Give 1 or more, or leave it out.")
    begun = time.perf_counter()
    plan = read_plan(run / "mixture.json")
    encoder = Encoder(run / "tokenizer")
    _check_tokenizer(run, plan, encoder)
    pools = tuple(pool.name for pool in plan.pools)
    mix = config.load(run / "pipeline.yaml").mix
    text = {(one.pool, one.source): one for one in split(find_documents(run / "documents", pools), mix.best)}
    padding = padding_id(encoder.bos, encoder.eos)
    imported = find_token_files(run / "pipeline.yaml", mix.token_files, set(text), encoder, padding)
    found: dict[tuple[str, str], Documents | TokenFiles] = {**text}
    found |= {(one.pool, one.source): one for one in imported}
    findings = _strangers(run, plan, set(found)) + _check_manifest(run, plan, {*found} - {*text})
    checked: dict[str, Checked] = {}
    for pool, source in plan.sources:
        try:
            kept = found.get((pool.name, source.name)) or Documents(pool.name, source.name, [], 0)
            checked[f"{pool.name}/{source.name}"] = check_source(
                run, plan, pool.name, source, kept, encoder, tokens, sample
            )
        except ValueError as error:
            findings.append(str(error))
    _show(run, plan, checked, time.perf_counter() - begun, not findings)
    if findings:
        raise ValueError("\n".join(findings))


def _check_tokenizer(run: Path, plan: Plan, encoder: Encoder) -> None:
    for key, found, wanted in (
        ("identity", encoder.identity, plan.tokenizer),
        ("vocabulary_size", encoder.vocabulary_size, plan.vocabulary_size),
    ):
        if found != wanted:
            raise ValueError(
                f"{run / 'tokenizer'}: {key}: is {found}, but mixture.json was made with {wanted}, so the ids in the "
                f"shards mean something else. Put that tokenizer back, or pack with this one: {AGAIN}"
            )


def _strangers(run: Path, plan: Plan, documents: set[tuple[str, str]]) -> list[str]:
    """Sources that were kept and not planned, and files in packed/ that belong to no planned source."""
    planned = {(pool.name, source.name) for pool, source in plan.sources}
    found = [
        f"{run / 'documents' / pool / source}: holds documents, but mixture.json has no such source, so they are in no "
        f"row. {AGAIN}"
        for pool, source in sorted(documents - planned)
    ]
    packed = run / "packed"
    wanted = {packed / shard.file for _, source in plan.sources for shard in source.shards}
    wanted |= {packed / pool / source / name for pool, source in planned for name in (DOCUMENTS, MARKER)}
    for path in sorted(path for path in packed.rglob("*") if path.is_file() and path not in wanted):
        found.append(f"{path}: is not in mixture.json, so it is not clear what it belongs to. {AGAIN}")
    return found


def _check_manifest(run: Path, plan: Plan, imported: set[tuple[str, str]]) -> list[str]:
    """Pools with another number of documents than curation says it kept, where manifest.json says so.

    Sources `imported` as tokens are not counted.
    """
    if not (run / "manifest.json").exists():
        return []
    kept = read_manifest(run / "manifest.json", kept=dict)["kept"]
    counts = {
        pool.name: sum(one.documents for one in pool.sources if (pool.name, one.name) not in imported)
        for pool in plan.pools
    }
    return [
        f"{run / 'manifest.json'}: kept.{pool}.documents: says {kept[pool].get('documents')}, but mixture.json has "
        f"{count:,}, so documents are missing or were changed after curation. Run curate.run and mix.build again."
        for pool, count in counts.items()
        if pool in kept and kept[pool].get("documents") != count
    ]


def _show(run: Path, plan: Plan, checked: dict[str, Checked], seconds: float, whole: bool) -> None:
    table = Table(
        title=f"{run}: what was checked", title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0)
    )
    table.add_column("pool / source", no_wrap=True)
    for column in ("documents", "cut", "tokens", "padding", "rows", "shards", "MB", "encoded again", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for pool, source in plan.sources:
        one = checked.get(f"{pool.name}/{source.name}")
        if one is None:
            table.add_row(f"{pool.name}/{source.name}", *[""] * 8, "wrong")
            continue
        free = 1 - one.tokens / (one.rows * plan.seq_len) if one.rows else 0.0
        cells = (f"{one.documents:,}", f"{one.cut:,}", f"{one.tokens:,}", f"{free:.3%}", f"{one.rows:,}")
        more = (str(one.shards), f"{one.bytes / 1e6:,.1f}", f"{one.encoded:,}" if one.encoded else "-", "right")
        table.add_row(f"{pool.name}/{source.name}", *cells, *more)
    console = Console(soft_wrap=True, width=120)
    console.print(table)
    if not whole:
        return
    total = {key: sum(getattr(one, key) for one in checked.values()) for key in Checked.__annotations__}
    console.print(
        f"verified: {total['documents']:,} documents, {total['tokens']:,} tokens, {total['rows']:,} rows in "
        f"{total['shards']} shards of {len(checked)} sources, {total['encoded']:,} documents encoded again; "
        f"{total['bytes'] / 1e6:,.1f} MB in {seconds:.2f} s; plan {plan.identity}, tokenizer {plan.tokenizer}",
        highlight=False,
    )


if __name__ == "__main__":
    cli.run(main)
