"""Keeps the share of a large general crawl that is most like the domain, or adds most to it."""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field

from curate import likeness, novelty
from curate.reference import files, listed, reference
from curate.stage import Stage, Verdicts, detail


class Select(Stage, name="select"):
    """Keeps the best share of some sources' text, ranked together; other sources are left alone.

    by: moore_lewis keeps what a KenLM of the domain likes better than one of the crawl itself (Moore and Lewis 2010);
    classifier what a fastText classifier of the two takes for the domain; both are trained here, and score only what
    they have not seen. novelty keeps what is least like what is there already: the highest share of word 5-grams that
    the domain does not hold (n-novelty, Merrill et al. 2024, arXiv 2406.13069). Noise is novel too, and documents of
    the crawl are not compared with each other, so near_dedup and perplexity belong before it.
    The share is one of bytes of text: documents are kept from the best on until their bytes reach it, the one that
    crosses the line among them. Equal scores rank by order; documents without words come last.
    Score: select_moore_lewis (bits a word), select_classifier (probability), select_novelty (0 to 1); higher is better.
    Reason: not_selected; detail: the score, the threshold (the last score kept), rank and the number ranked.
    """

    is_global: ClassVar[bool] = True

    keep: float = Field(gt=0, le=1)
    """Share of the bytes of text to keep; 1 keeps all."""
    by: Literal["moore_lewis", "classifier", "novelty"] = "moore_lewis"
    """What ranks the documents."""
    among: str | list[str] = "replay"
    """What is selected from: pools or sources by name, one or a list."""
    positive: str | list[str] = "domain"
    """What it should be like (for novelty: what is there already): pools, sources by name, files by a path or glob.
    Sources in `among` do not count as part of a pool here."""
    negative: str | list[str] = []
    """What it should not be like, named in the same way; empty, the default, takes `among` itself. Not for novelty."""
    reference_bytes: int = Field(20_000_000, ge=1)
    """Bytes of text of either reference that each of the models is trained on, at most, taken evenly over it. For
    novelty the whole reference counts, whatever this says."""

    def inputs(self) -> list[str]:
        return files([*listed(self.positive), *listed(self.negative)], f"{self.workspace.where}.positive or .negative")

    def warm_up(self) -> None:
        if self.by == "novelty":
            novelty.warm_up()
        else:
            likeness.warm_up(self.by)

    def prepare(self) -> None:
        among = self._among()
        positive = reference(self.positive, "positive", self.workspace, without=among)
        if both := sorted(set(among) & set(listed(self.positive))):
            raise ValueError(
                f"{self.workspace.where}.positive: {', '.join(both)} is also in among, so it would be selected for "
                "being like itself. Take it out of one of them."
            )
        if self.by == "novelty":
            texts, size = positive.texts(None, 1.0), positive.size()
            novelty.build(texts, size, self.workspace.folder / "seen.npy")
        else:
            negative = reference(self.negative or among, "negative" if self.negative else "among", self.workspace)
            likeness.train(self.by, positive, negative, self.reference_bytes, self.workspace.folder)

    def measure(self, documents: pl.DataFrame) -> pl.DataFrame:
        ranked = documents.height > 0 and self._ranks(documents["pool"][0], documents["source"][0])
        if not ranked:
            score = pl.Series([None] * documents.height, dtype=pl.Float64)
        elif self.by == "novelty":
            score = novelty.scores(self.workspace.folder / "seen.npy", documents["text"])
        else:
            score = likeness.scores(self.by, self.workspace.folder, documents)
        return pl.DataFrame({"score": score, "ranked": pl.Series([ranked] * documents.height, dtype=pl.Boolean)})

    def decide(self, measured: Iterable[pl.DataFrame]) -> Iterator[Verdicts]:
        """Verdicts in global order; score and size of every ranked document are in memory, 40 bytes a document."""
        chosen = [frame.filter("ranked").select("score", "bytes") for frame in measured]
        table = pl.concat(chosen) if chosen else pl.DataFrame(schema={"score": pl.Float64, "bytes": pl.Int64})
        ranks, kept, threshold = _rank(table["score"], table["bytes"].to_numpy(), self.keep)
        name, first = f"select_{self.by}", 0
        for frame in measured:
            reasons: list[str | None] = [None] * frame.height
            details: list[str | None] = [None] * frame.height
            rows = frame["ranked"].arg_true().to_list()
            for row, rank in zip(rows, ranks[first : first + len(rows)].tolist(), strict=True):
                if rank >= kept:
                    score = frame["score"][row]
                    reasons[row] = "not_selected"
                    evidence: dict[str, Any] = {self.by: None if score is None else round(score, 4)}
                    details[row] = detail(**evidence, threshold=threshold, rank=rank + 1, of=table.height)
            first += len(rows)
            scores = {name: frame["score"].cast(pl.Float32)}
            yield Verdicts(pl.Series("reason", reasons, pl.String), pl.Series("detail", details, pl.String), scores)

    def _ranks(self, pool: str, source: str) -> bool:
        return pool in listed(self.among) or source in listed(self.among)

    def _among(self) -> list[str]:
        """Names of the sources that are ranked. Raises ValueError for a name that is neither a pool nor a source."""
        parts = self.workspace.parts
        known = {name for part in parts for name in (part.pool, part.source)}
        if unknown := sorted(set(listed(self.among)) - known):
            raise ValueError(
                f"{self.workspace.where}.among: there is no pool or source {', '.join(unknown)}, so nothing would be "
                f"selected from it. Known: {', '.join(sorted(known))}."
            )
        return sorted({part.source for part in parts if self._ranks(part.pool, part.source)})


def _rank(score: pl.Series, size: np.ndarray, keep: float) -> tuple[np.ndarray, int, float | None]:
    """Rank of every document from 0 on, how many ranks are kept, and the score of the last one kept."""
    values = score.fill_null(-np.inf).to_numpy()
    order = np.argsort(-values, kind="stable")
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    before = np.concatenate([[0], np.cumsum(size[order])])[:-1]
    kept = len(order) if keep == 1 else int(np.count_nonzero(before < keep * size.sum()))
    last = float(values[order[kept - 1]]) if kept else -np.inf
    return ranks, kept, round(last, 4) if np.isfinite(last) else None
