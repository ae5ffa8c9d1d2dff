"""The cache of shards: within its limit, nothing half fetched, nothing in use gone, one download for all processes."""

import multiprocessing
import os
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from curate.files import aside
from pipelines import shard_cache
from tests.pipelines.s3 import until

SPAWN = multiprocessing.get_context("spawn")
MB = 1 << 20
GIB_OF_MB = 1 / 1024


def sizes(count: int = 3, size: int = MB) -> dict[str, int]:
    return {f"packed/domain/notes/{number:05d}.arrow": size for number in range(count)}


def hold(cache: str, key: str, megabytes: float, count: int = 3, seconds: float = 0.0, pause: str = "") -> None:
    """Hold a mixture's shards in this process. Each download is noted; one that ends with `pause` stops half-way."""

    def download(name: str, path: Path) -> None:
        with aside(path) as temporary, open(temporary, "wb") as file:
            file.write(b"x" * (MB // 2))
            file.flush()
            if pause and name.endswith(pause):
                time.sleep(60)
            file.write(b"x" * (MB // 2))
        with open(f"{cache}.log", "a") as log:
            log.write(f"{key} {name}\n")

    shard_cache.hold(Path(cache), megabytes * GIB_OF_MB, key, sizes(count), download)
    Path(f"{cache}.{key}.{os.getpid()}").touch()
    time.sleep(seconds)


def there(cache: Path) -> dict[str, int]:
    """Mixture -> its files in the cache."""
    found: dict[str, int] = {}
    for path in cache.glob("*/**/*.arrow"):
        assert path.read_bytes() == b"x" * MB
        found[path.relative_to(cache).parts[0]] = found.get(path.relative_to(cache).parts[0], 0) + 1
    return found


def begin(*given: object) -> BaseProcess:
    process = SPAWN.Process(target=hold, args=given)
    process.start()
    return process


def finish(process: BaseProcess) -> None:
    process.join(60)
    assert process.exitcode == 0


def end_all() -> None:
    for held in shard_cache._held:
        held.close()
    shard_cache._held.clear()


def test_the_least_recently_used_leave_and_no_more_than_need_be(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for key in ("a", "b", "a"):
        hold(str(cache), key, 7)
        end_all()
    assert there(cache) == {"a": 3, "b": 3}
    hold(str(cache), "c", 7)
    assert there(cache) == {"a": 3, "b": 1, "c": 3}
    end_all()
    hold(str(cache), "d", 7, 5)
    assert there(cache) == {"c": 2, "d": 5}
    hold(str(cache), "c", 8)  # what is there is kept, what left is fetched
    assert there(cache) == {"c": 3, "d": 5}
    end_all()
    fetched = [line for line in (tmp_path / "cache.log").read_text().split("\n") if line.startswith("c")]
    assert sorted(fetched) == sorted(f"c {name}" for name in [*sizes(), "packed/domain/notes/00000.arrow"])


def test_a_limit_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"storage.cache_gib: 0.00195\d* GiB cannot hold the shards of this mixture"):
        hold(str(tmp_path / "cache"), "a", 2)
    assert not (tmp_path / "cache").exists()


def test_shards_in_use_never_leave_and_a_killed_process_uses_none(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    user = begin(str(cache), "a", 4, 3, 60.0)
    until(lambda: bool(list(tmp_path.glob("cache.a.*"))))
    with pytest.raises(
        ValueError, match=r"have no room for 0.00293 GiB of shards beside those that other processes use"
    ):
        hold(str(cache), "b", 4)
    assert there(cache) == {"a": 3}
    os.kill(user.pid or 0, signal.SIGKILL)
    user.join()
    hold(str(cache), "b", 4)
    end_all()
    assert there(cache) == {"a": 1, "b": 3}


def test_a_download_killed_half_way_is_never_seen(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    killed = begin(str(cache), "a", 9, 3, 0.0, "00001.arrow")
    until(lambda: len(list(cache.rglob(".*.tmp"))) == 1 and len(list(cache.rglob("*.arrow"))) == 2)
    os.kill(killed.pid or 0, signal.SIGKILL)
    killed.join()
    assert there(cache) == {"a": 2}
    hold(str(cache), "a", 9)
    end_all()
    assert there(cache) == {"a": 3} and not list(cache.rglob(".*.tmp"))


def test_processes_that_want_the_same_fetch_it_once(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    ranks = [begin(str(cache), "a", 9, 5) for _ in range(3)]
    for rank in ranks:
        finish(rank)
    assert there(cache) == {"a": 5}
    assert sorted((tmp_path / "cache.log").read_text().split("\n")[:-1]) == [f"a {name}" for name in sizes(5)]


def test_a_name_that_leads_out_of_the_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leads out of"):
        shard_cache.hold(tmp_path / "cache", 1, "a", {"../b/x": 1}, lambda name, path: None)
