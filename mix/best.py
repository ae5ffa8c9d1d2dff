"""The best documents of each domain source packed apart, so that a phase can be made of them alone.

A source `notes` becomes two: `notes+best`, the best of its documents by a score that curation wrote beside them, and
`notes`, the rest. Each document is in one of them. Weights and caps that name `notes` mean both (mix.weights).
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mix.config import BestConfig
from mix.source import Documents

BEST = "+best"
"""Ends the name of the source that holds a source's best documents."""
POOL = "domain"


def split(sources: Sequence[Documents], best: BestConfig | None) -> list[Documents]:
    """The sources with those of the domain pool in two, where their documents have the score.

    Raises ValueError where no document has the score, or a source has the name of another one's best documents.
    """
    if best is None:
        return list(sources)
    names = {(source.pool, source.source) for source in sources}
    found: list[Documents] = []
    for source in sources:
        if (source.pool, f"{source.source}{BEST}") in names:
            raise ValueError(
                f"mix.best: {source.pool} has a source {source.source}{BEST}, which is how the best documents of "
                f"{source.source} are called. Rename its file, or take mix.best out."
            )
        found += _split(source, best) if source.pool == POOL else [source]
    if len(found) == len(sources):
        known = sorted({name for source in sources for file in source.files for name in _names(file)})
        raise ValueError(
            f"mix.best.score: no document of the {POOL} pool has the score {best.score}, so none is the best. "
            f"Scores that curation wrote: {', '.join(known) or 'none'}. Name one, or list the stage that gives it."
        )
    return found


def _split(source: Documents, best: BestConfig) -> list[Documents]:
    """The best and the rest; the source as it is where no document has the score, or all are the best."""
    values = [_values(file, best.score) for file in source.files]
    scores = np.concatenate([np.empty(0), *values])
    known = int(np.count_nonzero(~np.isnan(scores)))
    count = min(math.ceil(best.share * len(scores)), known)
    if not 0 < count < len(scores):
        return [source]
    order = np.argsort(scores if best.prefer == "low" else -scores, kind="stable")  # no score: last
    chosen = np.zeros(len(scores), bool)
    chosen[order[:count]] = True
    bounds = np.cumsum([0, *map(len, values)])
    masks = [chosen[first:end] for first, end in zip(bounds, bounds[1:], strict=False)]
    return [
        Documents(source.pool, name, source.files, number, tuple(np.flatnonzero(mask).astype(np.uint32) for mask in of))
        for name, number, of in (
            (source.source, len(scores) - count, [~mask for mask in masks]),
            (f"{source.source}{BEST}", count, masks),
        )
    ]


def _values(file: Path, score: str) -> np.ndarray:
    """float64 [documents]: the score of each document of a file, NaN where it has none."""
    import pyarrow.compute as pc

    values = [pc.map_lookup(chunk, pa.scalar(score), "last") for chunk in _scores(file).chunks]
    return np.concatenate([np.empty(0), *(value.cast(pa.float64()).to_numpy(zero_copy_only=False) for value in values)])


def _scores(file: Path) -> pa.ChunkedArray:
    """The scores of a file of documents/. Raises ValueError where it has none as curation writes them."""
    try:
        scores = pq.read_table(file, columns=["scores"])["scores"]
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ValueError(f"{file}: scores: cannot be read ({error}). Delete it and run curation again.") from None
    if not pa.types.is_map(scores.type):
        raise ValueError(f"{file}: scores: are {scores.type}, not a map, as curation writes them. Run curation again.")
    return scores


def _names(file: Path) -> set[str]:
    return {str(name) for chunk in _scores(file).chunks for name in chunk.keys.unique().to_pylist()}
