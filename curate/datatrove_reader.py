"""Sources read by a datatrove reader of the user's choice, by its dotted name."""

import json
from collections.abc import Iterator
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.readers.base import BaseDiskReader
from loguru import logger

from curate.datatrove_step import load
from curate.records import Accountable, reformat_of, unreadable
from curate.sources import Source

CHOOSING = {"data_folder", "paths_file", "limit", "skip", "recursive", "glob_pattern", "shuffle_files", "adapter"}
"""Arguments by which a reader would choose files or records."""
READERS = "datatrove.pipeline.readers"
"""Module whose warnings are about records."""


def reader_class(dotted: str, where: str) -> Any:
    """The reader with this name, made accountable: a record without a text comes out saying so.

    Raises ValueError where datatrove has no such reader, or one that does not read files.
    """
    found = load(dotted, (BaseDiskReader,), "a reader of files", where)
    return found if issubclass(found, Accountable) else type(found.__name__, (Accountable, found), {})


def make_reader(dotted: str, root: str, arguments: dict[str, Any], where: str) -> Any:
    """The reader of one source. Raises ValueError for arguments that it does not take, or that choose files."""
    if own := sorted(set(arguments) & CHOOSING):
        raise ValueError(f"{where}: {dotted}: the argument {own[0]} has no effect here: `files` chooses. Take it out.")
    try:
        return reader_class(dotted, where)(root, **arguments)
    except TypeError as error:
        raise ValueError(f"{where}: {dotted} cannot be made from its arguments ({error}). Correct them.") from None


def _given(reader: Any, source: Source) -> Iterator[Document]:
    try:
        yield from reader.read_file(source.path)
    except (OSError, EOFError):
        raise  # `records.read` says what follows
    except Exception as error:
        raise ValueError(
            f"{source.root}/{source.path}: {source.reader} cannot read it ({type(error).__name__}: {error}), so an "
            f"unknown number of documents is missing. Mend the file, or take it out of {source.pool}."
        ) from error


def read_with(source: Source) -> Iterator[Document]:
    """Every record that the source's reader gives; what it logs instead of giving comes out as unreadable."""
    messages: list[str] = []
    sink = logger.add(lambda line: messages.append(line.record["message"]), level="WARNING", filter=READERS)
    number = 0
    try:
        reader = make_reader(source.reader, source.root, json.loads(source.arguments), source.path)
        reader.reformat = reformat_of(source)
        for document in _given(reader, source):
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
