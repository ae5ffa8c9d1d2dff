"""Spikes of the loss and of the gradient norm in a training run's metrics.

A step is a spike where a figure stands above the steps before it by more than `threshold` robust standard deviations:

    score = (value - median) / (1.4826 * MAD)        over the `window` steps before it

1.4826 * MAD, the median distance from the median, is the standard deviation of normal values, and neither it nor the
median is moved by the spikes themselves (Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers). The threshold
of 7 is that of llm.c's runs, which skip such updates (`-sl 7.0 -sg 7.0`). Its window of 128 steps is for long runs:
where the loss still falls, values at the beginning of such a window hide a spike at its end. By chance one step in
150,000 is called a spike with 32 steps where values are normal, one in 30,000 where they are log-normal with sigma 0.1.
The trainer calls the same steps spikes while it makes them (train/health.py, with `last`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

FIGURES = ("loss", "grad_norm")
"""The figures looked at, as metrics.jsonl names them."""
THRESHOLD = 7.0
WINDOW = 32
FEWEST = 16
"""Steps there must be before the first that is judged; a window may not be shorter."""
FLOOR = 0.001
"""The standard deviation is taken to be at least this share of the median, so that a flat line has no spikes."""


@dataclass(frozen=True)
class Spike:
    """A figure of a step that stands out."""

    step: int
    figure: str
    """loss or grad_norm"""
    value: float
    median: float
    """Median of the steps before it."""
    score: float
    """Robust standard deviations above the median."""


def spikes(metrics: list[dict[str, Any]], threshold: float = THRESHOLD, window: int = WINDOW) -> list[Spike]:
    """The spikes in the lines of a metrics.jsonl, by step; lines without the figures (evaluations) are passed over.

    `window` is in steps, `threshold` in robust standard deviations. Raises ValueError where they are out of range.
    """
    if window < FEWEST:
        raise ValueError(f"--window: {window} steps are too few to know what is usual. Use at least {FEWEST}.")
    if not threshold > 0:
        raise ValueError(f"--threshold: {threshold} is not above 0, so half of all steps would be spikes. Use e.g. 7.")
    lines = [line for line in metrics if all(figure in line for figure in FIGURES)]
    if len(lines) <= FEWEST:
        return []
    found = []
    for figure in FIGURES:
        values = np.array([line[figure] for line in lines], np.float64)
        medians, scores = _scores(values, window)
        found += [
            Spike(lines[at]["step"], figure, float(values[at]), float(medians[at]), float(scores[at]))
            for at in np.flatnonzero(scores > threshold)
        ]
    return sorted(found, key=lambda spike: (spike.step, FIGURES.index(spike.figure)))


def last(step: int, figure: str, values: list[float | None], threshold: float, window: int) -> Spike | None:
    """The spike that the last of `values` is, None where it is none: what `spikes` says of the figure at that step.

    `values` are those of the steps up to `step`, of which the last window + 1 count; None is a value that was not a
    finite number.
    """
    if len(values) <= FEWEST:
        return None
    medians, scores = _scores(np.array(values[-window - 1 :], np.float64), window)
    if not scores[-1] > threshold:
        return None
    value = values[-1]
    assert value is not None
    return Spike(step, figure, value, float(medians[-1]), float(scores[-1]))


def _scores(values: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Median before each step and score of each step [steps]; NaN for the first FEWEST."""
    medians, scores = np.full(len(values), np.nan), np.full(len(values), np.nan)
    padded = np.concatenate([np.full(window, np.nan), values])
    before = np.lib.stride_tricks.sliding_window_view(padded, window)[FEWEST : len(values)]
    median = np.nanmedian(before, axis=1)
    deviation = 1.4826 * np.nanmedian(np.abs(before - median[:, None]), axis=1)
    medians[FEWEST:] = median
    scores[FEWEST:] = (values[FEWEST:] - median) / np.maximum(deviation, FLOOR * np.abs(median) + 1e-12)
    return medians, scores
