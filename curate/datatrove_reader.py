"""Sources read by a datatrove reader of the user's choice, by its dotted name."""

import json
from collections.abc import Iterator
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.readers.base import BaseDiskReader
from loguru import logger

from curate.datatrove_step import load
from curate.records import Accountable, unreadable
from curate.sources import Source

READERS = "datatrove.pipeline.readers"
"""Module whose warnings are about records."""


def reader_class(dotted: str, where: str) -> Any:
    """The reader with this name, made accountable: a record without a text comes out saying so.

    Raises ValueError where datatrove has no such reader, or one that does not read files.
    """
    found = load(dotted, (BaseDiskReader,), "a reader of files", where)
    return type(found.__name__, (Accountable, found), {})


def read_with(source: Source) -> Iterator[Document]:
    """Every record that the source's reader gives; what it logs instead of giving comes out as unreadable."""
    messages: list[str] = []
    sink = logger.add(lambda line: messages.append(line.record["message"]), level="WARNING", filter=READERS)
    number = 0
    try:
        reader = reader_class(source.reader, source.path)(source.root, **json.loads(source.arguments))
        for document in reader.read_file(source.path):
            document.metadata["record"] = number
            yield document
            number += 1
            while messages:
                yield unreadable(number, f"is skipped by {source.reader}: {messages.pop(0)}", "")
                number += 1
        for message in messages:
            yield unreadable(number, f"is skipped by {source.reader}: {message}", "")
            number += 1
    finally:
        logger.remove(sink)
