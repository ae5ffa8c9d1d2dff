"""One source after the other from documents/ to packed/, each packed at most once for the same input.

A source is the task of a datatrove pass (curate.executors), so sources are packed side by side and one source never is.

Memory of a task: one file of documents with its ids while encoding, then one shard, and 60 to 80 bytes a document. The
ids of a source wait in a file beside its shards, which is removed at the end: packing takes twice the shards' space on
disk.
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from datatrove.pipeline.base import PipelineStep

from curate.executors import execute
from curate.files import file_identity, identity, read_json, write_json
from curate.progress import Tally, progress
from mix.config import MixConfig
from mix.pack import by_document, pack
from mix.plan import ShardFile, Source
from mix.shards import Header, padding_id, write_documents, write_shards
from mix.token_files import Lot, TokenFiles
from tokenization.encode import Encoder

VERSION = 2
"""Raised when encoding or packing gives other bytes than before: packed sources are then packed again."""
SCRATCH = ".ids.tmp"
MARKER = "packed.json"
"""Written last, so a source folder without it is unfinished."""


@dataclass(frozen=True)
class Documents:
    """A source's documents, as curation left them, or those of them that are packed apart."""

    pool: str
    source: str
    files: list[Path]
    documents: int
    rows: tuple[np.ndarray, ...] | None = None
    """Of each file the rows that are meant (uint32, rising), where a source is packed in two (mix.best); None: all."""

    def read(self, *columns: str) -> Iterator[tuple[Path, pl.DataFrame]]:
        """Each file with columns of its documents. Raises ValueError as `read_documents` does."""
        for number, file in enumerate(self.files):
            documents = read_documents(file, *columns)
            yield file, documents if self.rows is None else documents[self.rows[number]]

    def made_of(self) -> dict[str, object]:
        """What the packed bytes depend on, beside how they are encoded and packed."""
        made_of: dict[str, object] = {"documents": [[file.name, file_identity(file)] for file in self.files]}
        if self.rows is not None:
            made_of["rows"] = [hashlib.blake2b(rows.tobytes(), digest_size=8).hexdigest() for rows in self.rows]
        return made_of

    def ids(self) -> Iterator[pl.Series]:
        """The ids of the documents in order, file by file."""
        for _, documents in self.read("id"):
            yield documents["id"]

    def encoded(self, encoder: Encoder, wanted: np.ndarray | None = None) -> Iterator[Lot]:
        """The documents, or those with the numbers `wanted` (rising), file by file."""
        first = 0
        for file, documents in self.read("id", "text"):
            rows = np.arange(documents.height)
            if wanted is not None:
                rows = wanted[(wanted >= first) & (wanted < first + documents.height)] - first
            first += documents.height
            yield Lot(file, rows, documents["id"].gather(rows), encoder.encode(documents["text"].gather(rows)))


@dataclass(frozen=True)
class Packed:
    """A source's shards."""

    pool: str
    plan: Source
    encoded_by: str
    """Which library encoded it and why (tokenization.encode)."""
    was_there: bool
    """True where it was packed before, from the same input."""


def find_documents(folder: Path, pools: tuple[str, ...]) -> list[Documents]:
    """Every source of a run's documents/, pools in the order given, sources by name."""
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: there are no documents to pack. Run curation first, e.g. python -m curate.run "
            "pipelines/clinical.yaml"
        )
    for other in sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in pools):
        raise ValueError(f"{other}: is not a pool, so it is not clear what share it has. Pools are {', '.join(pools)}.")
    found = []
    for pool in pools:
        for path in sorted((folder / pool).iterdir()) if (folder / pool).is_dir() else []:
            if path.is_dir():
                files = sorted(path.glob("*.parquet"))
                found.append(Documents(pool, path.name, files, sum(_count(file) for file in files)))
    return found


def remove_others(run: Path, wanted: Sequence[Documents | TokenFiles]) -> None:
    """Remove whatever lies in packed/ and belongs to no source any more."""
    keep = {run / "packed" / source.pool / source.source for source in wanted}
    pools = {path.parent for path in keep}
    for pool in sorted((run / "packed").iterdir()) if (run / "packed").is_dir() else []:
        if pool not in pools:
            _remove(run, pool)
            continue
        for path in sorted(pool.iterdir()):
            if path not in keep:
                _remove(run, path)


def pack_sources(
    run: Path, sources: Sequence[Documents | TokenFiles], encoder: Encoder, mix: MixConfig
) -> list[Packed]:
    """Pack the sources that are not packed yet, under `mix.executor`; returns all in the order given.

    Raises ValueError where a task failed, naming its log.
    """
    wanted = [(source, _identity(source, encoder, mix)) for source in sources]
    found = [_read(run, *one) for one in wanted]
    if todo := [one for one, there in zip(wanted, found, strict=True) if not there]:
        logs = run / "work" / "logs" / "pack"
        shutil.rmtree(logs, ignore_errors=True)  # packed.json says what is done, not an earlier build's markers
        tally = Tally(logs / "progress")
        step = PackSources(run, todo, encoder, mix, tally)
        with progress("packing", tally.folder, sum(source.documents for source, _ in todo)):
            execute(mix.executor, [step], min(len(todo), mix.executor.tasks), logs, ["mix.source"])
    return [there or _just_packed(run, *one) for one, there in zip(wanted, found, strict=True)]


def _just_packed(run: Path, source: Documents | TokenFiles, wanted: str) -> Packed:
    packed = _read(run, source, wanted)
    assert packed, f"{source.pool}/{source.source}: its task was done, but it is not packed"
    return replace(packed, was_there=False)


class PackSources(PipelineStep):
    """Encodes and packs the sources of this task; each comes with the identity that its marker is to have."""

    type, name = "MIX", "pack"

    def __init__(
        self,
        run: Path,
        sources: list[tuple[Documents | TokenFiles, str]],
        encoder: Encoder,
        mix: MixConfig,
        tally: Tally,
    ):
        super().__init__()
        self.folder, self.sources, self.mix, self.tally = run, sources, mix, tally
        self.tokenizer = encoder.folder, mix.encode_check, encoder.identity

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        for source, wanted in self.sources[rank::world_size]:
            with self.track_time():
                if not _read(self.folder, source, wanted):
                    _pack(self.folder, source, _encoder(*self.tokenizer), self.mix, wanted)
            self.tally.add(rank, source.documents, sum(file.stat().st_size for file in source.files), source.documents)
        yield from ()


@cache
def _encoder(folder: Path, check: float, identity: str) -> Encoder:
    """Opened once a process. Raises ValueError where the tokenizer in `folder` is another than the command saw."""
    encoder = Encoder(folder, check)
    if encoder.identity != identity:
        raise ValueError(
            f"{folder}: the tokenizer here is not the one that mix.build read, so the ids would differ. The run folder "
            "must be on a file system that all nodes share."
        )
    return encoder


def _identity(source: Documents | TokenFiles, encoder: Encoder, mix: MixConfig) -> str:
    """Everything the packed bytes depend on."""
    packed = {"version": VERSION, "tokenizer": encoder.identity, "seq_len": mix.seq_len, "packing": mix.packing}
    return identity(packed | source.made_of())


def _read(run: Path, source: Documents | TokenFiles, wanted: str) -> Packed | None:
    """The source as it was packed before, or None where it was not, from this input, or is not all there."""
    folder = run / "packed" / source.pool / source.source
    try:
        marker = read_json(folder / MARKER)
    except ValueError:
        return None
    try:
        if marker["identity"] != wanted:
            return None
        for name, size in marker["bytes"].items():
            if not (folder / name).is_file() or (folder / name).stat().st_size != size:
                return None
        values = marker["source"]
        shards = tuple(ShardFile(**shard) for shard in values["shards"])
        return Packed(source.pool, Source(**{**values, "shards": shards}), marker["encoded_by"], True)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder / MARKER}: is not as mix.build wrote it ({type(error).__name__}: {error}), so it does not vouch "
            f"for the shards beside it. Delete {folder} and run mix.build again."
        ) from None


def _pack(run: Path, source: Documents | TokenFiles, encoder: Encoder, mix: MixConfig, wanted: str) -> None:
    folder = run / "packed" / source.pool / source.source
    _remove(run, folder)
    folder.mkdir(parents=True)
    lengths, encoded_by = _encode(source, encoder, folder)
    packing = pack(lengths, mix.seq_len, mix.packing)
    *_, wrong = by_document(packing.documents, packing.starts, packing.lengths, lengths)
    assert wrong < 0, f"{folder}: document {wrong} does not have every token once"
    header = Header(encoder.identity, encoder.vocabulary_size, mix.seq_len, source.pool, source.source, mix.packing)
    padding = padding_id(encoder.bos, encoder.eos)
    tokens = int(lengths.sum())
    ids = np.memmap(folder / SCRATCH, encoder.dtype, "c") if tokens else np.empty(0, encoder.dtype)
    written = write_shards(folder, header, packing, ids, lengths, padding)
    (folder / SCRATCH).unlink()
    shards = [
        ShardFile(f"{source.pool}/{source.source}/{path.name}", rows, file_identity(path)) for path, rows in written
    ]
    plan = Source(source.source, packing.rows, tokens, len(lengths), packing.cut, tuple(shards))
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    marker = {"identity": wanted, "source": asdict(plan), "bytes": sizes, "encoded_by": encoded_by}
    write_json(folder / MARKER, marker)


def _encode(source: Documents | TokenFiles, encoder: Encoder, folder: Path) -> tuple[np.ndarray, str]:
    """Tokens per document (int64 [documents]), and what encoded them; files by name, rows as they stand.

    Writes documents.parquet, and all ids one after the other to SCRATCH.
    """
    lengths, by = [np.empty(0, np.int64)], []
    with write_documents(folder) as add, open(folder / SCRATCH, "wb") as scratch:
        for lot in source.encoded(encoder):
            encoded = lot.encoded
            encoded.ids.tofile(scratch)
            add(lot.ids, encoded.lengths)
            lengths.append(encoded.lengths)
            by.append(encoded.path)
    return np.concatenate(lengths), "; ".join(dict.fromkeys(by)) or "nothing"


def read_documents(file: Path, *columns: str) -> pl.DataFrame:
    """Columns of a file of documents/. Raises ValueError where it is damaged or a value is missing."""
    try:
        documents = pl.read_parquet(file, columns=list(columns))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{file}: cannot be read as documents ({error}). Delete it and run curation again.") from None
    for column in columns:
        if documents[column].null_count():
            raise ValueError(f"{file}: {column}: is missing in a row, which curation never writes. Run curation again.")
    return documents


def _count(file: Path) -> int:
    try:
        return int(pl.scan_parquet(file).select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{file}: cannot be read as documents ({error}). Delete it and run curation again.") from None


def _remove(run: Path, path: Path) -> None:
    """Remove a folder or file under packed/, what vouches for it first: the plan that names it, then its marker."""
    if not path.exists():
        return
    assert run / "packed" in path.parents
    (run / "mixture.json").unlink(missing_ok=True)
    if not path.is_dir():
        path.unlink()
        return
    for marker in sorted(path.rglob(MARKER)):
        marker.unlink()
    shutil.rmtree(path)
