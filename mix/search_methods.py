"""How weights of sources are found from the figures of proxy runs: functions of numbers alone, no file and no model.

Weights are float64 [sources], from 0 to 1, together 1. `limits` [sources] is the most each may have, which is what
mix.max_epochs allows over the training budget; together at least 1. A figure is bits per byte of held-out domain text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CANDIDATES, BEST = 100_000, 100
"""regmix: mixtures whose figure is predicted, and how many of the best are averaged (arXiv 2407.01492, section 3)."""
PRIOR = 0.5
"""regmix: the middle of the mixtures drawn is the natural weights to this power (its code's temperature)."""
PENALTIES = np.logspace(-6, 2, 33)
"""regmix: ridge penalties tried, for features of variance 1."""
RATE, SMOOTHING = 1.0, 1e-3
"""doremi: step size of the weights, share of uniform weights mixed in at each step (arXiv 2305.10429, section 2)."""


def within(weights: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """The weights, none above its limit: what is cut off goes to the others in proportion (water filling).

    >>> within(np.array([0.6, 0.3, 0.1]), np.array([0.4, 1.0, 1.0])).round(3).tolist()
    [0.4, 0.45, 0.15]
    """
    weights = np.asarray(weights, np.float64) / np.sum(weights)
    capped = np.zeros(len(weights), bool)
    while (over := ~capped & (weights > limits)).any():
        capped |= over
        free, left = ~capped, 1 - limits[capped].sum()
        share = weights[free] if weights[free].sum() > 0 else np.ones(free.sum())
        weights = np.where(capped, limits, 0.0)
        weights[free] = left * share / share.sum()
    return weights


def grid(natural: np.ndarray, shifts: Sequence[float]) -> list[np.ndarray]:
    """For each source and shift: that share of the pool taken from all alike and given to the source."""
    ones = np.eye(len(natural))
    return [(1 - shift) * natural + shift * ones[source] for source in range(len(natural)) for shift in shifts]


def draw(natural: np.ndarray, count: int, limits: np.ndarray, seed: int) -> np.ndarray:
    """[count, sources]: mixtures from a Dirichlet distribution whose middle lies between natural and uniform weights.

    Its parameters are 1 on average, so that mixtures far from the middle are as likely as near ones.
    """
    middle = natural**PRIOR / (natural**PRIOR).sum()
    drawn = np.random.default_rng(seed).dirichlet(len(natural) * middle, count)
    for row in np.flatnonzero((drawn > limits).any(1)):
        drawn[row] = within(drawn[row], limits)
    return drawn


@dataclass(frozen=True)
class Fit:
    """A figure as a function of the weights."""

    mean: np.ndarray
    """Of the features [2 x sources]."""
    scale: np.ndarray
    """Of the features."""
    coefficients: np.ndarray
    """Of the scaled features."""
    level: float
    """Mean figure."""
    penalty: float
    """The ridge penalty with the least error on runs left out."""
    most: np.ndarray
    """[sources] The largest weight of each source in a run."""
    left_out: np.ndarray
    """[runs] What is predicted for each run from the others."""

    def predict(self, weights: np.ndarray) -> np.ndarray:
        """[.., sources] -> [..]."""
        return self.level + (_features(weights) - self.mean) / self.scale @ self.coefficients


def fit(weights: np.ndarray, figures: np.ndarray) -> Fit:
    """Ridge regression of figures [runs] on weights [runs, sources].

    The features are the weights and their square roots. RegMix's own linear regression has its least at a corner, all
    weight on one source; with the roots the first rows of a source count most, and the least can lie inside. The
    penalty is the one with the least squared error of predicting each run from the others, which ridge regression
    has in closed form.
    """
    features = _features(weights)
    mean, scale = features.mean(0), features.std(0) + 1e-12
    scaled, level = (features - mean) / scale, float(figures.mean())
    u, s, vt = np.linalg.svd(scaled, full_matrices=False)
    found = []
    for penalty in PENALTIES:
        shrink = s**2 / (s**2 + penalty * len(figures))
        hat = (u * shrink) @ u.T + 1 / len(figures)  # with the mean's own share
        residuals = (figures - hat @ figures) / np.maximum(1 - np.diag(hat), 1e-9)
        found.append((float(residuals @ residuals), float(penalty), figures - residuals))
    _, penalty, left_out = min(found, key=lambda one: one[:2])
    coefficients = vt.T @ (s / (s**2 + penalty * len(figures)) * (u.T @ (figures - level)))
    return Fit(mean, scale, coefficients, level, penalty, weights.max(0), left_out)


def search(fitted: Fit, natural: np.ndarray, limits: np.ndarray, seed: int) -> np.ndarray:
    """The mean of the mixtures with the lowest predicted figure, of many drawn.

    No source gets more than it had in one of the runs: what lies beyond them is a guess of the regression's form.
    """
    limits = np.minimum(limits, fitted.most)
    drawn = draw(natural, CANDIDATES, limits, seed)
    best = np.argsort(fitted.predict(drawn), kind="stable")[:BEST]
    return within(drawn[best].mean(0), limits)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's, 1 where both are in the same order, 0 where either is constant."""
    ranks = [np.unique(values, return_inverse=True)[1] for values in (one, other)]
    deviations = [values - values.mean() for values in ranks]
    norm = np.sqrt((deviations[0] ** 2).sum() * (deviations[1] ** 2).sum())
    return float((deviations[0] * deviations[1]).sum() / norm) if norm else 0.0


def reweighted(weights: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """One step of DoReMi's group DRO (algorithm 1): more weight for sources on which there is more to gain.

    `excess` [sources]: nats a token above those of the reference model, at least 0 for each token.
    """
    raised = weights * np.exp(RATE * (excess - excess.max()))
    return (1 - SMOOTHING) * raised / raised.sum() + SMOOTHING / len(weights)


def _features(weights: np.ndarray) -> np.ndarray:
    return np.concatenate([weights, np.sqrt(weights)], -1)
