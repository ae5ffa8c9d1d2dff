"""Records in: each becomes a document or a ledger entry, a file cut short is a named error, never a silent skip."""

import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from datatrove.data import Document
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from curate.extract import Extract
from curate.records import read
from curate.sources import Source
from tests.curate.corpus import corpus, curate, kept, ledger, sentences, write_lines


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return corpus(tmp_path / "data", documents=4)


def test_unreadable_records_go_to_the_ledger(root: Path, tmp_path: Path) -> None:
    good = {"id": "good", "text": sentences(1, 6)}
    records = [
        good,
        b"{not json",
        b'{"text": "caf\xe9"}',
        {"id": "no text"},
        {"text": 7},
        b"[1]",
        b"",
        {"text": sentences(2, 6)},
    ]
    write_lines(root / "domain" / "bad.jsonl", records)
    manifest = curate(root, tmp_path / "run", [], **{"eval.held_out": 0})
    bad = ledger(tmp_path / "run").filter(source="bad")
    assert bad["reason"].to_list() == ["unreadable_record"] * 5 and set(bad["stage"]) == {"read"}
    assert bad["origin"].to_list() == [f"domain/bad.jsonl#{number}" for number in (1, 2, 3, 4, 5)]
    for part, said in zip(["JSON", "UTF-8", "no text", "int", "list"], bad["detail"], strict=True):
        assert part in said
    assert manifest["stages"][0]["documents_in"] == 12 + 7
    assert len([one for one in kept(tmp_path / "run") if one.startswith("bad/")]) == 2


def test_stop_names_the_record(root: Path, tmp_path: Path) -> None:
    path = write_lines(root / "domain" / "bad.jsonl", [{"text": "fine"}, b"{"])
    with pytest.raises(ValueError, match=rf"{path}: record 1 is not JSON.*on_bad_record"):
        curate(root, tmp_path / "run", [], **{"curate.on_bad_record": "stop"})


def test_a_truncated_gzip_is_an_error(root: Path, tmp_path: Path) -> None:
    path = root / "domain" / "notes.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(
        ValueError, match=r"notes.jsonl.gz: cannot be read past record \d+ .* unknown number of documents"
    ):
        curate(root, tmp_path / "run", [])


def test_corrupt_gzip_bytes_are_an_error(root: Path, tmp_path: Path) -> None:
    path = root / "domain" / "notes.jsonl.gz"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match=r"notes.jsonl.gz: cannot be read past record \d+"):
        curate(root, tmp_path / "run", [])


@pytest.mark.parametrize("content", [b"", gzip.compress(b"", mtime=0)])
def test_a_source_without_records_is_an_error(root: Path, tmp_path: Path, content: bytes) -> None:
    (root / "domain" / "empty.jsonl.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"empty.jsonl.gz.*(0 bytes|no record)"):
        curate(root, tmp_path / "run", [])


def test_a_glob_that_matches_nothing_is_an_error(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"domain\[1\]: 'absent/\*' matches no file"):
        curate(root, tmp_path / "run", [], domain=["domain/*", "absent/*"])


def test_two_sources_of_one_name_are_an_error(root: Path, tmp_path: Path) -> None:
    write_lines(root / "general" / "notes.jsonl", [{"text": "again"}])
    with pytest.raises(ValueError, match="both called 'notes'"):
        curate(root, tmp_path / "run", [])


def test_an_unknown_format_is_an_error(root: Path, tmp_path: Path) -> None:
    (root / "domain" / "table.xlsx").write_bytes(b"x")
    with pytest.raises(ValueError, match="table.xlsx is of no known format"):
        curate(root, tmp_path / "run", [])


def test_ids_are_unique_and_stable(root: Path, tmp_path: Path) -> None:
    write_lines(
        root / "domain" / "ids.jsonl", [{"id": "a", "text": "one"}, {"id": "a", "text": "two"}, {"text": "three"}]
    )
    curate(root, tmp_path / "run", [], **{"eval.held_out": 0})
    ids = [one for one in kept(tmp_path / "run") if one.startswith("ids/")]
    assert ids[:2] == ["ids/a", "ids/a#1"] and len(set(ids)) == 3 and len(ids[2].split("/")[1]) == 16


def test_parquet_and_text_files_are_read(root: Path, tmp_path: Path) -> None:
    pl.DataFrame({"id": ["p", None], "text": ["from parquet", "again"]}).write_parquet(
        root / "domain" / "table.parquet"
    )
    (root / "domain" / "letter.txt").write_text("a whole file\nis one document")
    curate(root, tmp_path / "run", [], **{"eval.held_out": 0})
    texts = pl.read_parquet(sorted((tmp_path / "run" / "documents").rglob("*.parquet")))["text"].to_list()
    assert {"from parquet", "again", "a whole file\nis one document"} <= set(texts)


def test_parquet_without_text_is_an_error(root: Path, tmp_path: Path) -> None:
    pl.DataFrame({"body": ["x"]}).write_parquet(root / "domain" / "table.parquet")
    with pytest.raises(ValueError, match="has no column 'text'"):
        curate(root, tmp_path / "run", [])


def records(path: Path) -> list[Document]:
    pages = (path.name,) if ".htm" in path.name else ()
    place = "*.html" if pages else path.name
    return list(read(Source("domain", path.stem, str(path.parent), place, path.stat().st_size, "0", pages=pages)))


def problems(path: Path) -> list[str | None]:
    return [document.metadata.get("problem") for document in records(path)]


def test_a_problem_has_the_offset_of_its_record(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "bad.jsonl.gz", [{"text": "fine"}, b"", b"{not json", {"id": 3}])
    bad = [document for document in records(path) if "problem" in document.metadata]
    lines = gzip.decompress(path.read_bytes())
    assert [lines[one.metadata["offset"] :].split(b"\n")[0] for one in bad] == [b"{not json", b'{"id": 3}']


def test_an_html_file_is_one_record(tmp_path: Path) -> None:
    page = "<html><body><p>caf\u00e9</p></body></html>"
    for name, content in [
        ("utf8.html", page.encode()),
        ("bom.htm", page.encode("utf-8-sig")),
        ("utf16.html", page.encode("utf-16")),
        ("packed.html.gz", gzip.compress(page.encode())),
    ]:
        (tmp_path / name).write_bytes(content)
        assert [document.text for document in records(tmp_path / name)] == [page], name
    declared = '<html><meta charset="ISO-8859-1"><p>caf\u00e9 \u2019s</p></html>'
    (tmp_path / "latin.html").write_bytes(declared.encode("cp1252"))
    assert [document.text for document in records(tmp_path / "latin.html")] == [declared]
    (tmp_path / "unknown.html").write_bytes(bytes(range(128, 256)) * 3)
    assert problems(tmp_path / "unknown.html") == ["(unknown.html) is in no known encoding"]


def test_the_pages_of_a_folder_are_one_source(root: Path, tmp_path: Path) -> None:
    for folder in ("visits", "wards"):
        for number in range(3):
            path = root / "domain" / folder / f"{number}.html"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"<html><body><p>{sentences(number, 3)} {folder}</p></body></html>")
    (root / "domain" / "visits" / "1.html").write_bytes(bytes(range(128, 256)) * 3)
    (root / "domain" / "visits" / "more.htm").write_text("<html>more</html>")
    run = {"domain": ["domain/*.gz", "domain/*/*.htm*", "domain/visits/*"], "eval.held_out": 0}
    manifest = curate(root, tmp_path / "run", [Extract().name], **run)
    pages = [one for one in kept(tmp_path / "run") if one.startswith(("visits/", "wards/"))]
    assert pages == [
        "visits/0.html",
        "visits/2.html",
        "visits/more.htm",
        "wards/0.html",
        "wards/1.html",
        "wards/2.html",
    ]
    [bad] = ledger(tmp_path / "run").filter(stage="read").iter_rows(named=True)
    assert bad["origin"] == "domain/visits/*.html#1" and "1.html" in bad["detail"]
    (root / "domain" / "wards" / "0.html").write_text("<html><body><p>another text of some words</p></body></html>")
    again = curate(root, tmp_path / "run", [Extract().name], **run)
    assert again["identity"] != manifest["identity"]


PAGES = [
    ("response", "text/html; charset=windows-1251", "<html><p>\u043c\u0438\u0440</p></html>".encode("cp1251")),
    ("response", "image/png", b"\x89PNG\r\n"),
    ("request", "", b""),
    ("response", "text/html", b""),
    ("response", "text/html", "<html><p>na\u00efve</p></html>".encode()),
    ("conversion", "text/plain", b"text of a WET record"),
]


def warc(path: Path) -> Path:
    with open(path, "wb") as file:
        writer = WARCWriter(file, gzip=path.suffix == ".gz")
        writer.write_record(writer.create_warcinfo_record(path.name, {"software": "test"}))
        for number, (kind, media, body) in enumerate(PAGES):
            headers = StatusAndHeaders("200 OK", [("Content-Type", media)], protocol="HTTP/1.1")
            if kind == "request":
                headers = StatusAndHeaders("GET / HTTP/1.1", [("Host", "a.org")], is_http_request=True)
            writer.write_record(
                writer.create_warc_record(
                    f"http://a.org/{number}",
                    kind,
                    payload=io.BytesIO(body),
                    http_headers=None if kind == "conversion" else headers,
                    warc_content_type=media if kind == "conversion" else "",
                )
            )
    return path


@pytest.mark.parametrize("name", ["crawl.warc", "crawl.warc.gz"])
def test_every_page_of_a_warc_is_accounted_for(tmp_path: Path, name: str) -> None:
    found = records(warc(tmp_path / name))
    texts = [None if "problem" in one.metadata else one.text for one in found]
    assert texts == [PAGES[0][2].decode("cp1251"), None, None, PAGES[4][2].decode(), PAGES[5][2].decode()]
    assert [one.metadata["record"] for one in found] == [1, 2, 4, 5, 6]
    assert [one.metadata.get("problem") for one in found[1:3]] == ["is image/png, not HTML", "has an empty body"]
    raw = (gzip.decompress if name.endswith("gz") else bytes)((tmp_path / name).read_bytes())
    assert all(raw[one.metadata["offset"] :].startswith(b"WARC/1.0\r\n") for one in found)
    assert len({one.id for one in found}) == 5 and len(found[0].id) == 36


def test_a_damaged_body_is_one_bad_record(tmp_path: Path) -> None:
    path = warc(tmp_path / "crawl.warc")
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n"
    block += gzip.compress(b"<html>" * 1000)[:-20] + b"\xff" * 9
    head = "WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:x>\r\nWARC-Target-URI: http://a.org/x\r\n"
    head += f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
    path.write_bytes(head.encode() + block + b"\r\n\r\n" + path.read_bytes())
    found = records(path)
    assert len(found) == 6 and found[0].metadata["problem"] == "is in no known encoding"
    assert "problem" not in found[1].metadata and found[1].metadata["record"] == 2


@pytest.mark.parametrize("name", ["crawl.warc", "crawl.warc.gz"])
def test_a_warc_cut_short_is_an_error(tmp_path: Path, name: str) -> None:
    whole = warc(tmp_path / name).read_bytes()
    ends = range(len(whole) - 40, len(whole) - 6, 5) if name.endswith("gz") else [len(whole) - 10, len(whole) - 150]
    for end in ends:
        (tmp_path / name).write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"crawl.*cannot be read past record \d+"):
            records(tmp_path / name)


def test_garbage_between_warc_records_is_an_error(tmp_path: Path) -> None:
    path = warc(tmp_path / "crawl.warc")
    path.write_bytes(path.read_bytes() + b"garbage\r\n")
    with pytest.raises(ValueError, match="at byte .* where a WARC record should begin"):
        records(path)


def test_a_document_of_100_megabytes_passes(tmp_path: Path) -> None:
    text = sentences(0, 200) + "\n"
    text *= 100_000_000 // len(text)
    (tmp_path / "long.jsonl").write_text(json.dumps({"text": text}) + "\n" + json.dumps({"text": "short"}) + "\n")
    pl.DataFrame({"text": [text, "short"]}).write_parquet(tmp_path / "long.parquet")
    for name in ("long.jsonl", "long.parquet"):
        code = (
            "import resource, pyarrow.parquet; from curate.records import read; from curate.sources import Source\n"
            "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            f"before = peak(); source = Source('domain', 'long', {str(tmp_path)!r}, {name!r}, 1, '0')\n"
            "print(*[len(document.text) for document in read(source)], (peak() - before) // 1024)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        long, short, megabytes = map(int, done.stdout.split())
        assert (long, short) == (len(text), 5) and megabytes < 500, (name, megabytes)


def test_zst_of_several_frames_is_read_whole_and_a_cut_one_refused(tmp_path: Path) -> None:
    import zstandard

    lines = [f'{{"text": "Text number {number}."}}\n'.encode() for number in range(2000)]
    pack = zstandard.ZstdCompressor().compress
    path = tmp_path / "notes.jsonl.zst"
    path.write_bytes(pack(b"".join(lines[:900])) + pack(b"".join(lines[900:])))
    source = Source("domain", "notes", str(tmp_path), path.name, 1, "")
    assert [document.text for document in read(source)] == [f"Text number {number}." for number in range(2000)]
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="cannot be read past record"):
        list(read(source))


def test_a_byte_order_mark_is_no_part_of_the_first_record(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_bytes(b"\xef\xbb\xbf" + b'{"text": "One."}\n')
    [document] = read(Source("domain", "notes", str(tmp_path), "notes.jsonl", 1, ""))
    assert document.text == "One." and "problem" not in document.metadata


def test_a_parquet_string_that_is_not_utf8_is_unreadable(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    raw = pa.array([b"One.", b"caf\xe9", b"Two."], pa.binary())
    pq.write_table(pa.table({"text": pa.StringArray.from_buffers(3, *raw.buffers()[1:])}), tmp_path / "notes.parquet")
    documents = list(read(Source("domain", "notes", str(tmp_path), "notes.parquet", 1, "")))
    assert ["problem" in document.metadata for document in documents] == [False, True, False]
