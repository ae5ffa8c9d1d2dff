"""From what tests/benchmarks/scale.py measured to hours, cores and disk for 1B documents and for 1T tokens.

A document costs what one more of them cost on the real text between its two largest sizes (`each`), so that what is
done once is not counted again. All assumptions are printed beside the numbers.
"""

import json

import numpy as np
from scale_pieces import BATCH
from timing import RESULTS

Figures = dict[str, float]
Line = tuple[str, float, str]
"""Name, value, assumption."""
NEAR_BYTES = 744
"""Bytes of memory_mb that near_dedup counts for a document with its 112 positions and 14 bands."""
NEAR_SHARE = 0.75
"""Of a node's memory, in which near_dedup decides."""
TOKEN_BYTES = 4
"""A token of a vocabulary above 65,536; GPT-2's takes 2."""


def show(found: dict[str, list[Figures]], nodes: int, cores: int, memory: float) -> None:
    """Print the projection for nodes of so many cores and GB of memory, and write it beside the tables."""
    from rich.console import Console
    from rich.table import Table

    one = each(found["real"])
    cases = {"1B documents": 1e9, "1T tokens": 1e12 / one["tokens"]}
    columns = [
        [
            *_amounts(one, documents),
            *_curation(found, one, documents, nodes * cores, memory),
            *_mixture(one, documents, cores),
            *_disk(one, documents, nodes),
            *_memory(found, documents),
        ]
        for documents in cases.values()
    ]
    table = Table(title=f"{nodes} nodes of {cores} cores and {memory:g} GB", title_justify="left", box=None)
    for heading in ("", *cases, "assumption"):
        table.add_column(heading, justify="right" if heading in cases else "left")
    rows = {}
    for (name, first, assumption), (_, second, _) in zip(*columns, strict=True):
        table.add_row(name, f"{first:,.4g}", f"{second:,.4g}", assumption)
        rows[name] = dict(zip(cases, (first, second), strict=True)) | {"assumption": assumption}
    Console(width=200).print(table)
    (RESULTS / "scale_projection.json").write_text(json.dumps(rows, indent=1) + "\n")


def each(runs: list[Figures]) -> Figures:
    """What a document more takes, between the two largest sizes."""
    before, last = runs[-2:]
    return {key: (last[key] - before[key]) / (last["documents"] - before["documents"]) for key in last}


def _amounts(one: Figures, documents: float) -> list[Line]:
    return [
        ("documents, millions", documents / 1e6, "read"),
        ("text, TB", one["text bytes"] * documents / 1e12, f"{one['text bytes']:,.0f} bytes a document, as real text"),
        (
            "tokens, billions",
            one["tokens"] * documents / 1e9,
            f"{one['tokens']:,.0f} a document that is read, after what is removed; GPT-2's vocabulary",
        ),
    ]


def _curation(found: dict[str, list[Figures]], one: Figures, documents: float, cores: int, memory: float) -> list[Line]:
    """Hours of curate.run."""
    shared = one["curate s"] - one["of it deciding s"]
    last, exact = found["real"][-1], found["exact_keys"][-1]
    block, (near, read) = near_block(1000 * memory * NEAR_SHARE), near_costs(found["near_keys"])
    again = read * read_again(documents, block)
    return [
        (
            "curation, core-hours",
            shared * documents / 3600,
            f"pipelines/clinical.yaml: {1e3 * shared:.2f} ms a document on cores as fast as this one",
        ),
        (
            "curation, hours",
            shared * documents / 3600 / cores,
            "parts shared out evenly over all cores of all nodes; storage and network are not waited for",
        ),
        (
            "deciding, hours",
            (one["of it deciding s"] * documents + again) / 3600,
            f"one process: {1e6 * one['of it deciding s']:.0f} us a document with reading and ledger, of it in memory "
            f"{1e6 * exact['seconds'] / exact['documents']:.1f} exact_keys, {1e6 * near:.1f} near_keys",
        ),
        (
            "of it read again, hours",
            again / 3600,
            f"near_dedup's earlier blocks, {1e6 * read:.2f} us a document; blocks of {block / 1e6:,.0f} M in "
            f"{NEAR_SHARE:.0%} of a node's memory; larger tables as quick as those of 5 M",
        ),
        (
            "preparing, hours",
            last["preparing s"] / 3600,
            "once, one core: KenLM of 2 x 50 MB at most, index of the benchmarks; as at the largest size here",
        ),
    ]


def _mixture(one: Figures, documents: float, cores: int) -> list[Line]:
    """Hours of mix.build."""
    return [
        ("encoding, core-hours", one["encode s"] * documents / 3600, "GPT-2's vocabulary"),
        (
            "encoding, hours",
            one["encode s"] * documents / 3600 / cores,
            "one process, one node: all its cores; sources in runs of their own on all nodes: a share each",
        ),
        (
            "packing, hours",
            one["pack s"] * documents / 3600,
            "one core: rows planned, shards written and hashed; sources in runs of their own: a share each",
        ),
    ]


def _disk(one: Figures, documents: float, nodes: int) -> list[Line]:
    packed = one["packed bytes"] * TOKEN_BYTES / 2
    whole = one["input bytes"] + one["work bytes"] + one["documents bytes"] + 2 * packed
    return [
        ("input, TB", one["input bytes"] * documents / 1e12, "JSON lines, gzip level 1"),
        (
            "work/, TB",
            one["work bytes"] * documents / 1e12,
            "Parquet: texts, signatures, scores, ledger; may be deleted",
        ),
        ("documents/, TB", one["documents bytes"] * documents / 1e12, "Parquet of what is kept"),
        ("packed/, TB", packed * documents / 1e12, f"{TOKEN_BYTES} bytes a token; twice that while it is packed"),
        ("disk of a node, TB", whole * documents / 1e12 / nodes, "all of that at once, evenly"),
    ]


def _memory(found: dict[str, list[Figures]], documents: float) -> list[Line]:
    exact, packing = (each(found[name])["peak"] for name in ("exact_keys", "packing"))
    return [
        ("exact_dedup, GB", exact * documents / 1e9, f"{exact:.0f} bytes a document in the one process that decides"),
        ("packing, GB", packing * documents / 1e9, f"{packing:.0f} bytes a document; all in one source, else a share"),
    ]


def near_costs(runs: list[Figures]) -> tuple[float, float]:
    """Seconds of near_dedup's decisions: of a document, and of each time that one of an earlier block is read again."""
    seen = [[run["documents"], read_again(run["documents"], near_block(run["memory_mb"]))] for run in runs]
    seconds = np.array([run["seconds"] for run in runs])
    (own, read), *_ = np.linalg.lstsq(np.array(seen) / seconds[:, None], np.ones(len(runs)), rcond=None)
    return float(own), float(read)


def read_again(documents: float, block: float) -> float:
    """How many documents of earlier blocks all blocks together read."""
    return float(np.arange(0, documents, block).sum())


def near_block(memory_mb: float) -> float:
    """Documents of a block: whole parts."""
    return max(memory_mb * 1e6 // NEAR_BYTES // BATCH, 1) * BATCH
