"""Records in: datatrove's readers, made accountable.

datatrove's readers log and skip what they cannot read. Here every record of a file comes out: as a document, or as a
document that says what is wrong with it (`problem` in its metadata), which the ledger then keeps. A file that ends in
the middle of its compression stream raises: nobody knows what is missing.
"""

import gzip
import hashlib
import lzma
import zlib
from collections.abc import Iterator
from typing import Any

import orjson
from datatrove.data import Document
from datatrove.pipeline.readers import JsonlReader, ParquetReader
from datatrove.pipeline.readers.base import BaseDiskReader

from curate.parts import EXCERPT
from curate.sources import Source


class _Accountable(BaseDiskReader):
    """Turns a record into a document, or into one that carries its problem."""

    def get_document_from_dict(self, data: Any, source_file: str, id_in_file: int | str) -> Document:
        if not isinstance(data, dict):
            return _unreadable(id_in_file, f"is {type(data).__name__}, not an object with a text", str(data))
        text = data.get(self.text_key)
        if not isinstance(text, str):
            found = "no text" if self.text_key not in data else f"a text that is {type(text).__name__}"
            return _unreadable(id_in_file, f"has {found}; its keys: {', '.join(map(str, data))[:100]}", "")
        own = data.get(self.id_key)
        if own is None or own == "":
            own = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        return Document(text=text, id=str(own), metadata={"record": int(id_in_file)})


class JsonlRecords(_Accountable, JsonlReader):
    """JSON lines; each line is a record."""

    def read_file(self, filepath: str) -> Iterator[Document]:
        with self.data_folder.open(filepath, "rb", compression=self.compression) as file:
            for number, line in enumerate(file):
                if line.isspace():
                    continue
                try:
                    yield self.get_document_from_dict(orjson.loads(line), filepath, number)
                except orjson.JSONDecodeError as error:
                    yield _unreadable(number, _json_problem(line, error), line.decode("utf-8", "replace"))


class ParquetRecords(_Accountable, ParquetReader):
    """Parquet; each row is a record. A file without a text column is refused."""

    def read_file(self, filepath: str) -> Iterator[Document]:
        import pyarrow.parquet as pq

        with self.data_folder.open(filepath, "rb") as file:
            columns = pq.ParquetFile(file).schema_arrow.names
        if self.text_key not in columns:
            raise ValueError(f"{filepath}: has no column {self.text_key!r} (it has {', '.join(columns)}).")
        for number, document in enumerate(super().read_file(filepath)):
            document.metadata["record"] = number
            yield document


class TextRecords(_Accountable):
    """Plain text; a file is one record."""

    def read_file(self, filepath: str) -> Iterator[Document]:
        with self.data_folder.open(filepath, "rb", compression="infer") as file:
            content = file.read()
        try:
            yield self.get_document_from_dict({"text": content.decode("utf-8")}, filepath, 0)
        except UnicodeDecodeError as error:
            yield _unreadable(
                0, f"is not UTF-8 from byte {error.start} on", content[:EXCERPT].decode("utf-8", "replace")
            )


READERS: dict[str, type[_Accountable]] = {".jsonl": JsonlRecords, ".parquet": ParquetRecords, ".txt": TextRecords}


def read(source: Source) -> Iterator[Document]:
    """Every record of a source, in order.

    Raises ValueError where the file is cut short, corrupt or holds no record.
    """
    count = 0
    try:
        for document in READERS[source.format](source.root).read_file(source.path):
            count += 1
            yield document
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, OSError) as error:
        raise ValueError(
            f"{source.root}/{source.path}: cannot be read past record {count} ({error}), so an unknown number of "
            f"documents is missing. Fetch the file again, or take it out of {source.pool}."
        ) from None
    if count == 0:
        raise ValueError(f"{source.root}/{source.path}: holds no record. Refill it, or take it out of {source.pool}.")


def _unreadable(number: int | str, problem: str, excerpt: str) -> Document:
    # A datatrove document must have some text; the problem stands in for it.
    return Document(
        text=excerpt[:EXCERPT] or problem, id=f"record-{number}", metadata={"record": number, "problem": problem}
    )


def _json_problem(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as bad:
        return f"is not UTF-8 from byte {bad.start} of the line on"
    return f"is not JSON ({error})"
