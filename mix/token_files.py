"""Token files of other trainers as sources of a pool: Megatron-LM's indexed data sets and MosaicML's MDS shards.

The ids are taken as they stand: nothing is added, cut or curated, so benchmark items in them are not looked for. They
must be ids of the run's own tokenizer, which the key `tokenizer` has to name. Documents are called `<source>/<number>`,
by their place in the files from 0 on. mix.build packs them as it packs text it has encoded.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from curate.files import file_identity, is_plain
from mix import read_mds, read_megatron
from mix.config import TokenFilesConfig
from tokenization.encode import Encoded, Encoder


@dataclass(frozen=True)
class Lot:
    """Some documents of a source as tokens."""

    file: Path
    rows: np.ndarray
    """int64 [documents]: where they stand in the file; of token files, in all files together"""
    ids: pl.Series
    encoded: Encoded


@dataclass(frozen=True)
class Format:
    """How a kind of files is read."""

    files: Callable[[Path], list[Path]]
    """All files that belong together, the index first. Raises ValueError where the index is damaged."""
    count: Callable[[Path], int]
    """Documents or rows, as the index counts them."""
    read: Callable[[Path, int], Iterator[tuple[Path, np.ndarray, np.ndarray]]]
    """The documents in order, some at a time: a file, their tokens one after the other (integers of any size), tokens
    of each (int64 [documents]). The id that fills up rows is given."""


FORMATS = {
    "megatron": Format(read_megatron.files, read_megatron.count, read_megatron.read),
    "mds": Format(read_mds.files, read_mds.count, read_mds.read),
}


@dataclass(frozen=True)
class TokenFiles:
    """A source whose documents are tokens already."""

    pool: str
    source: str
    format: str
    path: Path
    padding: int
    """The id that fills up rows, where rows of documents are read (mds)."""

    @cached_property
    def files(self) -> list[Path]:
        """The files, the index first."""
        return FORMATS[self.format].files(self.path)

    @cached_property
    def documents(self) -> int:
        """Documents, or rows of documents, as the index counts them."""
        return FORMATS[self.format].count(self.path)

    def made_of(self) -> dict[str, object]:
        """What the packed bytes depend on."""
        return {"format": self.format, "documents": [[file.name, file_identity(file)] for file in self.files]}

    def ids(self) -> Iterator[pl.Series]:
        """The ids of the documents in order, some at a time."""
        first = 0
        for _, _, lengths in FORMATS[self.format].read(self.path, self.padding):
            yield self._names(np.arange(first, first + len(lengths)))
            first += len(lengths)

    def encoded(self, encoder: Encoder, wanted: np.ndarray | None = None) -> Iterator[Lot]:
        """The documents, or those with the numbers `wanted` (rising), some at a time.

        Raises ValueError where a file is damaged, or has an id that the tokenizer does not have.
        """
        first = 0
        for file, ids, lengths in FORMATS[self.format].read(self.path, self.padding):
            if len(ids) and (ids.min() < 0 or ids.max() >= encoder.vocabulary_size):
                wrong = int(np.flatnonzero((ids < 0) | (ids >= encoder.vocabulary_size))[0])
                number = first + int(np.searchsorted(np.cumsum(lengths), wrong, "right"))
                raise ValueError(
                    f"{file}: document {number}: has the token id {ids[wrong]}, and the tokenizer has ids from 0 to "
                    f"{encoder.vocabulary_size - 1}, so the file was made with another one, or is damaged."
                )
            numbers = np.arange(first, first + len(lengths))
            first += len(lengths)
            if wanted is not None:
                taken = np.isin(numbers, wanted)
                ids, lengths, numbers = ids[np.repeat(taken, lengths)], lengths[taken], numbers[taken]
            encoded = Encoded(ids.astype(encoder.dtype), lengths, f"whoever wrote the {self.format} files")
            yield Lot(file, numbers, self._names(numbers), encoded)

    def _names(self, numbers: np.ndarray) -> pl.Series:
        return pl.Series("id", [f"{self.source}/{number}" for number in numbers.tolist()], pl.String)


def find_token_files(
    file: Path, keys: list[TokenFilesConfig], taken: set[tuple[str, str]], encoder: Encoder, padding: int
) -> list[TokenFiles]:
    """The sources of mix.token_files, in its order; `taken` are pool and name of the sources of text.

    Raises ValueError where a name is taken, the tokenizer is another one, or an index is missing or damaged.
    """
    found = []
    for number, one in enumerate(keys):
        where = f"{file}: mix.token_files[{number}]"
        if not is_plain(one.source) or (one.pool, one.source) in taken:
            raise ValueError(f"{where}.source: {one.source!r} is no name, or one of another source. Choose another.")
        if one.tokenizer != encoder.identity:
            raise ValueError(
                f"{where}.tokenizer: says {one.tokenizer}, and {encoder.folder} is {encoder.identity}, so the ids "
                "would mean something else. Write this identity only if they are of this tokenizer; where they are of "
                "the base's, tokenizer.extend: never keeps it."
            )
        taken = taken | {(one.pool, one.source)}
        found.append(TokenFiles(one.pool, one.source, one.format, Path(one.path), padding))
        try:
            assert found[-1].files and found[-1].documents >= 0
        except ValueError as error:
            raise ValueError(f"{where}.path: {error}") from None
    return found
