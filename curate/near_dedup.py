"""Near-duplicate documents, found by MinHash and locality-sensitive hashing and verified by signature agreement."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl
from pydantic import Field, field_validator, model_validator

from curate.stage import Stage, Verdicts, detail

if TYPE_CHECKING:
    from curate.near_index import Addition, Index

LEAST_RECALL = 0.5
"""Below this share of pairs found at `threshold` the bands do not fit it, and the stage refuses the keys."""
OTHER_BYTES = 100
"""Bytes a document in memory for its id and verdict, beside its signature and the tables of the bands."""


class NearDedup(Stage, name="near_dedup"):
    """Drops documents whose text nearly repeats an earlier, kept document.

    Similarity is the Jaccard similarity of two documents' sets of word `ngram`s, with case, accents, punctuation and
    numbers folded. A pair of similarity s is compared with probability 1 - (1 - s^rows)^bands (Broder 1997; Leskovec,
    Rajaraman, Ullman, Mining of Massive Datasets, 3.4): with 14 bands of 8 rows .56 at s = .7, .92 at .8 and .999 at
    .9. It is then verified: the share of agreeing signature positions estimates s, and has to reach `verify`.
    Documents are decided in order and compared with every kept one that shares a band, so the first of a group is the
    one kept, whatever the number of workers or the memory.
    Reasons: near_duplicate; detail: duplicate_of (the first kept document it repeats), similarity (the share of
    agreeing positions).
    On 45,212 real documents with planted copies it keeps at most one of .999 of the pairs of J >= .8; .99 of the
    documents it removes have a kept partner of J >= .7. 240 MB/s on one core, Parquet to Parquet. J = .8 with 5-grams
    means about 2 % of the words edited; rewritten text is not found. Signatures are made in parallel; deciding is one
    process and takes some 5 microseconds and 750 bytes a document, up to `memory_mb`.
    """

    version: ClassVar[int] = 2
    is_global: ClassVar[bool] = True

    threshold: float = 0.8
    """Jaccard similarity from which two documents count as near-duplicates; pairs above it are found."""
    verify: float | None = None
    """Share of signature positions that must agree; by default two standard errors of that estimate below
    `threshold`, .72 for .8 and 112 positions: nearly all pairs above `threshold` pass, few below .7 do."""
    ngram: int = Field(5, ge=1)
    """Words in an n-gram."""
    bands: int = Field(14, ge=1)
    """Bands of the signature; more find pairs of lower similarity."""
    rows: int = Field(8, ge=1)
    """Positions in a band; fewer find pairs of lower similarity and compare more."""

    index: str | None = None
    """Folder that keeps signatures and ids of the documents this stage kept, as Parquet, 570 bytes a document: a run
    is compared with what earlier runs put there and adds its own, so that crawls in turn keep what one run over all of
    them, in that order, keeps. A file that was read before, of the same name and bytes, is not compared with itself;
    run again, a run replaces its own. None: no index."""
    memory_mb: int = Field(4000, ge=1, exclude=True)
    """Megabytes for signatures and their tables while deciding, about 750 bytes a document with 112 positions. More
    documents are decided in blocks of that size, each after those kept before it, whose keys are then read from disk
    again, half a microsecond a document; verdicts are the same. Beside it the process needs some 450 MB."""

    @field_validator("threshold", "verify")
    @classmethod
    def _a_share(cls, value: float | None) -> float | None:
        if value is not None and not 0 < value <= 1:
            follows = "nothing would ever match" if value > 1 else "everything would match"
            raise ValueError(f"{value} is not between 0 and 1, so {follows}. Set a Jaccard similarity, e.g. 0.8.")
        return value

    @model_validator(mode="after")
    def _bands_fit(self) -> "NearDedup":
        recall = found(self.threshold, self.bands, self.rows)
        if recall < LEAST_RECALL:
            rows = next((rows for rows in range(self.rows, 0, -1) if found(self.threshold, self.bands, rows) > 0.9), 1)
            raise ValueError(
                f"with bands: {self.bands} and rows: {self.rows} only {recall:.0%} of the pairs at threshold: "
                f"{self.threshold} would be compared. Set rows: {rows}, or more bands"
            )
        return self

    @property
    def agree(self) -> int:
        """Signature positions that must agree."""
        positions = self.bands * self.rows
        share = self.verify
        if share is None:
            share = self.threshold - 2 * math.sqrt(self.threshold * (1 - self.threshold) / positions)
        return max(1, math.ceil(share * positions - 1e-9))

    def warm_up(self) -> None:
        """Compile the signature kernel."""
        from curate.kernels.minhash import signatures

        signatures(pl.Series(["text"]), self.ngram, self.bands * self.rows)

    def measure(self, documents: pl.DataFrame) -> pl.DataFrame:
        """The signature of every document, a row of datasketch's scheme "affine32" with seed 1."""
        from curate.kernels.minhash import signatures

        rows = signatures(documents["text"], self.ngram, self.bands * self.rows)
        return pl.DataFrame({"signature": pl.Series(rows, dtype=pl.Array(pl.UInt32, rows.shape[1]))})

    def inputs(self) -> list[str]:
        """The segments of the index before this run's own: what it and others add after them changes nothing here."""
        index = self._index()
        if index is None:
            return []
        index.refuse_lost(self.workspace.folder)
        return [str(segment.manifest) for segment in index.before]

    def decide(self, measured: Iterable[pl.DataFrame]) -> Iterator[Verdicts]:
        """Verdicts in global order, block by block; after the last one the index takes in what is kept."""
        from curate.near_index import Addition

        index = self._index()
        earlier = [file for segment in index.before for file in segment.files] if index else []
        kept = index.addition() if index else Addition(self.workspace.folder / "kept")
        try:
            blocks = self._blocks(measured)
            while block := next(blocks, None):
                yield from self._decided(block, earlier + kept.files, index, kept)
                del block  # its memory is for the next one
            if index:
                index.put_in_place(kept)
                index.remember(self.workspace.folder)
        finally:
            kept.discard()

    def _blocks(self, measured: Iterable[pl.DataFrame]) -> Iterator["_Block"]:
        """Whole parts, as many as the memory holds, at least one."""
        positions = self.bands * self.rows
        most = self.memory_mb * 1_000_000 // (4 * positions + 14 * self.bands + OTHER_BYTES)
        parts: list[tuple[pl.Series, np.ndarray]] = []
        documents = 0
        for part in measured:
            if parts and documents + part.height > most:
                yield _block(parts, last=False)
                documents = 0
            parts.append((part["id"], _matrix(part["signature"], positions)))
            documents += part.height
        if parts:
            yield _block(parts, last=True)

    def _decided(
        self, block: "_Block", earlier: list[Path], index: "Index | None", kept: "Addition"
    ) -> Iterator[Verdicts]:
        """Verdicts of a block's parts, after the documents in the files `earlier`; `kept` takes in what is new."""
        from curate import near_index
        from curate.kernels.near_duplicates import find_duplicates

        first = near_index.documents_in(earlier)
        of, agreement = find_duplicates(
            block.signatures, self.bands, self.rows, self.agree, near_index.documents(earlier)
        )
        names = near_index.ids(earlier, np.unique(of[(of >= 0) & (of < first)]))
        within = np.unique(of[of >= first])
        names.update(zip(within.tolist(), block.ids.gather(within - first).to_list(), strict=True))
        if index or not block.last:
            kept.add(block.ids, block.signatures, np.flatnonzero(of < 0), self.bands, self.rows)
        if index:
            for row in np.flatnonzero((of >= 0) & (of < first)).tolist():
                if names[of[row]] == block.ids[row] and index.holds(of[row], block.ids[row]):
                    of[row] = -1  # kept before, when this file was read
        start = 0
        for height in block.heights:
            part = slice(start, start + height)
            yield _verdicts(of[part], agreement[part] / block.signatures.shape[1], names)
            start += height

    def _index(self) -> "Index | None":
        """The index as this run sees it. Raises ValueError where its signatures were made with other keys."""
        from curate.kernels.minhash import HASHES
        from curate.near_index import Index

        if self.index is None:
            return None
        assert self.workspace.sources, "an index knows a run by its sources"
        keys = {"ngram": self.ngram, "bands": self.bands, "rows": self.rows, "hashes": HASHES}
        return Index(Path(self.index), self.workspace.sources, keys, f"{self.workspace.where}.index")


@dataclass
class _Block:
    """Parts that are decided together."""

    ids: pl.Series
    signatures: np.ndarray
    """[documents, positions]."""
    heights: list[int]
    """Documents of each part."""
    last: bool
    """Whether no block comes after it."""


def _block(parts: list[tuple[pl.Series, np.ndarray]], last: bool) -> _Block:
    """The parts as one block; the list is emptied on the way, so that its memory is not needed twice."""
    heights = [len(ids) for ids, _ in parts]
    ids = pl.concat([ids for ids, _ in parts])
    signatures = np.empty((sum(heights), parts[0][1].shape[1]), np.uint32)
    start = 0
    for height in heights:
        signatures[start : start + height] = parts.pop(0)[1]
        start += height
    return _Block(ids, signatures, heights, last)


def found(similarity: float, bands: int, rows: int) -> float:
    """Probability that two documents of that Jaccard similarity agree in at least one band.

    >>> round(found(0.8, 14, 8), 3)
    0.924
    """
    return 1 - (1 - similarity**rows) ** bands


def _matrix(signatures: pl.Series, positions: int) -> np.ndarray:
    """[documents, positions] of a column of arrays."""
    return (
        signatures.explode().to_numpy().reshape(-1, positions)
        if len(signatures)
        else np.empty((0, positions), np.uint32)
    )


def _verdicts(of: np.ndarray, similarity: np.ndarray, names: dict[int, str]) -> Verdicts:
    reason: list[str | None] = [None] * len(of)
    evidence: list[str | None] = [None] * len(of)
    for row in np.flatnonzero(of >= 0).tolist():
        reason[row] = "near_duplicate"
        evidence[row] = detail(duplicate_of=names[int(of[row])], similarity=round(float(similarity[row]), 3))
    return Verdicts(pl.Series("reason", reason, pl.String), pl.Series("detail", evidence, pl.String))
