"""Whatever a file holds, reading it ends, with documents, ledger entries or an error that names the file."""

import bz2
import gzip
import io
import json
import lzma
from pathlib import Path

import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from curate.records import READERS, read
from curate.sources import Source

FUZZ = settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PACK = {
    "": lambda content: content,
    ".gz": lambda content: gzip.compress(content, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: zstandard.ZstdCompressor().compress(content),
}
DAMAGE = some.lists(some.tuples(some.floats(0, 0.9999), some.binary(max_size=6)), max_size=3)


def warc() -> bytes:
    """Two records as a crawler writes them."""
    head = "WARC/1.0\r\nWARC-Type: {}\r\nWARC-Record-ID: <urn:uuid:1>\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n"
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=latin-1\r\n\r\n<html>caf\xe9</html>"
    text = b"plain text"
    return (
        head.format("response", "application/http; msgtype=response", len(page)).encode()
        + page
        + b"\r\n\r\n"
        + head.format("conversion", "text/plain", len(text)).encode()
        + text
        + b"\r\n\r\n"
    )


def parquet() -> bytes:
    """Two row groups of strings."""
    out = io.BytesIO()
    pl.DataFrame({"id": ["a", "b", "c"], "text": ["one", None, "three"]}).write_parquet(out, row_group_size=2)
    return out.getvalue()


LINES = "".join(json.dumps({"id": str(number), "text": f"text {number}"}) + "\n" for number in range(4)).encode()
WHOLE = {
    ".jsonl": LINES,
    ".txt": "plain café".encode(),
    ".html": b"<html><meta charset=latin-1>caf\xe9</html>",
    ".warc": warc(),
    ".wet": warc(),
    ".parquet": parquet(),
}


def records(folder: Path, format: str, packing: str, content: bytes) -> int:
    """How many records come of a file, -1 where reading it is refused with an error that names it."""
    path = folder / f"file{format}{packing}"
    path.write_bytes(content)
    pages = (path.name,) if format == ".html" else ()
    source = Source("domain", "file", str(folder), path.name, len(content), "", pages)
    try:
        found = list(read(source))
    except ValueError as error:
        assert type(error) is ValueError and "file" + format in str(error)
        return -1
    assert all(isinstance(one.text, str) and "record" in one.metadata for one in found)
    return len(found)


@pytest.mark.parametrize("format", WHOLE)
@pytest.mark.parametrize("packing", PACK)
def test_a_whole_file_is_read(tmp_path: Path, format: str, packing: str) -> None:
    assert set(WHOLE) == set(READERS)
    found = records(tmp_path, format, packing, PACK[packing](WHOLE[format]))
    if (format, packing) == (".parquet", ".zst"):
        assert found == -1, "Parquet is read from its end, and Arrow's zstd stream only runs forwards"
        return
    assert found == {".jsonl": 4, ".txt": 1, ".html": 1, ".warc": 2, ".wet": 2, ".parquet": 3}[format]


@pytest.mark.parametrize("format", WHOLE)
@FUZZ
@given(packing=some.sampled_from(list(PACK)), inside=DAMAGE, outside=DAMAGE, cut=some.floats(0, 2))
def test_a_damaged_file_gives_records_or_an_error(
    tmp_path: Path,
    format: str,
    packing: str,
    inside: list[tuple[float, bytes]],
    outside: list[tuple[float, bytes]],
    cut: float,
) -> None:
    content = changed(PACK[packing](changed(WHOLE[format], inside)), outside)
    records(tmp_path, format, packing, content[: int(cut * len(content))])


@pytest.mark.parametrize("format", WHOLE)
@FUZZ
@given(content=some.binary(max_size=60), packing=some.sampled_from(["", ".zst"]))
def test_any_bytes_give_records_or_an_error(tmp_path: Path, format: str, content: bytes, packing: str) -> None:
    records(tmp_path, format, packing, PACK[packing](content))


LONG = 1 << 21
HARD = {
    ".jsonl": [b"[" * LONG, b'{"text": "\\ud800"}', b'{"text": ' + b"9" * 5000 + b"}", b'{"a":' * 100_000],
    ".warc": [
        b"WARC/1.0\r\n" + b"a: b\r\n" * (LONG // 6),
        b"WARC/1.0\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"WARC/1.0\r\nContent-Length: 99999999999999999\r\n\r\n",
        b"WARC/1.0\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    ],
    ".html": [b"<" * LONG, b"<meta charset=idna>\xff" + b"." * LONG, b"<meta charset=zlib>\xff"],
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("format", "content"), [(format, one) for format, many in HARD.items() for one in many])
def test_what_is_made_to_take_long_ends(tmp_path: Path, format: str, content: bytes) -> None:
    assert records(tmp_path, format, "", content) in (-1, 1)


def changed(content: bytes, damage: list[tuple[float, bytes]]) -> bytes:
    """Bytes written over, or taken out where there are none to write."""
    for at, other in damage:
        start = int(at * len(content))
        content = content[:start] + other + content[start + max(len(other), 1) :]
    return content
