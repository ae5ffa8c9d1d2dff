"""Signatures of kept documents on disk: what a later block of documents, or a later crawl, is compared with.

    DIR/00001/segment.json    what a run added: its sources, the keys of the signatures, documents, digest
              00000.parquet   of its kept documents, in order: id (string), signature (fixed-size list of uint32),
                              keys (fixed-size list of uint64: the bucket of each band)
              00001.parquet   the next block of them, where memory did not hold all
    DIR/00002/...             the next run, compared with the segments before it

Keys are read of all documents, signatures only where a key is one of the new documents'. A segment appears whole, by
the renaming of its folder. Deleting the folder of the last one takes its run out again.
"""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.files import aside, identity, read_json, write_json
from curate.kernels.near_duplicates import Earlier, band_keys

ROW_GROUP = 1 << 12
"""Documents read or written at a time, 1.8 MB of signatures of 112 positions."""


@dataclass(frozen=True)
class Segment:
    """What one run added to an index."""

    folder: Path
    facts: dict[str, Any]
    """`sources` (of each file that the run read, its name and the identity of its bytes), `documents`, `digest` (of
    ids and signatures, in order) and the keys of the signatures."""

    @property
    def number(self) -> int:
        """Its place in the order, from 1 on."""
        return int(self.folder.name)

    @property
    def manifest(self) -> Path:
        """The file that says what the segment holds."""
        return self.folder / "segment.json"

    @property
    def files(self) -> list[Path]:
        """Its documents. Raises ValueError where some are missing."""
        files = sorted(self.folder.glob("*.parquet"))
        found = documents_in(files)
        if found != self.facts["documents"]:
            raise ValueError(
                f"{self.folder}: holds {found} documents instead of {self.facts['documents']}, so copies of the others "
                "would be kept. Restore its files, or delete the folder and run its crawl again."
            )
        return files


def segments(index: Path) -> list[Segment]:
    """The segments of an index in order; none where the folder is not there yet."""
    folders = sorted(path for path in index.glob("[0-9]" * 5) if path.is_dir())
    return [Segment(folder, read_json(folder / "segment.json")) for folder in folders]


def documents_in(files: Iterable[Path]) -> int:
    """How many documents the files hold."""
    return sum(pq.read_metadata(path).num_rows for path in files)


def documents(files: Iterable[Path]) -> Iterator[Earlier]:
    """The documents in the files, in order; signatures can be had until the next ones are asked for."""
    for path in files:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield Earlier(_matrix(file, group, "keys"), partial(_matrix, file, group, "signature"))


def _matrix(file: pq.ParquetFile, group: int, name: str) -> np.ndarray:
    """A column of lists of one length, as [documents, length]."""
    column = file.read_row_group(group, columns=[name])[name].combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), column.type.list_size)


def ids(files: Iterable[Path], numbers: np.ndarray) -> dict[int, str]:
    """The ids of the documents with these numbers (ascending), counted through the files from 0 on."""
    found: dict[int, str] = {}
    first = 0
    for path in files:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                last = first + file.metadata.row_group(group).num_rows
                wanted = numbers[np.searchsorted(numbers, first) : np.searchsorted(numbers, last)]
                if len(wanted):
                    names = file.read_row_group(group, columns=["id"])["id"].take(pa.array(wanted - first))
                    found.update(zip(wanted.tolist(), names.to_pylist(), strict=True))
                first = last
    return found


class Addition:
    """The kept documents of this run, written block by block into a folder that is no segment yet."""

    def __init__(self, folder: Path):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        self.files: list[Path] = []
        self.documents = 0
        self._digests = hashlib.blake2b(digest_size=8), hashlib.blake2b(digest_size=8)

    def add(self, ids: pl.Series, signatures: np.ndarray, kept: np.ndarray, bands: int, rows: int) -> None:
        """Write the documents `kept` (ascending numbers) of a block."""
        lists = {"signature": pa.list_(pa.uint32(), bands * rows), "keys": pa.list_(pa.uint64(), bands)}
        schema = pa.schema({"id": pa.large_string(), **lists})
        path = self.folder / f"{len(self.files):05d}.parquet"
        plain = {"use_dictionary": False, "write_statistics": False, "compression": {"id": "zstd"}}
        with aside(path) as temporary, pq.ParquetWriter(temporary, schema, **plain) as writer:
            for first in range(0, len(kept), ROW_GROUP):
                some = kept[first : first + ROW_GROUP]
                names, values = ids.gather(some), signatures[some]
                columns = [names.to_arrow().cast(pa.large_string())]
                for matrix in (values, band_keys(values, bands, rows)):
                    columns.append(pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1]))
                writer.write_table(pa.table(columns, schema=schema))
                self._digests[0].update("".join(f"{name}\n" for name in names).encode())
                self._digests[1].update(values.tobytes())
        self.files.append(path)
        self.documents += len(kept)

    def facts(self) -> dict[str, Any]:
        """What is said of the documents in a segment's manifest; the same however they were cut into blocks."""
        return {"documents": self.documents, "digest": "".join(one.hexdigest() for one in self._digests)}

    def discard(self) -> None:
        """Remove what is not in place."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Index:
    """An index as one run sees it: the segments it is compared with, and the place of its own.

    A run is known by the `sources` it reads. Run again, killed or changed, it is compared with the segments before its
    own and takes the place of that one.
    """

    def __init__(self, folder: Path, sources: dict[str, str], keys: dict[str, Any], where: str):
        """Raises ValueError, naming the key `where`, for segments whose signatures were made with other `keys`."""
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{where}: {folder} is a file. Name a folder.")
        self.folder, self.sources, self.keys = folder, sources, keys
        found = segments(folder)
        for segment in found:
            for key, value in keys.items():
                if segment.facts.get(key) != value:
                    raise ValueError(
                        f"{where}: {segment.folder} was made with {key}: {segment.facts.get(key)} and this stage has "
                        f"{key}: {value}, so their signatures cannot be compared. Use the same, or name another index."
                    )
        own = [one.number for one in found if one.facts["sources"] == sources]
        self.number = own[0] if own else max((one.number for one in found), default=0) + 1
        self.before = [one for one in found if one.number < self.number]
        self._present = bool(own)
        self._ends = np.cumsum([one.facts["documents"] for one in self.before])

    def addition(self) -> Addition:
        """Where this run writes what it keeps."""
        return Addition(self.folder / f".{identity(self.sources)}.tmp")

    def holds(self, number: int, name: str) -> bool:
        """Whether document `number`, which is called `name`, comes from a file that this run reads too."""
        source = name.split("/", 1)[0]
        segment = np.searchsorted(self._ends, number, side="right")
        return source in self.sources and self.before[segment].facts["sources"].get(source) == self.sources[source]

    def put_in_place(self, addition: Addition) -> None:
        """Make `addition` this run's segment, in place of the one that it added before.

        Nothing changes where that holds the same documents. Raises ValueError where another run took the number, or
        where later runs were compared with other documents than these.
        """
        facts = {"sources": self.sources, **self.keys, **addition.facts()}
        present = segments(self.folder)
        old = next((one for one in present if one.number == self.number), None)
        if old and old.facts == facts:
            return
        if old and old.facts["sources"] != self.sources:
            raise ValueError(
                f"{old.folder}: was added by another run while this one was deciding, so the two were not compared. "
                "Run this one again."
            )
        if old and old != present[-1]:
            later = ", ".join(str(one.folder) for one in present[present.index(old) + 1 :])
            raise ValueError(
                f"{old.folder}: was made from the same sources and holds other documents than this run keeps now, and "
                f"{later} came later, compared with those. Delete the later ones, run this again and then their "
                "crawls; or name another index."
            )
        write_json(addition.folder / "segment.json", facts)
        if old:
            shutil.rmtree(old.folder)
        addition.folder.rename(self.folder / f"{self.number:05d}")

    def remember(self, stage: Path) -> None:
        """Write into the stage's folder that its documents are in this index."""
        write_json(stage / "indexed.json", self._memory())

    def refuse_lost(self, work: Path) -> None:
        """Raise ValueError where a finished stage in `work` added its documents and they are not here any more.

        Also where it added documents of earlier versions of the same files, which are still here.
        """
        held = {identity(one.facts["sources"]): one for one in segments(self.folder)}
        for path in sorted(work.glob("*/indexed.json")):
            was = read_json(path)["sources"]
            changed = sorted(name for name in was if self.sources.get(name, was[name]) != was[name])
            if changed and not self._present and identity(was) in held and read_json(path)["index"] == str(self.folder):
                raise ValueError(
                    f"{held[identity(was)].folder}: holds what this run kept of an earlier {changed[0]}, of which the "
                    "new one would be near-duplicates. Delete that folder and the later ones and run their crawls "
                    "again, or name another index."
                )
        for path in sorted([] if self._present else work.glob("*/indexed.json")):
            if (path.parent / "complete.json").exists() and read_json(path) == self._memory():
                raise ValueError(
                    f"{self.folder}: does not hold what this run added to it, so later crawls would not be compared "
                    f"with it. Restore the folder {self.number:05d}, or delete {work} to run the curation again."
                )

    def _memory(self) -> dict[str, Any]:
        before = [one.facts for one in self.before]
        return {"index": str(self.folder), "sources": self.sources, **self.keys, "before": before}
