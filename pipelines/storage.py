"""Places named by a URL that fsspec knows (s3://, gs://, hf://, file://, ...), and what to do where one gives nothing.

Keys and passwords are never part of a URL here: each service takes them from the environment or from its own files
(pipelines/secrets.py refuses the others). Another S3 server than Amazon's: AWS_ENDPOINT_URL=http://host:port.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import Field, field_validator

from pipelines.secrets import scrub
from pipelines.section import Section

EXTRAS = {"s3": "s3fs (pip install 'palimpsest[s3]')", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""Protocol -> package that fsspec needs for it."""
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE with ~/.aws/credentials; a bucket that is open "
    "to all needs FSSPEC_S3_ANON=true",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, the file of a service account; a bucket that is open to all needs "
    "FSSPEC_GS_TOKEN=anon",
    "hf": "HF_TOKEN, or `hf auth login`",
}
"""Protocol -> where its credentials come from."""
AT_ONCE = 8
"""Files on their way at a time."""
_NETWORK = {"botocore", "aiobotocore", "boto3", "aiohttp", "httpx", "httpcore", "requests", "urllib3"} | {
    "huggingface_hub",
    "gcsfs",
    "google",
    "azure",
    "adlfs",
}
"""Packages whose errors say that a place could not be reached or refused; other errors are not theirs to explain."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class StorageConfig(Section):
    """Runs at a URL: where finished pieces are published, and the shards fetched from there."""

    publish: str = ""
    """URL (s3://bucket/runs/clinical; any of fsspec's) or folder to which curate.run, mix.build, train.launch, eval.run
    and eval.report publish what they finished; every command but the first two takes it in place of a run folder. Empty
    publishes nothing."""
    cache: str = "~/.cache/palimpsest/shards"
    """Folder on a local disk for shards fetched from a published run; runs and processes of a machine share it."""
    cache_gib: float = Field(100, gt=0)
    """Most GiB of shards in the cache. Those of the mixture that was used least recently leave first, those of one in
    use never; a mixture larger than this is refused."""

    @field_validator("publish")
    @classmethod
    def _is_place(cls, place: str) -> str:
        if not is_url(place) and (begin := re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", place)):
            raise ValueError(f"reads as a folder called {begin[0]}; a URL begins with {begin[0]}//, a folder with ./")
        return place


def is_url(place: str) -> bool:
    """Whether a place is a URL, not a path."""
    return "://" in place


def connect(url: str, key: str) -> tuple[Any, str]:
    """The fsspec file system of a URL or folder, and the path on it. `key` is what a message begins with.

    Listings are not cached, so what others write is seen. Raises ValueError where fsspec knows no such place, or its
    package is missing.
    """
    from fsspec import url_to_fs

    try:
        files, root = url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        needs = EXTRAS.get(_protocol(url))
        mend = f"Install {needs}." if needs else "Install the package it names, or name another place."
        raise ValueError(f"{key}: {scrub(url)!r} cannot be opened ({error}). {mend}") from None
    return files, root.rstrip("/")


@contextmanager
def reached(url: str, key: str) -> Iterator[None]:
    """Errors of the network and of a service, raised inside, become a ValueError that says what to do.

    `key` is what the message begins with. A path of this machine is left to its own errors.
    """
    try:
        yield
    except Exception as error:
        package = type(error).__module__.partition(".")[0]
        if not is_url(url) or not (isinstance(error, OSError) or package in _NETWORK):
            raise
        raise ValueError(f"{key}: {_explain(error, url)}") from None


def at_once(do: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """What `do` gives for each item, in order, AT_ONCE of them at a time; the first error ends it."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        begun = [threads.submit(do, item) for item in items]
        try:
            return [one.result() for one in begun]
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


def _explain(error: Exception, url: str) -> str:
    protocol, shown = _protocol(url), scrub(url)
    reason = scrub(str(error)).strip().partition("\n")[0] or type(error).__name__
    service = CREDENTIALS.get(protocol, "the service's own variables of the environment")
    if "Credential" in type(error).__name__ or "TokenRetrieval" in type(error).__name__:
        return f"{shown}: there are no credentials for it ({reason}). Give them by the environment: {service}."
    if protocol == "hf":
        return f"{shown}: the hub does not give it out ({reason}). {_without_network(shown)}"
    if isinstance(error, PermissionError):
        return (
            f"{shown}: access is refused ({reason}). Check what the credentials may do; they come from the "
            f"environment: {service}."
        )
    if isinstance(error, FileNotFoundError):
        return f"{shown}: there is no such place ({reason}). Make the bucket, or correct the URL."
    return (
        f"{shown}: cannot be read or written ({reason}). Check the network, the endpoint and the space on this "
        "machine's disk, and run the command again."
    )


def _without_network(url: str) -> str:
    """What to fetch from the hub, where to put it and what to set then."""
    kind, *rest = url.removeprefix("hf://").split("/")
    typed = kind in ("datasets", "spaces")
    repository = "/".join(rest[:2] if typed else [kind, *rest[:1]])
    inner = "/".join(rest[2:] if typed else rest[1:])
    revision = repository.partition("@")[2]
    options = [
        f"--repo-type {kind.removesuffix('s')}" * typed,
        f"--revision {revision}" if revision else "",
        f"--include '{inner}/*'" if inner else "",
    ]
    told = " ".join(part for part in options if part)
    return (
        f"Where it needs a login: {CREDENTIALS['hf']}. Without a network: run `hf download "
        f"{repository.partition('@')[0]} {told}{' ' * bool(told)}--local-dir FOLDER` where there is one, copy FOLDER "
        f"here, set data_root: FOLDER and name its files as {inner + '/' if inner else ''}*."
    )


def _protocol(url: str) -> str:
    return url.partition("://")[0].rpartition("::")[2] if is_url(url) else "file"
