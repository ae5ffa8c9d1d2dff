"""Records in: datatrove's readers, made accountable.

datatrove's readers log and skip what they cannot read. Here every record of a file comes out: as a document, or as a
document that says what is wrong with it (`problem` in its metadata), which the ledger then keeps; with JSON lines and
WARC `offset` is the byte of the uncompressed file where the record begins. A file that ends in the middle of its
compression stream or of a WARC record raises: nobody knows what is missing. HTML stays HTML here; the stage `extract`
turns it into text.
"""

import codecs
import gzip
import hashlib
import io
import lzma
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import pyarrow as pa
from datatrove.data import Document
from datatrove.pipeline.readers import JsonlReader, ParquetReader
from datatrove.pipeline.readers.base import BaseDiskReader

from curate.config import Reformat
from curate.parts import EXCERPT
from curate.reformat import NoAnswer, as_text, identifier
from curate.sources import Source
from pipelines.storage import reached

PARQUET_ROWS = 256
"""Rows taken from a Parquet file at a time: few, so that long texts do not add up."""


class Accountable(BaseDiskReader):
    """Turns a record into a document, or into one that carries its problem."""

    reformat: Reformat | None = None
    """How records without a text become one; None: they have a text."""

    @contextmanager
    def opened(self, filepath: str) -> Iterator[Any]:
        """The file's bytes, decompressed by its ending; one that is cut short raises."""
        if filepath.endswith(".zst"):  # fsspec's reader stops without a word at a frame's end and at a missing one
            with self.data_folder.open(filepath, "rb") as file:
                yield io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd"))  # type: ignore[type-var]
        else:
            with self.data_folder.open(filepath, "rb", compression="infer") as file:
                yield file

    def get_document_from_dict(self, data: Any, source_file: str, id_in_file: int | str) -> Document:
        if not isinstance(data, dict):
            return unreadable(id_in_file, f"is {type(data).__name__}, not an object with a text", str(data))
        if self.reformat:
            return self._reformatted(data, id_in_file, self.reformat)
        text = data.get(self.text_key)
        if not isinstance(text, str):
            found = "no text" if self.text_key not in data else f"a text that is {type(text).__name__}"
            return unreadable(id_in_file, f"has {found}; its keys: {', '.join(map(str, data))[:100]}", "")
        own = data.get(self.id_key)
        if own is None or own == "":
            own = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        return Document(text=text, id=str(own), metadata={"record": id_in_file})

    def _reformatted(self, data: dict[str, Any], id_in_file: int | str, keys: Reformat) -> Document:
        own = identifier(data, data.get(self.id_key))
        try:
            return Document(text=as_text(data, own, keys), id=own, metadata={"record": id_in_file})
        except NoAnswer as problem:
            return unreadable(id_in_file, str(problem), "")


class JsonlRecords(Accountable, JsonlReader):
    """JSON lines; each line is a record."""

    def read_file(self, filepath: str) -> Iterator[Document]:
        with self.opened(filepath) as file:
            offset = 0
            for number, line in enumerate(file):
                start, offset = offset, offset + len(line)
                if number == 0:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if line.isspace():
                    continue
                try:
                    document = self.get_document_from_dict(orjson.loads(line), filepath, number)
                except orjson.JSONDecodeError as error:
                    document = unreadable(number, _json_problem(line, error), line[:EXCERPT].decode("utf-8", "replace"))
                document.metadata["offset"] = start
                yield document


class ParquetRecords(Accountable, ParquetReader):
    """Parquet; each row is a record. A file without a text column is refused."""

    def read_file(self, filepath: str) -> Iterator[Document]:
        import pyarrow.parquet as pq

        with self.opened(filepath) as file:
            parquet = pq.ParquetFile(file)
            columns = parquet.schema_arrow.names
            needed = self.reformat.question if self.reformat else self.text_key
            if needed not in columns:
                raise ValueError(
                    f"{self.data_folder.path}/{filepath}: has no column {needed!r} (it has "
                    f"{', '.join(columns)}), so it gives no document. Rename the column, or take the file out."
                )
            wanted = columns if self.reformat else [one for one in (self.text_key, self.id_key) if one in columns]
            number = 0
            for batch in parquet.iter_batches(batch_size=PARQUET_ROWS, columns=wanted):
                for row in _rows(batch):
                    bad = isinstance(row, UnicodeDecodeError)
                    yield (
                        unreadable(number, f"is not UTF-8 ({row})", "")
                        if bad
                        else self.get_document_from_dict(row, filepath, number)
                    )
                    number += 1


def _rows(batch: pa.RecordBatch) -> list[Any]:
    """The rows as objects, or the error where a string is not UTF-8."""
    try:
        return batch.to_pylist()
    except UnicodeDecodeError as error:
        if batch.num_rows == 1:
            return [error]
        return [row for number in range(batch.num_rows) for row in _rows(batch.slice(number, 1))]


class TextRecords(Accountable):
    """Plain text; a file is one record."""

    def read_file(self, filepath: str) -> Iterator[Document]:
        with self.opened(filepath) as file:
            content = file.read()
        try:
            yield self.get_document_from_dict({"text": content.decode("utf-8")}, filepath, 0)
        except UnicodeDecodeError as error:
            excerpt = content[:EXCERPT].decode("utf-8", "replace")
            yield unreadable(0, f"is not UTF-8 from byte {error.start} on", excerpt)


class HtmlRecords(Accountable):
    """A page of HTML; a file is one record, its name the record's id."""

    def read_file(self, filepath: str) -> Iterator[Document]:
        from curate.web import decoded

        with self.opened(filepath) as file:
            content = file.read()
        text, name = decoded(content), filepath.rpartition("/")[2]
        if text is None:
            yield unreadable(0, f"({name}) is in no known encoding", content[:EXCERPT].decode("latin-1"))
        else:
            yield self.get_document_from_dict({"text": text, "id": name}, filepath, 0)


class WarcRecords(Accountable):
    """WARC and WET; each response, resource or conversion is a record, by the number it has among all of the file.

    The other types (warcinfo, request, metadata, revisit) hold no page. A page that is not HTML or text is unreadable.
    """

    def read_file(self, filepath: str) -> Iterator[Document]:
        from curate.web import page_of, warc_records

        with self.opened(filepath) as file:
            for number, (offset, record) in enumerate(warc_records(file)):
                page = page_of(record)
                if page is None:
                    continue
                if page.problem:
                    document = unreadable(number, page.problem, page.url)
                else:
                    document = self.get_document_from_dict({"text": page.text, "id": page.id}, filepath, number)
                document.metadata["offset"] = offset
                yield document


READERS: dict[str, type[Accountable]] = {
    ".jsonl": JsonlRecords,
    ".parquet": ParquetRecords,
    ".txt": TextRecords,
    ".html": HtmlRecords,
    ".warc": WarcRecords,
    ".wet": WarcRecords,
}


def read(source: Source) -> Iterator[Document]:
    """Every record of a source, in order.

    Raises ValueError where the file is cut short, corrupt or holds no record.
    """
    count = 0
    with reached(source.root, f"{source.pool}: {source.path}"):
        try:
            for document in _documents(source):
                count += 1
                yield document
        except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, OSError, pa.ArrowException) as error:
            raise ValueError(
                f"{source.root}/{source.path}: cannot be read past record {count} ({error}), so an unknown number of "
                f"documents is missing. Fetch the file again, or take it out of {source.pool}."
            ) from None
    if count == 0:
        raise ValueError(f"{source.root}/{source.path}: holds no record. Refill it, or take it out of {source.pool}.")


def _documents(source: Source) -> Iterator[Document]:
    if source.reader:
        from curate.datatrove_reader import read_with

        return read_with(source)
    reader = READERS[source.format](source.root)
    reader.reformat = reformat_of(source)
    return _pages(reader, source.pages) if source.pages else reader.read_file(source.path)


def reformat_of(source: Source) -> Reformat | None:
    """How the source's records become text."""
    return Reformat.model_validate_json(source.reformat) if source.reformat else None


def _pages(reader: Accountable, paths: Sequence[str]) -> Iterator[Document]:
    for number, path in enumerate(paths):
        for document in reader.read_file(path):
            document.metadata["record"] = number
            yield document


def unreadable(number: int | str, problem: str, excerpt: str) -> Document:
    """A document that stands for a record that is none; the ledger shows the excerpt, or the problem."""
    return Document(
        text=excerpt[:EXCERPT] or problem, id=f"record-{number}", metadata={"record": number, "problem": problem}
    )


def _json_problem(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as bad:
        return f"is not UTF-8 from byte {bad.start} of the line on"
    return f"is not JSON ({error})"
