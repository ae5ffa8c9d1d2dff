"""The last pass: documents/, held_out/, removed/ and edited/, each put in place as a whole."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.pipeline.base import PipelineStep

from curate.files import aside
from curate.parts import Batch, Part, write_frame

FOLDERS = ("documents", "held_out", "removed", "edited")


def write_documents(path: Path, batch: Batch) -> None:
    """Write a batch as documents: id, text, pool, source, origin, scores; nothing where it is empty."""
    documents = batch.documents
    if documents.height == 0:
        path.unlink(missing_ok=True)
        return
    table = documents.select("id", "text", "pool", "source", "origin").to_arrow(compat_level=pl.CompatLevel.oldest())
    table = table.append_column("scores", _scores(batch.part, documents["row"]))
    with aside(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", compression_level=3, use_dictionary=["pool", "source"])


class WriteDocuments(PipelineStep):
    """Writes the rows that are left, the ledger and the edits of every stage, into a folder to be put in place."""

    type, name = "CURATE", "write documents"

    def __init__(self, folder: Path, ledgers: list[tuple[str, Path]], held_out: Path | None):
        super().__init__()
        self.folder, self.ledgers, self.held_out = folder, ledgers, held_out

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
        for name in FOLDERS:  # an empty one takes the place of what an earlier pipeline left
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for batch in data:
            with self.track_time():
                part = batch.part
                place = Path(part.pool) / part.source / f"{part.number:05d}.parquet"
                write_documents(self.folder / "documents" / place, batch)
                if self.held_out and (kept_aside := self.held_out / "documents" / f"{part.key}.parquet").exists():
                    with aside(self.folder / "held_out" / place) as temporary:
                        shutil.copyfile(kept_aside, temporary)
                for label, folder in self.ledgers:
                    self._write_ledger(part, label, folder / "verdicts" / f"{part.key}.parquet")
                self._write_edits(batch)
            yield batch

    def _write_ledger(self, part: Part, label: str, verdicts: Path) -> None:
        path = self.folder / "removed" / label / f"{part.key}.parquet"
        if not verdicts.exists():
            return
        frame = pl.read_parquet(verdicts).with_columns(_place(part, label))
        columns = ["id", "pool", "source", "origin", "stage", "reason", "detail", "excerpt", "bytes"]
        write_frame(path, frame.select(columns))

    def _write_edits(self, batch: Batch) -> None:
        """The edits in documents that are kept or held out; those of documents removed later say nothing."""
        part, ids = batch.part, batch.documents["id"]
        if self.held_out and (held_out := self.held_out / "verdicts" / f"{part.key}.parquet").exists():
            ids = pl.concat([ids, pl.read_parquet(held_out)["id"]])
        for label, folder in self.ledgers:
            path = self.folder / "edited" / label / f"{part.key}.parquet"
            frames = [
                pl.read_parquet(made)
                for kind in ("edits", "edited")
                if (made := folder / kind / f"{part.key}.parquet").exists()
            ]
            edited = pl.concat(frames).filter(pl.col("id").is_in(ids.implode())) if frames else pl.DataFrame()
            if edited.height:
                columns = ["id", "pool", "source", "origin", "stage", "reason", "detail", "start", "end"]
                write_frame(path, edited.with_columns(_place(part, label)).select(*columns, "before", "after"))
            else:
                path.unlink(missing_ok=True)


def _place(part: Part, label: str) -> list[pl.Expr]:
    return [pl.lit(part.pool).alias("pool"), pl.lit(part.source).alias("source"), pl.lit(label).alias("stage")]


def put_in_place(staged: Path, run: Path) -> None:
    """Move the staged folders to their final names; a run killed in between stages them again."""
    (run / "manifest.json").unlink(missing_ok=True)
    assert all((staged / name).exists() for name in FOLDERS), f"{staged} is not whole"
    for name in FOLDERS:
        shutil.rmtree(run / name, ignore_errors=True)
        (staged / name).rename(run / name)


def _scores(part: Part, rows: pl.Series) -> pa.MapArray:
    """The scores of `rows` as a map per row; a score a stage did not give is left out."""
    scores = part.scores()
    if scores is None:
        offsets = pa.array([0] * (len(rows) + 1), pa.int32())
        return pa.MapArray.from_arrays(offsets, pa.array([], pa.string()), pa.array([], pa.float32()))
    names = sorted(name for name in scores.columns if name != "row")
    joined = rows.to_frame("row").join(scores, on="row", how="left", maintain_order="left")
    long = joined.with_row_index("at").unpivot(names, index="at", variable_name="name", value_name="value")
    long = long.filter(pl.col("value").is_not_null()).sort("at", "name")
    at = pl.DataFrame({"at": range(len(rows))}, schema={"at": pl.UInt32})
    counts = at.join(long.group_by("at").len(), on="at", how="left", maintain_order="left")["len"].fill_null(0)
    offsets = pa.array([0, *counts.cum_sum().to_list()], pa.int32())
    keys, values = long["name"].to_arrow(), long["value"].cast(pl.Float32).to_arrow()
    return pa.MapArray.from_arrays(offsets, keys.cast(pa.string()), values)
