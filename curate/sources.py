"""From the globs of a pipeline file to sources: one file each, named by its stem, or the HTML pages of one folder."""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import fsspec

from curate.config import Files, FromModel, Generated
from pipelines.config import Pipeline
from pipelines.storage import connect, is_url, reached

POOLS = ("domain", "replay")
SAMPLE = "sample:"
PAGE_FORMATS = (".html", ".htm")
"""A file is a page; all pages of a folder that the globs match are one source."""
HTML_FORMATS = (*PAGE_FORMATS, ".warc")
"""Formats whose records are HTML: the stage `extract` turns them into text."""
FORMATS = (".jsonl", ".parquet", ".txt", ".wet", *HTML_FORMATS)
RECORD_FORMATS = (".jsonl", ".parquet")
"""Formats whose records have keys."""
LONGEST_NAME = 150
"""Bytes; files of a run have a source's name in theirs."""
COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz")
VERSIONS = ("ETag", "blob_id", "md5Hash", "etag", "content_md5")
"""What object stores and hubs say of a file that changes with its bytes; a file without is read to be known."""


@dataclass(frozen=True)
class Source:
    """One file of one pool, or the HTML pages of one folder."""

    pool: str
    name: str
    root: str
    """Folder or URL that `path` is under."""
    path: str
    """Path under `root`; together with the record's number it is a document's origin. For pages `<folder>/*.html`."""
    bytes: int
    """Size of the file, or of all pages, as it lies there."""
    identity: str
    """16 hex digits that stand for the bytes, and for the names of pages."""
    pages: tuple[str, ...] = ()
    """Paths under `root` of the HTML pages, sorted; empty where the source is one file."""
    reader: str = ""
    """Dotted name of the datatrove reader asked for; empty takes the one for the format."""
    arguments: str = "{}"
    """The reader's arguments, as JSON."""
    reformat: str = ""
    """curate.config.Reformat as JSON; empty where records have a text."""
    generated: Generated | None = None
    """How the base model writes the file (curate/generated.py), which need not be there yet."""

    @property
    def format(self) -> str:
        """Suffix without compression, one of FORMATS unless `reader` is given."""
        return _suffix(self.path)


def resolve(pipeline: Pipeline, where: str) -> list[Source]:
    """Every source, in global order: domain before replay, then by name.

    Raises ValueError for a glob that matches nothing, an unknown format, an empty file, a name used twice.
    """
    sources = []
    for pool in POOLS:
        entries: list[str | Files | FromModel] = getattr(pipeline, pool)
        files = _files(pipeline, pool, [entry for entry in entries if isinstance(entry, str)], where)
        sources += [_source(pool, root, path, where) for root, path in files if _suffix(path) not in PAGE_FORMATS]
        sources += _page_sources(pool, [file for file in files if _suffix(file[1]) in PAGE_FORMATS])
        for entry in entries:
            if isinstance(entry, Files):
                from curate.datatrove_step import check_name

                if entry.reader:
                    check_name(entry.reader, pipeline.allows_imports, f"{where}: {pool}")
                chosen = _files(pipeline, pool, [entry.files], where)
                sources += [_source(pool, root, path, where, entry) for root, path in chosen]
            elif isinstance(entry, FromModel):
                from curate.generated import source_of

                sources.append(source_of(pipeline, entry.generated, f"{where}: {pool}"))
    for source in sources:
        if set(source.name) & set("*?[]\n") or len(source.name.encode()) > LONGEST_NAME:
            raise ValueError(
                f"{where}: {source.pool}: {source.path}: a source's name is that of its file; it must not have line "
                f"ends or one of * ? [ ], which stand for other names, nor more than {LONGEST_NAME} bytes. Rename it."
            )
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
        told = f"{where}: {key}[{index}]"
        if is_url(pattern):
            root, pattern = _apart(pattern, told)
        else:
            root = _root("sample" if pattern.startswith(SAMPLE) else pipeline.data_root)
            pattern = pattern.removeprefix(SAMPLE)
        filesystem, base = connect(root, told)
        with reached(root, told):
            listed = filesystem.glob(f"{base}/{pattern}", detail=True)
            paths = sorted(path for path, about in listed.items() if about["type"] == "file" or filesystem.isfile(path))
        if not paths:
            raise ValueError(
                f"{told}: {pattern!r} matches no file under {root!r}, so the pool would miss it. "
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


def _apart(url: str, where: str) -> tuple[str, str]:
    """The folder of a URL that is a glob, and the glob below it. Raises ValueError where it names no folder."""
    plain = re.split(r"[*?\[]", url)[0]
    root = plain[: plain.rfind("/")]
    if root.endswith("/") or not is_url(root):
        raise ValueError(
            f"{where}: {url!r} names no bucket, so its files cannot be found. Name one: s3://bucket/*.jsonl."
        )
    return root, url[len(root) + 1 :]


def _source(pool: str, root: str, path: str, where: str, chosen: Files | None = None) -> Source:
    reader = chosen.reader if chosen else ""
    if not reader and _suffix(path) not in FORMATS:
        raise ValueError(
            f"{where}: {pool}: {path} is of no known format. Known: {', '.join(FORMATS)}, "
            f"each but .parquet also compressed ({', '.join(COMPRESSIONS)}). Others need a datatrove reader: "
            "{files: GLOB, reader: datatrove.pipeline.readers.CSVReader}."
        )
    if chosen and not reader and _suffix(path) not in RECORD_FORMATS:
        raise ValueError(
            f"{where}: {pool}: {path} has no records with keys, so reformat cannot make text of them. It takes "
            f"{', '.join(RECORD_FORMATS)}; name a datatrove reader for others."
        )
    if not reader and _suffix(path) == ".parquet" and path.endswith(COMPRESSIONS):
        raise ValueError(
            f"{where}: {pool}: {path} is a Parquet file that was compressed as a whole, so it cannot be read without "
            "being unpacked: a Parquet file is read from its end, and holds its columns compressed. Unpack it."
        )
    digest = hashlib.blake2b(digest_size=8)
    size = _digest(digest, root, path)
    if size == 0:
        raise ValueError(f"{where}: {pool}: {path} is empty (0 bytes), so it gives no document. Remove or refill it.")
    source = Source(pool, _stem(path), root, path, size, digest.hexdigest())
    if not chosen:
        return source
    if chosen.reformat:
        source = replace(source, reformat=chosen.reformat.model_dump_json())
    if not reader:
        return source
    from curate.datatrove_reader import make_reader

    make_reader(reader, root, chosen.arguments, f"{where}: {pool}")
    return replace(source, reader=reader, arguments=json.dumps(chosen.arguments, sort_keys=True))


def _page_sources(pool: str, files: list[tuple[str, str]]) -> list[Source]:
    """One source for the pages of each folder, named by the folder."""
    folders: dict[tuple[str, str], set[str]] = {}
    for root, path in files:
        folders.setdefault((root, path.rpartition("/")[0]), set()).add(path)
    sources = []
    for (root, folder), pages in folders.items():
        digest, size = hashlib.blake2b(digest_size=8), 0
        for page in sorted(pages):
            digest.update(f"{page}\0".encode())
            size += _digest(digest, root, page)
        name = (folder or root.rstrip("/")).rpartition("/")[2]
        path = f"{folder}/*.html" if folder else "*.html"
        sources.append(Source(pool, name, root, path, size, digest.hexdigest(), tuple(sorted(pages))))
    return sources


def _digest(digest: hashlib.blake2b, root: str, path: str) -> int:
    """Take a file's bytes into the digest, or what its storage says changes with them; returns how many there are."""
    filesystem, base = fsspec.url_to_fs(root)
    with reached(root, path):
        about = filesystem.info(f"{base}/{path}")
        version = next((str(about[key]) for key in VERSIONS if about.get(key)), "")
        if version and isinstance(about["size"], int):
            digest.update(f"{version}\0".encode())
            return about["size"]
        size = 0
        with filesystem.open(f"{base}/{path}", "rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
                size += len(block)
    return size


def _bare(path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    return name


def _suffix(path: str) -> str:
    return Path(_bare(path)).suffix


def _stem(path: str) -> str:
    return Path(_bare(path)).stem
