"""Files that appear whole or not at all, and hashes that do not change between machines."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def aside(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`; on leaving it is synced to disk and renamed, on an error it is removed.

    A killed process leaves only a hidden `.tmp` file, which the next writer of the same path replaces.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a run folder against other commands that write to it; the system lets go of it when the process ends.

    Raises ValueError where another process holds it. A file system without locks gives no protection.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{folder}: another command is writing to this run, so the two would mix up their files. Wait for it "
                "to end (or end it), or name another folder with --output."
            ) from None
        except OSError:  # a network file system that knows no locks
            pass
        yield


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with aside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN is refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file that this tool wrote. Raises ValueError naming the file where it is damaged or missing."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: is not there, so the step that writes it has not run (or ran elsewhere).") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is damaged ({error}). Delete it and run the step that writes it again.") from None


def read_object(path: str | Path, **kinds: type) -> dict[str, Any]:
    """Read a JSON object that this tool wrote, with at least the keys `kinds`, whose values are of these types.

    Raises ValueError naming the file where it is damaged or missing.
    """
    found = read_json(path)
    wrong = [key for key, kind in kinds.items() if not (isinstance(found, dict) and isinstance(found.get(key), kind))]
    if wrong or not isinstance(found, dict):
        what = f"{wrong[0]} is no {kinds[wrong[0]].__name__}" if wrong else "it is no object"
        raise ValueError(f"{path}: is damaged ({what}). Delete it and run the step that writes it again.")
    return found


def is_plain(name: Any) -> bool:
    """Whether `name` is the name of one file or folder: not empty, not `..`, no path."""
    return isinstance(name, str) and "\0" not in name and name not in ("", ".", "..") and Path(name).name == name


def inside(folder: str | Path, name: Any, where: str) -> Path:
    """The path `name` below `folder`, which may be a link itself.

    Raises ValueError, beginning with `where` (a file of the run and its key), where it leads elsewhere: it is absolute,
    has `..`, or goes through a symbolic link out of the folder.
    """
    parts = name.split("/") if isinstance(name, str) else []
    if parts and all(map(is_plain, parts)):
        path, home = os.path.realpath(Path(folder, name)), os.path.realpath(folder)
        if path.startswith(home + os.sep):
            return Path(folder, name)
    raise ValueError(
        f"{where}: {name!r} leads out of {folder}, where no file of a run lies, so it is not opened. If you did not "
        "put it there, do not trust this run; else write the file again with the command that made it."
    )


def identity(value: Any) -> str:
    """16 hex digits that stand for `value` (JSON types only; anything else has no stable identity: TypeError)."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()


def file_identity(path: str | Path) -> str:
    """16 hex digits that stand for the bytes of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
