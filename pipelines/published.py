"""Publishes a run to a URL, and makes a folder of this machine from a published one.

Each file is read back and compared before the listing (pipelines.listing) names it, and nothing that a listing names is
overwritten: whenever an upload is killed, who reads sees the run as it was published before, or as it is published now.
Files that no listing names (of a killed upload, or of earlier versions) stay; a new try takes up those that are whole.
Two machines must not publish to one URL at the same time: of two listings the later one counts.

A folder made from a published run has `published.json`, the listing and its URL, and everything but the shards, which
lie in the cache (pipelines.shard_cache): packed/ is a link to them. Documents, ledger and edits, and what training and
evaluation made, come with the first command that reads them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curate.files import identity, inside, read_object, write_json
from pipelines import listing, shard_cache
from pipelines.config import Pipeline
from pipelines.listing import ADDED, LISTING, PIECES, REPLACED, measure_file
from pipelines.secrets import refuse
from pipelines.shard_cache import lock
from pipelines.storage import at_once, connect, reached

COPY = "published.json"
LAST = "pipeline.yaml"
"""Fetched last: without it a folder is no run."""
LEFT = ("checkpoints", "initial")
"""Folders of a training run that are not published: train.archive keeps checkpoints, `initial` is made again."""
TEXT = ("documents", "removed", "edited")
"""Pieces that most runs need for neither training nor scores."""
WITHOUT_TEXT = ("train.launch", "train.plan", "train.pilot", "train.export", "mix.export", "eval.run")
"""Commands that read TEXT only where tasks are scored (eval.contamination) or `tokenizer.new_rows` is focus."""
WITHOUT_SHARDS = ("train.plan", "train.export", "eval.run", "eval.report", "eval.cards", "pipelines.publish")
BUILDERS = ("curate.run", "mix.build")
"""Commands that write what a fetched folder only has a copy of."""
KEY = "storage.publish"


def publish_finished(pipeline: Pipeline) -> None:
    """Publish a run where `storage.publish` says so, and print what came of it."""
    url = pipeline.storage.publish.rstrip("/")
    if url:
        new, size, others = publish(pipeline.folder, url)
        told = f"{new:,} new files, {size / 1e6:,.1f} MB" if new else "nothing new"
        print(f"published to {url}: {told}; {others:,} files were there")


def publish(folder: Path, url: str) -> tuple[int, int, int]:
    """Copy what is finished to a URL, then the listing. Returns files and bytes copied, and files that were there.

    A piece that is in the folder takes the place of the published one; the others stay as they are published. Raises
    ValueError where nothing is finished, the place cannot be written to, or the folder is a copy of another place.
    """
    refuse({KEY: url}, str(folder))
    pieces = _finished(folder)
    origin = _copied(folder)["url"] if (folder / COPY).exists() else url
    if origin != url:
        raise ValueError(
            f"{KEY}: {folder} is a copy of a part of {origin} and can only be published there, not to {url}."
        )
    if not ((folder / COPY).exists() or {LAST, "manifest.json"} <= pieces.keys()):
        raise ValueError(f"{folder}: has no {LAST} or no manifest.json, so no run is finished there. Run curate.run.")
    store, root = connect(url, KEY)
    names = [str(path.relative_to(folder)) for files in pieces.values() for path in files]
    paths = {name: inside(folder, name, str(folder)) for name in names}
    measured = dict(zip(paths, at_once(measure_file, paths.values()), strict=True))
    with reached(url, KEY):
        before = listing.read(store, root, url) or {}
        files = {name: entry for name, entry in before.items() if _piece(name) not in pieces} | measured
        listing.checked(files, url)
        new = [name for name, entry in measured.items() if before.get(name) != entry]
        at_once(lambda name: listing.upload(store, root, name, measured[name], paths[name]), new)
        if files != before:
            listing.write(store, root, files)
    return len(new), sum(measured[name]["bytes"] for name in new), len(files) - len(new)


def fetch(url: str, folder: Path) -> None:
    """Make `folder` a copy of a published run, up to its mixture; `use` brings what else a command reads.

    Processes that ask at the same time wait for the first. Raises ValueError where no run is published there, a file
    does not have the bytes that were published, or `folder` holds something else.
    """
    refuse({"run": url}, str(folder))
    store, root = connect(url, "run")
    with reached(url, "run"):
        files = listing.read(store, root, url)
    if files is None:
        raise ValueError(
            f"{url}: there is no {LISTING}, so no run is published there, or its first upload was not finished. "
            f"Publish it: python -m pipelines.publish RUN --publish {url}"
        )
    later = (LAST, "packed", *TEXT, *ADDED)
    wanted = {name: entry for name, entry in files.items() if name.split("/")[0] not in later}
    with _one_at_a_time(folder):
        _check_folder(folder, url)
        before = _copied(folder)["files"] if (folder / COPY).exists() else {}
        old = [name for name in before if name not in files and name.split("/")[0] in REPLACED]
        if old or _missing(folder, wanted):
            (folder / LAST).unlink(missing_ok=True)
        for name in old:
            inside(folder, name, COPY).unlink(missing_ok=True)
        write_json(folder / COPY, {"url": url, "files": files})
        _bring(url, folder, wanted)
        _bring(url, folder, {LAST: files[LAST]})


def check_command(command: str, place: str | Path) -> None:
    """Raises ValueError for a command that would write what a fetched folder has a copy of."""
    if command in BUILDERS:
        raise ValueError(
            f"{place}: {command} builds a run in a folder of this machine, and this is a published one. Run it on a "
            "pipeline file, or in the folder that was published; storage.publish says where the result goes."
        )


def use(pipeline: Pipeline, command: str) -> None:
    """Bring what `command` reads of a fetched run, shards into the cache, and hold those until this process ends.

    Raises ValueError for a command that would write what the folder has a copy of, and where the shards have no room.
    """
    folder = pipeline.folder
    check_command(command, folder)
    copy = _copied(folder)
    files = copy["files"]
    scores = pipeline.eval.domain or pipeline.eval.general
    text = TEXT if scores or pipeline.tokenizer.new_rows == "focus" or command not in WITHOUT_TEXT else ()
    made = ADDED if command.startswith("eval.") else ()
    wanted = {*text, *made, f"train/{pipeline.train.run}"}
    with _one_at_a_time(folder):
        read = {name: one for name, one in files.items() if wanted & {_piece(name), name.split("/")[0]}}
        _bring(copy["url"], folder, read)
    packed = {name: one for name, one in files.items() if _piece(name) == "packed"}
    if packed and command not in WITHOUT_SHARDS:
        with _one_at_a_time(folder):
            _link(folder / "packed", _held(pipeline, copy["url"], packed) / "packed")


def _held(pipeline: Pipeline, url: str, packed: dict[str, Any]) -> Path:
    """The folder of the cache with a mixture's packed files."""
    store, root = connect(url, "run")

    def download(name: str, path: Path) -> None:
        with reached(url, "run"):
            listing.download(store, root, name, packed[name], path)

    cache, sizes = Path(pipeline.storage.cache).expanduser(), {name: entry["bytes"] for name, entry in packed.items()}
    return shard_cache.hold(cache.absolute(), pipeline.storage.cache_gib, identity(packed), sizes, download)


def _bring(url: str, folder: Path, wanted: dict[str, Any]) -> None:
    """Fetch those files that are not in a folder as they are published."""
    store, root = connect(url, "run")
    with reached(url, "run"):
        missing = _missing(folder, wanted)
        at_once(lambda name: listing.download(store, root, name, wanted[name], folder / name), missing)


def _missing(folder: Path, wanted: dict[str, Any]) -> list[str]:
    for name in wanted:
        inside(folder, name, LISTING)
    there = at_once(lambda name: _is_there(folder, name, wanted[name]), wanted)
    return [name for name, whole in zip(wanted, there, strict=True) if not whole]


def _is_there(folder: Path, name: str, entry: dict[str, Any]) -> bool:
    path = folder / name
    return path.is_file() and (name.split("/")[0] in ADDED or measure_file(path) == entry)


def _finished(folder: Path) -> dict[str, list[Path]]:
    """Piece -> its files, of what is finished in a run folder; a training run is a piece of its own.

    Of a fetched folder only what may have been made there: it may have only some of the other files.
    """
    found: dict[str, list[Path]] = {}
    for piece in ADDED if (folder / COPY).exists() else PIECES:
        path = folder / piece
        if piece == "train":
            runs = [run for run in sorted(path.glob("*")) if (run / "export").is_dir()]
            found |= {f"train/{run.name}": _files(run, LEFT) for run in runs}
        elif piece == "packed" and (path.is_symlink() or not (folder / "mixture.json").exists()):
            continue
        elif path.is_file():
            found[piece] = [path]
        elif path.is_dir():
            found[piece] = _files(path)
    return found


def _files(folder: Path, left: tuple[str, ...] = ()) -> list[Path]:
    """Files of a folder, without hidden ones (being written, locks) and the folders `left` in it."""
    found = (path.relative_to(folder).parts for path in folder.rglob("*") if path.is_file())
    return sorted(
        folder.joinpath(*parts)
        for parts in found
        if parts[0] not in left and not any(part.startswith(".") for part in parts)
    )


def _piece(name: str) -> str:
    parts = name.split("/")
    return "/".join(parts[:2]) if parts[0] == "train" else parts[0]


def _copied(folder: Path) -> dict[str, Any]:
    """What a folder is a copy of: {url, files}. Raises ValueError where that is damaged."""
    copy = read_object(folder / COPY, url=str, files=dict)
    return copy | {"files": listing.checked(copy["files"], folder / COPY)}


def _check_folder(folder: Path, url: str) -> None:
    """Raises ValueError where a folder is not a copy of this run, and not empty."""
    if (folder / COPY).exists():
        other = _copied(folder)["url"]
        if other != url:
            raise ValueError(f"{folder}: is a copy of {other}, not of {url}. Name another folder with --output.")
    elif any(not path.name.startswith(".") for path in folder.iterdir()):
        raise ValueError(
            f"{folder}: is there and was not fetched from {url}, so its files would be overwritten. Work on it as it "
            f"is ({folder} in place of the URL), or name another folder with --output."
        )


def _link(path: Path, target: Path) -> None:
    """Make `path` a link to `target`, whatever link it was before."""
    if path.is_symlink() and path.readlink() == target:
        return
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait for other processes that fetch into this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".fetch.lock", "w") as file:
        lock(file)
        yield
