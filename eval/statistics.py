"""Did it change? Paired differences with an interval, from the documents both models were measured on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

RESAMPLES = 2000
"""Bootstrap resamples: the interval's edges then move by about 1 % of its width from seed to seed."""
MIN_DOCUMENTS = 5
"""With fewer documents a bootstrap interval says nothing, so none is given."""

Verdict = Literal["better", "worse", "no change", "too few documents"]


@dataclass(frozen=True)
class Change:
    """Trained minus base, lower is better."""

    change: float
    low: float | None
    """Lower edge of the 95 % interval; None with too few documents."""
    high: float | None
    percent: float
    """The change as a percentage of the base's value."""
    verdict: Verdict
    """`no change` where the interval holds 0."""


def change_in_ratio(
    base: np.ndarray, base_sizes: np.ndarray, trained: np.ndarray, trained_sizes: np.ndarray, seed: int = 0
) -> Change:
    """Change of sum(values) / sum(sizes), each array [D] with one entry per document.

    The 95 % interval is a paired percentile bootstrap over documents (Efron and Tibshirani 1993, ch. 13): a resample
    draws the same documents for both models, so what makes a document hard for both cancels out.
    """
    columns = np.stack([base, base_sizes, trained, trained_sizes], axis=1).astype(np.float64)
    documents = len(columns)
    totals = columns.sum(axis=0)
    before = totals[0] / totals[1]
    change = float(totals[2] / totals[3] - before)
    percent = float(100 * change / before)
    if documents < MIN_DOCUMENTS:
        return Change(change, None, None, percent, "too few documents")
    drawn = _resampled_totals(columns, np.random.default_rng(seed))
    differences = drawn[:, 2] / drawn[:, 3] - drawn[:, 0] / drawn[:, 1]
    low, high = (float(edge) for edge in np.quantile(differences, [0.025, 0.975]))
    verdict: Verdict = "no change" if low <= 0 <= high else "better" if high < 0 else "worse"
    return Change(change, low, high, percent, verdict)


@dataclass(frozen=True)
class PointsChange:
    """Trained minus base in percent points, higher is better."""

    change: float
    low: float | None
    """Lower edge of the 95 % interval; None with too few items."""
    high: float | None
    verdict: Literal["better", "worse", "no change", "too few items"]
    """`no change` where the interval holds 0."""


def change_in_points(base: np.ndarray, trained: np.ndarray, seed: int = 0) -> PointsChange:
    """Change of the mean score, each array [N] with a score 0 to 1 per item, the same items in both.

    The 95 % interval is a paired percentile bootstrap over items, as in `change_in_ratio`; differences take few
    values, so a resample draws how often each value comes.
    """
    differences = 100 * (np.asarray(trained, np.float64) - np.asarray(base, np.float64))
    change, items = float(differences.mean()), len(differences)
    if items < MIN_DOCUMENTS:
        return PointsChange(change, None, None, "too few items")
    values, counts = np.unique(differences, return_counts=True)
    means = np.random.default_rng(seed).multinomial(items, counts / items, size=RESAMPLES) @ values / items
    low, high = (float(edge) for edge in np.quantile(means, [0.025, 0.975]))
    return PointsChange(change, low, high, "no change" if low <= 0 <= high else "better" if low > 0 else "worse")


def _resampled_totals(columns: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Column totals of each resample [RESAMPLES, columns], drawn in blocks whose counts stay under about 32 MB."""
    documents = len(columns)
    block = max(1, min(RESAMPLES, 4_000_000 // documents))
    sizes = [min(block, RESAMPLES - start) for start in range(0, RESAMPLES, block)]
    even = np.full(documents, 1 / documents)
    return np.concatenate([random.multinomial(documents, even, size=size) @ columns for size in sizes])
