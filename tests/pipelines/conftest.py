"""An S3 server for the tests that ask for a bucket."""

from collections.abc import Iterator

import pytest

from tests.pipelines import s3


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of the S3 server on loopback."""
    with s3.server() as address:
        yield address


@pytest.fixture
def bucket(s3_server: str) -> str:
    """URL of an empty bucket."""
    return s3.make_bucket()
