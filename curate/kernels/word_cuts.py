"""The words that substring_dedup cuts from a part, and where they lie in the texts."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from curate.repeats import starts_of, values_of

WORD_BYTES = 6
"""Bytes of a word's hash as measured."""


@dataclass
class Cuts:
    """What is cut from one part: runs of words, each with its document's place in the part."""

    document: np.ndarray
    """int64, ascending."""
    begin: np.ndarray
    """int64: the run's first word, counted in its document; ascending in a document."""
    end: np.ndarray
    """int64: the word behind its last one."""
    owner: np.ndarray
    """int64: number, in global order, of the document that keeps the words."""
    dropped: np.ndarray
    """bool [documents]: of which too little is left."""

    @classmethod
    def none(cls, documents: int) -> "Cuts":
        """Nothing cut from a part of so many documents."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty, empty, np.zeros(documents, bool))

    @property
    def rows(self) -> np.ndarray:
        """The documents cut, ascending."""
        return np.unique(self.document)

    def also(self, part: pl.DataFrame, document: np.ndarray, word: np.ndarray, owner: np.ndarray, dropped: np.ndarray):  # type: ignore[no-untyped-def]
        """These cuts and those of some more words, runs beside each other with one owner joined."""
        rows = np.union1d(self.rows, document)
        starts = starts_of(part["words"].gather(rows), WORD_BYTES)
        owners = self._owners(rows, starts)
        owners[starts[np.searchsorted(rows, document)] + word] = owner
        begin = np.unique(np.concatenate([np.flatnonzero(np.diff(owners)) + 1, starts[:-1]]))
        end = np.append(begin[1:], len(owners))
        cut = owners[begin] >= 0
        begin, end = begin[cut], end[cut]
        place = np.searchsorted(starts, begin, side="right") - 1
        from_first = starts[place]
        return Cuts(rows[place], begin - from_first, end - from_first, owners[begin], self.dropped | dropped)

    def left(self, part: pl.DataFrame, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What is left of the documents `rows`, ascending; a dropped one has nothing left.

        Returns (documents, words, hashes, starts): for each word left its document's place in the part, its number in
        it and its hash, and where each document's words begin among them.
        """
        hashes, starts = hashes_of(part[rows])
        gone = np.repeat(self.dropped[rows], np.diff(starts))
        kept = np.flatnonzero((self._owners(rows, starts) < 0) & ~gone)
        place = np.searchsorted(starts, kept, side="right") - 1
        return rows[place], kept - starts[place], hashes[kept], np.searchsorted(kept, starts)

    def _owners(self, rows: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """By word of the documents `rows`, whose words begin at `starts`: the owner, or -1 where it is not cut."""
        owners = np.full(starts[-1], -1, np.int64)
        here = np.isin(self.document, rows)
        first = starts[np.searchsorted(rows, self.document[here])] + self.begin[here]
        sizes = self.end[here] - self.begin[here]
        inside = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        owners[np.repeat(first, sizes) + inside] = np.repeat(self.owner[here], sizes)
        return owners


def byte_spans(runs: list[list[int]], begins: np.ndarray, ends: np.ndarray, gaps: np.ndarray) -> list[tuple[int, int]]:
    """The bytes to cut for runs of words [begin, end), some beside each other; see `word_places` for the arrays.

    Of the gaps around a cut the stronger one stays, the one before it where they are alike; none at the text's ends.
    """
    words, spans = len(begins) - 1, []
    for place, (begin, end) in enumerate(runs):
        joined, goes_on = place and runs[place - 1][1] == begin, place + 1 < len(runs) and runs[place + 1][0] == end
        if not joined:
            last = place
            while last + 1 < len(runs) and runs[last + 1][0] == runs[last][1]:
                last += 1
            behind = runs[last][1]
            keep_behind = begin > 0 and (behind == words or gaps[behind] > gaps[begin])
        start = begins[begin] if joined or not keep_behind else ends[begin - 1]
        stop = ends[end - 1] if keep_behind and not goes_on and end < words else begins[end]
        spans.append((0 if begin == 0 else int(start), int(stop)))
    return spans


def hashes_of(part: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The word hashes (uint64) of a part's documents, and where each document's begin."""
    from curate.kernels.spaced_words import unpacked

    data, _ = values_of(part["words"], np.uint8)
    return unpacked(data), starts_of(part["words"], WORD_BYTES)


def places_of(part: pl.DataFrame) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """By document: where its words begin and end, and the gap before each, see `word_places`."""
    from curate.kernels.spaced_words import word_places

    places, starts = values_of(part["places"], np.uint16)
    far, far_starts = values_of(part["far"], np.uint32)
    found = []
    for row in range(part.height):
        low, high = starts[row : row + 2]
        begins, ends, gaps = (np.empty(high - low, np.int64) for _ in range(3))
        word_places(places[low:high], far[far_starts[row] : far_starts[row + 1]], begins, ends, gaps)
        found.append((begins, ends, gaps))
    return found
