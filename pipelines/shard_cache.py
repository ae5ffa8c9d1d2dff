"""Shards of published runs on a local disk, within a limit of size, for all runs and processes of a machine.

    <cache>/<identity>/packed/<pool>/<source>/*     the packed files of one mixture, under the identity of their digests
    <cache>/<identity>.held                         locked by the processes that use it; its time is the last use
    <cache>/.lock                                   held by the process that fetches or removes

A file stands under its name only after its bytes were compared. Locks are the system's (flock): a killed process holds
nothing any more, and what it had half fetched is removed by the next one. A network file system may know no such locks:
keep the cache on a local disk. Damage that comes after the download is not looked for.
"""

import fcntl
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from curate.files import inside
from pipelines.storage import at_once

GIB = 1 << 30
_held: list[IO[str]] = []
"""Open files whose locks this process keeps until it ends."""


def hold(cache: Path, gib: float, key: str, sizes: Mapping[str, int], download: Callable[[str, Path], None]) -> Path:
    """The folder <cache>/<key> with all files of `sizes` (name -> bytes), which stay until this process ends.

    `download(name, path)` makes a file appear whole or not at all. Those of other mixtures leave where there is no
    room, least recently used first. One process fetches at a time, the others wait and then find what it fetched.
    Raises ValueError where the files are more than `gib`, or more than others in use leave room for.
    """
    whole = sum(sizes.values())
    if whole > gib * GIB:
        raise ValueError(
            f"storage.cache_gib: {gib:g} GiB cannot hold the shards of this mixture ({whole / GIB:.3g} GiB). Its rows "
            "are dealt from all of them in turn, so they would be fetched again and again. Raise it; storage.cache may "
            "name a larger disk."
        )
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / key
    paths = {name: inside(folder, name, str(folder)) for name in sizes}
    with open(cache / ".lock", "w") as alone:
        lock(alone)
        held = open(cache / f"{key}.held", "w")
        fcntl.flock(held, fcntl.LOCK_SH)
        os.utime(held.fileno())
        for half in cache.rglob(".*.tmp"):
            half.unlink()
        missing = [name for name, path in paths.items() if not path.is_file() or path.stat().st_size != sizes[name]]
        _make_room(cache, gib, key, sum(sizes[name] for name in missing))
        at_once(lambda name: download(name, paths[name]), missing)
    _held.append(held)
    return folder


def lock(file: IO[str]) -> None:
    """Lock a file for this process, which may have to wait. Raises ValueError where there are no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"{Path(file.name).parent}: another process is fetching; waiting for it.", file=sys.stderr, flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        raise ValueError(
            f"{Path(file.name).parent}: its file system has no locks ({error.strerror}), so processes would write over "
            "each other. Name a folder on a local disk (storage.cache, --output)."
        ) from None


def _make_room(cache: Path, gib: float, key: str, needed: int) -> None:
    """Remove files of other mixtures until `needed` bytes fit. Raises ValueError where they do not."""
    others = sorted(cache.glob("*.held"), key=lambda held: (held.stat().st_mtime_ns, held.name))
    sizes = {path: path.stat().st_size for path in sorted(cache.glob("*/**/*")) if path.is_file()}
    left = gib * GIB - sum(sizes.values()) - needed
    for held in others:
        if left >= 0:
            return
        if held.stem == key or not _is_free(held):
            continue
        for path in [path for path in sizes if path.is_relative_to(cache / held.stem)]:
            if left >= 0:
                return
            path.unlink()
            left += sizes.pop(path)
    if left < 0:
        raise ValueError(
            f"storage.cache_gib: {gib:g} GiB have no room for {needed / GIB:.3g} GiB of shards beside those that other "
            f"processes use in {cache} ({sum(sizes.values()) / GIB:.3g} GiB). Raise it, or wait until they end."
        )


def _is_free(held: Path) -> bool:
    """Whether no process uses a mixture."""
    with open(held) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
