"""How a run lies at a URL: files under names that no other content has, and one listing that makes them count.

<url>/run.json                     the listing: {files: {name: {bytes, blake2b}}, identity}
<url>/<folder>/<blake2b>-<name>    each file
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, BinaryIO

from curate.files import aside, identity, write_json

LISTING = "run.json"
REPLACED = ("manifest.json", "mixture.json", "tokenizer", "documents", "held_out", "removed", "edited")
"""Pieces of a run that a fetch makes equal to what is published."""
ADDED = ("train", "eval", "report.html")
"""Pieces of which a fetch brings only the files that are not there: a machine that trains has newer ones."""
PIECES = ("pipeline.yaml", *REPLACED, "packed", *ADDED)


def object_name(name: str, entry: dict[str, Any]) -> str:
    """Path under the URL of the file `name` with this digest.

    >>> object_name("documents/domain/notes/00000.parquet", {"blake2b": "3f1c"})
    'documents/domain/notes/3f1c-00000.parquet'
    """
    parent, slash, last = name.rpartition("/")
    return f"{parent}{slash}{entry['blake2b']}-{last}"


def read(store: Any, root: str, url: str) -> dict[str, Any] | None:
    """Name -> bytes and digest of the files published there, None where nothing is. Raises ValueError for damage."""
    try:
        text = store.cat_file(f"{root}/{LISTING}")
    except FileNotFoundError:
        return None
    try:
        found = json.loads(text)
        files, wanted = found["files"], found["identity"]
        if wanted != identity(files):
            raise ValueError("it has other values than were written")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{url}/{LISTING}: is damaged ({error}). Publish the run again.") from None
    return checked(files, f"{url}/{LISTING}")


def checked(files: Any, where: str | Path) -> dict[str, Any]:
    """A listing's files. Raises ValueError where one is not of a run, or has no size and digest."""
    for name, entry in files.items() if isinstance(files, dict) else [("files", None)]:
        told = entry if isinstance(entry, dict) else {}
        if not isinstance(told.get("bytes"), int) or not re.fullmatch(r"[0-9a-f]{32}", str(told.get("blake2b"))):
            raise ValueError(
                f"{where}: {name}: has no size and digest, so it cannot be checked. Publish the run again."
            )
        if name.split("/")[0] not in PIECES or ".." in name.split("/"):
            raise ValueError(f"{where}: {name!r} is no file of a run, so it is not opened. Do not trust this listing.")
    if "pipeline.yaml" not in files:
        raise ValueError(f"{where}: names no pipeline.yaml, so it is no run. Publish the run again.")
    return dict(files)


def write(store: Any, root: str, files: dict[str, Any]) -> None:
    """Make files that are there (name -> bytes and digest) the published run."""
    written = {"files": dict(sorted(files.items())), "identity": identity(files)}
    if _is_local(store):
        write_json(Path(root) / LISTING, written)
    else:  # one request, which a store does whole or not at all
        store.pipe_file(f"{root}/{LISTING}", json.dumps(written, indent=1).encode())


def upload(store: Any, root: str, name: str, entry: dict[str, Any], path: Path) -> None:
    """Copy a file and read the copy back, unless a whole one is there."""
    target = f"{root}/{object_name(name, entry)}"
    if store.exists(target) and _measure_there(store, target) == entry:
        return
    if _is_local(store):
        with aside(target) as temporary:
            store.put_file(str(path), str(temporary))
    else:
        store.put_file(str(path), target)
    if _measure_there(store, target) != entry:
        raise ValueError(
            f"{target}: does not have the bytes of {path}: that changed on the way, or the storage damaged it. What "
            "was published before still counts. Publish again when no command writes to the run."
        )


def download(store: Any, root: str, name: str, entry: dict[str, Any], path: Path) -> None:
    """Fetch a file whole; one that has other bytes than were published never stands under its name."""
    source = f"{root}/{object_name(name, entry)}"
    with aside(path) as temporary:
        try:
            store.get_file(source, str(temporary))
        except FileNotFoundError:
            raise ValueError(f"{source}: is gone, though {LISTING} names it. Publish the run again.") from None
        if measure_file(temporary) != entry:
            raise ValueError(
                f"{source}: has other bytes than were published, so it is not used. Publish the run again."
            )


def measure_file(path: Path) -> dict[str, Any]:
    """{"bytes", "blake2b"} of a file of this machine."""
    with open(path, "rb", buffering=0) as file:
        return _measure(file)


def _measure_there(store: Any, path: str) -> dict[str, Any]:
    with store.open(path, "rb") as file:
        return _measure(file)


def _measure(file: BinaryIO) -> dict[str, Any]:
    """Bytes, and BLAKE2b of 128 bits."""
    digest, size = hashlib.blake2b(digest_size=16), 0
    while block := file.read(1 << 20):
        digest.update(block)
        size += len(block)
    return {"bytes": size, "blake2b": digest.hexdigest()}


def _is_local(store: Any) -> bool:
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(store, LocalFileSystem)
