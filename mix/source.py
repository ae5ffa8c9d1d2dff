"""One source after the other from documents/ to packed/, each packed at most once for the same input."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from curate.files import file_identity, identity, read_json, write_json
from mix.pack import pack
from mix.plan import ShardFile, Source
from mix.shards import Header, write_documents, write_shards
from tokenization.encode import Encoder

VERSION = 1
"""Raised when encoding or packing gives other bytes than before: packed sources are then packed again."""
MARKER = "packed.json"
"""Written last, so a source folder without it is unfinished."""


@dataclass(frozen=True)
class Documents:
    """A source's documents, as curation left them."""

    pool: str
    source: str
    files: list[Path]
    documents: int


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


def remove_others(run: Path, wanted: list[Documents]) -> None:
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


def pack_sources(run: Path, sources: list[Documents], encoder: Encoder, seq_len: int) -> list[Packed]:
    """Pack the sources that are not packed yet."""
    packed = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("documents"))
    with Progress(*columns, TimeRemainingColumn(), transient=True) as progress:
        task = progress.add_task("packing", total=sum(source.documents for source in sources))
        for source in sources:
            progress.update(task, description=f"packing {source.pool}/{source.source}")
            wanted = _identity(source, encoder, seq_len)
            found = _read(run / "packed" / source.pool / source.source, source, wanted)
            packed.append(found or _pack(run, source, encoder, seq_len, wanted))
            progress.advance(task, source.documents)
    return packed


def _identity(source: Documents, encoder: Encoder, seq_len: int) -> str:
    """Everything the packed bytes depend on."""
    return identity(
        {
            "version": VERSION,
            "documents": [[file.name, file_identity(file)] for file in source.files],
            "tokenizer": encoder.identity,
            "seq_len": seq_len,
        }
    )


def _read(folder: Path, source: Documents, wanted: str) -> Packed | None:
    """The source as it was packed before, or None where it was not, from this input, or is not all there."""
    try:
        marker = read_json(folder / MARKER)
    except ValueError:
        return None
    if marker["identity"] != wanted:
        return None
    for name, size in marker["bytes"].items():
        if not (folder / name).is_file() or (folder / name).stat().st_size != size:
            return None
    values = marker["source"]
    shards = tuple(ShardFile(**shard) for shard in values["shards"])
    return Packed(source.pool, Source(**{**values, "shards": shards}), marker["encoded_by"], True)


def _pack(run: Path, source: Documents, encoder: Encoder, seq_len: int, wanted: str) -> Packed:
    folder = run / "packed" / source.pool / source.source
    _remove(run, folder)
    folder.mkdir(parents=True)
    identifiers, ids, lengths, encoded_by = _encode(source, encoder)
    packing = pack(lengths, seq_len)
    header = Header(encoder.identity, encoder.vocabulary_size, seq_len, source.pool, source.source)
    padding = encoder.eos if encoder.eos is not None else encoder.bos or 0
    written = write_shards(folder, header, packing, ids, lengths, padding)
    write_documents(folder, identifiers, lengths)
    shards = [
        ShardFile(f"{source.pool}/{source.source}/{path.name}", rows, file_identity(path)) for path, rows in written
    ]
    cut = int((lengths > seq_len).sum())
    plan = Source(source.source, packing.rows, len(ids), len(lengths), cut, tuple(shards))
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    marker = {"identity": wanted, "source": asdict(plan), "bytes": sizes, "encoded_by": encoded_by}
    write_json(folder / MARKER, marker)
    return Packed(source.pool, plan, encoded_by, False)


def _encode(source: Documents, encoder: Encoder) -> tuple[pl.Series, np.ndarray, np.ndarray, str]:
    """Document ids, token ids, tokens per document, and what encoded them; files by name, rows as they stand."""
    identifiers, ids, lengths, by = [], [], [], []
    for file in source.files:
        documents = _documents(file)
        encoded = encoder.encode(documents["text"])
        identifiers.append(documents["id"])
        ids.append(encoded.ids)
        lengths.append(encoded.lengths)
        by.append(encoded.path)
    if not ids:
        return pl.Series("id", [], pl.String), np.empty(0, encoder.dtype), np.empty(0, np.int64), "nothing"
    return pl.concat(identifiers), np.concatenate(ids), np.concatenate(lengths), "; ".join(dict.fromkeys(by))


def _documents(file: Path) -> pl.DataFrame:
    try:
        documents = pl.read_parquet(file, columns=["id", "text"])
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{file}: cannot be read as documents ({error}). Delete it and run curation again.") from None
    if documents["text"].null_count():
        raise ValueError(f"{file}: text: has rows without text, which curation never writes. Run curation again.")
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
