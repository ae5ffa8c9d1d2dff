"""Spans of words that stand in the corpus more than once, wherever they lie in a document."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from curate.kernels.word_cuts import Cuts, byte_spans, hashes_of, places_of
from curate.repeats import column, edits_and_drops, ids_of, values_of
from curate.stage import Stage, Verdicts, detail

ANCHORS_AT_ONCE = 1 << 27
"""Anchors sorted at a time, 16 bytes each (2 GB); where there are more, they are gone through by ranges."""


class SubstringDedup(Stage, name="substring_dedup"):
    """Cuts spans of at least `min_words` words that stood before, in an earlier document or earlier in the same one.

    The first occurrence is kept. Words are as they are written (see kernels.spaced_words): white space does not count,
    case and punctuation do. Exact, not a sample: afterwards no `min_words` words in a row stand twice in the corpus,
    also not where a cut has joined what stood around it, and the same stage run again cuts nothing.
    Lee et al. 2021 (arXiv 2107.06499) cut repeats of 50 BPE tokens by a suffix array, some 38 English words; by default
    this stage is a little more careful.
    A cut begins and ends between words and leaves the stronger of the two gaps (an empty line, the end of a line, a
    space). Reasons: repeated_span for a cut; detail: first_in, the document that keeps the span, and words. A span
    of which pieces stand in different documents is several edits beside each other. nothing_left for a document of
    which too little is left; detail: first_in (of its first cut), words, left.
    Words are compared by hashes of 48 bits, spans by 96 bits over these.
    Memory: 10 bits per word of the corpus, at most 2 GB, to find what may repeat, then 21 to 43 bytes for every word
    of text that does (counted once) and 32 bytes a cut. Measured numbers on disk: .76 of the text's bytes.
    60 MB/s on one core, Parquet to Parquet; ten times as fast as finding the spans by a suffix array.
    """

    is_global: ClassVar[bool] = True
    edits: ClassVar[bool] = True

    min_words: int = Field(50, ge=2)
    """Words a span must have to be cut; longer ones are cut whole. Below some 20, phrases that everybody writes go."""
    min_left: int = Field(10, ge=1)
    """Words a document must have left after a cut; with fewer it is dropped. 1 drops it only where nothing is left."""

    @model_validator(mode="after")
    def _kept_spans_stay(self) -> "SubstringDedup":
        if self.min_left > self.min_words:
            raise ValueError(
                f"min_left: {self.min_left} is above min_words: {self.min_words}, so a document that keeps the first "
                "occurrence of a span could be dropped and the span be lost. Set min_left to at most min_words."
            )
        return self

    def warm_up(self) -> None:
        """Compile the kernels."""
        measured = self.measure(pl.DataFrame({"text": ["a b c d " * self.min_words] * 2}))
        list(self.decide([measured.with_columns(id=pl.lit("notes/1"))]))

    def measure(self, documents: pl.DataFrame) -> pl.DataFrame:
        """Every word's hash (6 bytes) and place (2 bytes), and the anchors (see kernels.repeated_spans), as bytes."""
        from curate.kernels.repeated_spans import anchors_of
        from curate.kernels.spaced_words import packed, spaced_words

        words = spaced_words(documents["text"])
        anchors, runs, anchor_starts = anchors_of(words.hashes, words.starts, self.min_words)
        return pl.DataFrame(
            {
                "words": column(packed(words.hashes), words.starts),
                "places": column(words.places, words.starts + np.arange(len(words.starts))),
                "far": column(words.far, words.far_starts),
                "anchors": column(anchors, anchor_starts),
                "runs": column(runs, anchor_starts),
            }
        )

    def decide(self, measured: Iterable[pl.DataFrame]) -> Iterator[Verdicts]:
        """Edits in global order; goes through `measured` some five times."""
        wanted = repeated_anchors(measured)
        cuts: dict[int, Cuts] = {}
        while len(wanted):
            wanted = self._round(measured, wanted, cuts)
        owners = [cut.owner for cut in cuts.values()]
        ids = ids_of(measured, np.unique(np.concatenate(owners))) if owners else {}
        for number, part in enumerate(measured):
            yield _verdicts(part, cuts.get(number), ids)

    def _round(self, measured: Iterable[pl.DataFrame], wanted: np.ndarray, cuts: dict[int, Cuts]) -> np.ndarray:
        """Cut what repeats among the windows with a `wanted` anchor; returns the anchors of windows across new seams.

        Of two windows that are equal after a round one is across a seam: else the later one would have been cut.
        """
        from curate.kernels.owner_table import OwnerTable
        from curate.kernels.repeated_spans import cut_repeats, set_of, wanted_windows

        table, slots, seams, first = OwnerTable.empty(), set_of(wanted), [np.empty(0, np.uint64)], 0
        for number, part in enumerate(measured):
            before = cuts.get(number) or Cuts.none(part.height)
            left = before.left(part, before.rows)
            anchors, runs, bounds = self._anchors(part, before.rows, left)
            is_wanted, counts = np.empty(len(anchors), bool), np.empty(part.height, np.int64)
            wanted_windows(anchors, runs, bounds, slots, is_wanted, counts)
            if counts.any():
                fresh = np.setdiff1d(np.flatnonzero(counts), before.rows)
                table = table.with_room(int(counts.sum()))
                documents, words, hashes, word_bounds = _words(part, fresh, before.rows, left)
                cut, dropped = np.full(len(hashes), -1, np.int64), np.zeros(part.height, bool)
                table.used += cut_repeats(
                    hashes, word_bounds, runs, bounds, is_wanted, counts, first, self.min_words, self.min_left,
                    table.keys, table.checks, table.owners, cut, dropped,
                )  # fmt: skip
                gone = np.flatnonzero(cut >= 0)
                if len(gone):
                    cuts[number] = before.also(part, documents[gone], words[gone], cut[gone], dropped)
                    seams.append(self._seam_anchors(part, cuts[number], np.unique(documents[gone])))
            first += part.height
        return np.unique(np.concatenate(seams))

    def _anchors(
        self, part: pl.DataFrame, rows: np.ndarray, left: tuple[np.ndarray, ...]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Anchors, runs, each document's bounds [documents, 2]: as measured, or of what is `left` of `rows`."""
        from curate.kernels.repeated_spans import anchors_of

        anchors, starts = values_of(part["anchors"], np.uint64)
        runs, _ = values_of(part["runs"], np.uint32)
        bounds = _bounds(starts)
        if len(rows):
            new, new_runs, new_starts = anchors_of(left[2], left[3], self.min_words)
            bounds[rows] = _bounds(new_starts) + len(anchors)
            anchors, runs = np.concatenate([anchors, new]), np.concatenate([runs, new_runs])
        return anchors, runs, bounds

    def _seam_anchors(self, part: pl.DataFrame, cuts: Cuts, rows: np.ndarray) -> np.ndarray:
        """The anchors of the windows that cuts inside the documents `rows` have made."""
        from curate.kernels.repeated_spans import anchors_of

        _, words, hashes, starts = cuts.left(part, rows)
        anchors, runs, anchor_starts = anchors_of(hashes, starts, self.min_words)
        seams = np.setdiff1d(np.flatnonzero(np.diff(words) != 1) + 1, starts)
        of = np.repeat(np.arange(len(rows)), np.diff(anchor_starts))
        passed = np.concatenate([[0], np.cumsum(runs, dtype=np.int64)])
        window = starts[of] + passed[:-1] - passed[anchor_starts[of]]
        # the windows from `window` on, `runs` of them, hold words on both sides of a seam if it is in this range
        low = np.searchsorted(seams, window + 1)
        high = np.searchsorted(seams, window + runs + self.min_words - 2, side="right")
        return np.unique(anchors[low < high])


def _bounds(starts: np.ndarray) -> np.ndarray:
    """[documents, 2]: where each document begins and ends."""
    return np.stack([starts[:-1], starts[1:]], axis=1)


def _words(
    part: pl.DataFrame, fresh: np.ndarray, rows: np.ndarray, left: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The words of the documents `fresh`, and behind them what is `left` of `rows`.

    By word its document, its number there and its hash; by document of the part its bounds, [documents, 2].
    """
    hashes, starts = hashes_of(part[fresh])
    sizes = np.diff(starts)
    bounds = np.zeros((part.height, 2), np.int64)
    bounds[fresh] = _bounds(starts)
    bounds[rows] = _bounds(left[3]) + len(hashes)
    documents = np.concatenate([np.repeat(fresh, sizes), left[0]])
    words = np.concatenate([np.arange(len(hashes)) - np.repeat(starts[:-1], sizes), left[1]])
    return documents, words, np.concatenate([hashes, left[2]]), bounds


def repeated_anchors(measured: Iterable[pl.DataFrame]) -> np.ndarray:
    """The anchors that occur more than once, ascending."""
    found, low = [], 0
    while low < 1 << 64:
        high, chunks, size = (1 << 64) - 1, [], 0
        for part in measured:
            anchors, _ = values_of(part["anchors"], np.uint64)
            chunks.append(anchors[(anchors >= low) & (anchors <= high)] if low or high + 1 < 1 << 64 else anchors)
            size += len(chunks[-1])
            while size > ANCHORS_AT_ONCE and high > low:
                high = (low + high) // 2
                chunks = [chunk[chunk <= high] for chunk in chunks]
                size = sum(map(len, chunks))
        both = np.concatenate([np.empty(0, np.uint64), *chunks])
        chunks.clear()
        both.sort()
        found.append(np.unique(both[1:][both[1:] == both[:-1]]))
        low = high + 1
    return np.concatenate(found)


def _verdicts(part: pl.DataFrame, cuts: Cuts | None, ids: dict[int, str]) -> Verdicts:
    evidence: list[str | None] = [None] * part.height
    edits: list[tuple[int, int, int, str]] = []
    if cuts:
        rows = cuts.rows
        for row, (begins, ends, gaps) in zip(rows.tolist(), places_of(part[rows]), strict=True):
            here = slice(*np.searchsorted(cuts.document, [row, row + 1]))
            runs = np.stack([cuts.begin[here], cuts.end[here]], axis=1).tolist()
            owners = [ids[owner] for owner in cuts.owner[here].tolist()]
            if cuts.dropped[row]:
                words = len(begins) - 1
                evidence[row] = detail(first_in=owners[0], words=words, left=words - sum(b - a for a, b in runs))
                continue
            spans = byte_spans(runs, begins, ends, gaps)
            for (start, end), (first, last), owner in zip(spans, runs, owners, strict=True):
                edits.append((row, start, end, detail(first_in=owner, words=last - first)))
    return edits_and_drops("repeated_span", edits, evidence)
