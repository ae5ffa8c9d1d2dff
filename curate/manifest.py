"""manifest.json: what every stage took in, kept and removed, counted again from what is on disk."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from curate.files import read_json, write_json
from curate.plan import Step

LIBRARIES = ("datatrove", "polars", "numba")


def write_manifest(run: Path, name: str, read: Step, steps: list[Step], labels: list[str]) -> dict[str, Any]:
    """Count, check that documents in = kept + removed, write manifest.json, return it.

    `labels` name the stages' folders under removed/. Raises RuntimeError where a document is unaccounted for.
    """
    counted = [read_json(path) for path in sorted((read.folder / "counts").glob("*.json"))]
    documents, size = sum(one["documents"] for one in counted), sum(one["bytes"] for one in counted)
    stages = []
    for label, step in zip(["read", *labels], [read, *steps], strict=True):
        reasons = _reasons(run / "removed" / label)
        removed, removed_bytes = int(reasons["documents"].sum()), int(reasons["bytes"].sum())
        stages.append(
            {
                "name": label,
                "identity": step.identity,
                "documents_in": documents,
                "documents_kept": documents - removed,
                "documents_removed": removed,
                "bytes_in": size,
                "bytes_kept": size - removed_bytes,
                "reasons": _total(reasons, "reason"),
                "removed_by_source": _total(reasons, "source"),
                **_edits(run / "edited" / label),
                "seconds": read_json(step.folder / "complete.json")["seconds"],
                "versions": {"stage": step.stage.version} | {library: version(library) for library in LIBRARIES},
            }
        )
        documents, size = documents - removed, size - removed_bytes
    kept = rows_in(run / "documents")
    if kept != documents:
        raise RuntimeError(
            f"{run}: {stages[0]['documents_in']} documents were read and {stages[0]['documents_in'] - documents} "
            f"removed, but documents/ holds {kept} instead of {documents}: the ledger does not account for every "
            "document. The run is not usable; delete its work/ folder and run again."
        )
    manifest = {
        "run": name,
        "identity": steps[-1].identity if steps else read.identity,
        "sources": counted,
        "stages": stages,
        "kept": _pools(run / "documents"),
        "held_out": _pools(run / "held_out"),
    }
    write_json(run / "manifest.json", manifest)
    return manifest


def rows_in(folder: Path) -> int:
    """Rows of all Parquet files under a folder; 0 where there is none."""
    return _scan(folder).select(pl.len()).collect().item() if any(folder.rglob("*.parquet")) else 0


def _reasons(folder: Path) -> pl.DataFrame:
    """source, reason, documents, bytes of one stage's ledger."""
    if not any(folder.glob("*.parquet")):
        return pl.DataFrame(schema={"source": pl.String, "reason": pl.String, "documents": pl.Int64, "bytes": pl.Int64})
    grouped = _scan(folder).group_by("source", "reason").agg(documents=pl.len().cast(pl.Int64), bytes=pl.sum("bytes"))
    return grouped.sort("source", "reason").collect()


def _edits(folder: Path) -> dict[str, Any]:
    """How many documents kept or held out a stage edited, by how many bytes it shortened them, and why."""
    if not any(folder.glob("*.parquet")):
        return {"documents_edited": 0, "bytes_cut": 0, "edits": {}}
    shorter = pl.col("end") - pl.col("start") - pl.col("after").str.len_bytes().cast(pl.Int64)
    edits = _scan(folder).select("id", "reason", shorter=shorter).collect()
    reasons = edits.group_by("reason").agg(spans=pl.len()).sort("reason")
    return {
        "documents_edited": edits["id"].n_unique(),
        "bytes_cut": int(edits["shorter"].sum()),
        "edits": dict(reasons.iter_rows()),
    }


def _total(reasons: pl.DataFrame, by: str) -> dict[str, int]:
    return dict(reasons.group_by(by, maintain_order=True).agg(pl.sum("documents")).sort(by).iter_rows())


def _pools(folder: Path) -> dict[str, dict[str, int]]:
    if not any(folder.rglob("*.parquet")):
        return {}
    counted = (
        _scan(folder).group_by("pool").agg(documents=pl.len(), bytes=pl.col("text").str.len_bytes().sum()).sort("pool")
    )
    return {
        row["pool"]: {"documents": row["documents"], "bytes": row["bytes"]}
        for row in counted.collect().iter_rows(named=True)
    }


def _scan(folder: Path) -> pl.LazyFrame:
    return pl.scan_parquet(sorted(folder.rglob("*.parquet")))
