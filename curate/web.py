"""Pages as the web stores them: the records of a WARC file, and bytes of an unknown encoding."""

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

PAGES = ("response", "resource", "conversion")
"""WARC types that hold a page."""
LENGTH = re.compile(rb"^content-length:\s*(\d{1,18})\s*$", re.I | re.M)
LONGEST_HEAD = 1 << 20
"""Bytes of the headers of a WARC record."""
CHARSET = re.compile(rb"""charset\s*=\s*["']?\s*([\w.:-]+)""", re.I)
LOOKS_LIKE_HTML = re.compile(rb"<(?:!doctype|html|head|body)", re.I)
BEGINNING = 1024
"""Bytes in which a page must name its charset (HTML standard, "prescan a byte stream")."""
LATIN = ("ascii", "iso8859-1")
"""Names that mean Windows-1252 on the web (Encoding standard)."""


@dataclass
class Page:
    """The page of one WARC record, or what is wrong with it."""

    id: str = ""
    """The record's own id without `urn:uuid:`."""
    url: str = ""
    text: str = ""
    problem: str = ""


def warc_records(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Byte offset and bytes (headers and block) of each record of an uncompressed WARC stream.

    Raises EOFError where the last record is cut short, OSError where no record begins.
    """
    offset = 0
    while line := file.readline():
        if not line.strip():
            offset += len(line)
            continue
        if not line.startswith(b"WARC/"):
            raise OSError(f"at byte {offset} there is {line[:20]!r} where a WARC record should begin")
        lines, size = [line], len(line)
        while (line := file.readline(LONGEST_HEAD)).strip():
            lines.append(line)
            size += len(line)
            if size > LONGEST_HEAD:
                raise OSError(f"the WARC record at byte {offset} has more than {LONGEST_HEAD} bytes of headers")
        head = b"".join(lines)
        found = LENGTH.search(head)
        if line and not found:
            raise OSError(f"the WARC record at byte {offset} has no Content-Length that can be one")
        length = int(found[1]) if found else 0
        try:
            block = file.read(length)
        except MemoryError:
            raise EOFError(f"the WARC record at byte {offset} says that it has {length:,} bytes") from None
        if not line or len(block) < length:
            raise EOFError(f"the WARC record at byte {offset} is cut short")
        yield offset, head + line + block
        offset += len(head) + len(line) + length


def page_of(record: bytes) -> Page | None:
    """The page of a WARC record; None where its type holds none."""
    from warcio.archiveiterator import ArchiveIterator

    try:
        parsed = next(iter(ArchiveIterator(io.BytesIO(record))))
        if parsed.rec_type not in PAGES:
            return None
        headers = parsed.rec_headers
        page = Page(
            headers.get_header("WARC-Record-ID", "").strip("<>").removeprefix("urn:uuid:"),
            headers.get_header("WARC-Target-URI", ""),
        )
        content = parsed.content_stream().read()
    except Exception as error:  # a crawl stores whatever servers send
        return Page(problem=f"cannot be taken apart ({type(error).__name__}: {error})"[:200])
    kind = _kind(parsed)
    if not content:
        page.problem = "has an empty body"
    elif not ("html" in kind or kind == "text/plain" or (not kind and LOOKS_LIKE_HTML.search(content[:BEGINNING]))):
        page.problem = f"is {kind[:80] or 'of no stated type'}, not HTML"
    elif (text := decoded(content, _declared(parsed))) is None:
        page.problem = "is in no known encoding"
    else:
        page.text = text
    return page


def decoded(content: bytes, declared: str = "") -> str | None:
    """A page's text: UTF-8 where valid, else as `declared` or as the page says, else as it looks; None if unknown."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _decode(content, "utf-16")
    text = _decode(content, "utf-8-sig")
    if text is None and (found := CHARSET.search(content[:BEGINNING])):
        declared = declared or found[1].decode("ascii")
    if text is None and declared:
        text = _decode(content, declared)
    if text is None and b"\0" not in content:  # no text in one-byte letters has zeros, compressed bodies do
        import cchardet

        text = _decode(content, cchardet.detect(content)["encoding"] or "")
    return text


def _decode(content: bytes, encoding: str) -> str | None:
    try:
        name = codecs.lookup(encoding).name
        text = content.decode("cp1252" if name in LATIN else name)
        text.encode()  # Python's own codecs, such as raw_unicode_escape, can give what is no text
        return text
    except (LookupError, UnicodeError, ValueError):
        return None


def _kind(parsed: Any) -> str:
    """Media type: what the crawler identified, else what the server or the record says; empty where nobody does."""
    said = parsed.rec_headers.get_header("WARC-Identified-Payload-Type") or (
        parsed.http_headers.get_header("Content-Type") if parsed.http_headers else parsed.content_type
    )
    return (said or "").split(";")[0].strip().lower()


def _declared(parsed: Any) -> str:
    said = (parsed.http_headers.get_header("Content-Type") if parsed.http_headers else None) or ""
    found = CHARSET.search(said.encode("latin-1", "ignore"))
    return found[1].decode("ascii") if found else ""
