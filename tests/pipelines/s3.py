"""An S3 server on loopback (moto's) and places in it; tests that need one are skipped where s3fs or moto is missing."""

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

SECRET = "not-" + "a-real-secret-key"


@contextmanager
def server() -> Iterator[str]:
    """The address of a running server; the environment names it and has credentials for it meanwhile."""
    missing = [name for name in ("s3fs", "moto", "flask", "flask_cors") if find_spec(name) is None]
    if missing:
        pytest.skip(f"no S3 server to test with: {', '.join(missing)} missing; pip install 'palimpsest[dev]'")
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # or each request is shown
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    before = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for name in before:
        del os.environ[name]
    ours = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }
    os.environ.update(ours)
    try:
        yield ours["AWS_ENDPOINT_URL"]
    finally:
        for name in ours:
            os.environ.pop(name, None)
        os.environ.update(before)
        running.stop()


def make_bucket() -> str:
    """The URL of a bucket of its own."""
    name = f"bucket-{uuid.uuid4().hex}"
    store().mkdir(name)
    return f"s3://{name}"


def store() -> Any:
    """The file system, without a memory of listings."""
    import fsspec

    return fsspec.filesystem("s3", use_listings_cache=False)


def put(folder: Path, url: str) -> None:
    """Copy a folder's files to a URL."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        store().put_file(str(path), f"{url}/{path.relative_to(folder)}")


def listed(url: str) -> list[str]:
    """Names of the objects under a URL."""
    there = store()
    root = there._strip_protocol(url)
    return sorted(path.removeprefix(f"{root}/") for path in there.find(root))


def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
