"""From the globs of a pipeline file to sources: one file each, named by its stem."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import fsspec

from pipelines.config import Pipeline

POOLS = ("domain", "replay")
SAMPLE = "sample:"
FORMATS = (".jsonl", ".parquet", ".txt")
COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz")


@dataclass(frozen=True)
class Source:
    """One file of one pool."""

    pool: str
    name: str
    root: str
    """Folder or URL that `path` is under."""
    path: str
    """Path under `root`; together with the record's number it is a document's origin."""
    bytes: int
    """Size of the file as it lies there."""
    identity: str
    """16 hex digits that stand for the file's bytes."""

    @property
    def format(self) -> str:
        """Suffix without compression: .jsonl, .parquet or .txt."""
        return _suffix(self.path)


def resolve(pipeline: Pipeline, where: str) -> list[Source]:
    """Every source, in global order: domain before replay, then by name.

    Raises ValueError for a glob that matches nothing, an unknown format, an empty file, a name used twice.
    """
    sources = []
    for pool in POOLS:
        for root, path in _files(pipeline, pool, getattr(pipeline, pool), where):
            sources.append(_source(pool, root, path, where))
    sources.sort(key=lambda source: (POOLS.index(source.pool), source.name))
    seen: dict[str, Source] = {}
    for source in sources:
        if other := seen.get(source.name):
            raise ValueError(
                f"{where}: {source.pool}: {source.path} and {other.pool}: {other.path} are both called "
                f"{source.name!r}, so their documents' ids would collide. Rename one file, or list it only once."
            )
        seen[source.name] = source
    return sources


def benchmark_files(pipeline: Pipeline, where: str) -> list[str]:
    """Paths of the benchmark items, sorted. Raises ValueError for a glob that matches nothing."""
    return sorted(f"{root}/{path}" for root, path in _files(pipeline, "benchmarks", pipeline.benchmarks, where))


def _files(pipeline: Pipeline, key: str, globs: list[str], where: str) -> list[tuple[str, str]]:
    found = []
    for index, pattern in enumerate(globs):
        root = _root("sample" if pattern.startswith(SAMPLE) else pipeline.data_root)
        pattern = pattern.removeprefix(SAMPLE)
        filesystem, base = fsspec.url_to_fs(root)
        paths = sorted(path for path in filesystem.glob(f"{base}/{pattern}") if filesystem.isfile(path))
        if not paths:
            raise ValueError(
                f"{where}: {key}[{index}]: {pattern!r} matches no file under {root!r}, so the pool would miss it. "
                f"Correct the glob or data_root."
            )
        found += [
            (root, str(Path(path).relative_to(base)) if "://" not in root else path[len(base) + 1 :]) for path in paths
        ]
    return found


def _root(data_root: str) -> str:
    if data_root == "sample":
        from curate.sample import make_sample  # the generator is only loaded where it is used

        folder = Path("sample")
        make_sample(folder, seed=0)
        return str(folder)
    return data_root.rstrip("/")


def _source(pool: str, root: str, path: str, where: str) -> Source:
    if _suffix(path) not in FORMATS:
        raise ValueError(
            f"{where}: {pool}: {path} is of no known format. Known: {', '.join(FORMATS)}, "
            f"each also compressed ({', '.join(COMPRESSIONS)})."
        )
    filesystem, base = fsspec.url_to_fs(root)
    size = filesystem.size(f"{base}/{path}")
    if size == 0:
        raise ValueError(f"{where}: {pool}: {path} is empty (0 bytes), so it gives no document. Remove or refill it.")
    with filesystem.open(f"{base}/{path}", "rb") as file:
        digest = hashlib.blake2b(digest_size=8)
        while block := file.read(1 << 22):
            digest.update(block)
    return Source(pool, _stem(path), root, path, size, digest.hexdigest())


def _bare(path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    return name


def _suffix(path: str) -> str:
    return Path(_bare(path)).suffix


def _stem(path: str) -> str:
    return Path(_bare(path)).stem
