"""Intervals: Wilson's for shares, the paired bootstrap for differences on the same items."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

Interval = tuple[float, float]
"""Lower and upper end."""

Z = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""
BLOCK = 2_000_000
"""Random indices drawn at a time."""


def wilson(p: float, n: int) -> Interval:
    """95 % interval of a share p of n (Wilson 1927):
    (p + z²/2n ± z√(p(1-p)/n + z²/4n²)) / (1 + z²/n).

    scipy's `binomtest` accepts a whole number of hits only, but p is a mean of shares within facts.
    """
    centre = p + Z * Z / (2 * n)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    scale = 1 + Z * Z / n
    low, high = (centre - half) / scale, (centre + half) / scale
    return max(0.0, min(p, low)), min(1.0, max(p, high))  # low can round to just above p = 0


def paired_bootstrap(
    changes: Sequence[float], groups: Sequence[Hashable], *, num: int = 10_000, seed: int = 0
) -> tuple[float, Interval]:
    """Mean of the changes, and its 95 % percentile interval over `num` resamples of whole groups.

    `groups` has the group of each change. Items of one group (facts of one subject) are drawn
    together. Mean and interval are NaN where there are no changes.
    """
    if not len(changes):
        return math.nan, (math.nan, math.nan)
    means = resampled_means(np.asarray(changes, dtype=float)[:, None], groups, num=num, seed=seed)
    return float(np.mean(changes)), percentiles(means[:, 0])


def paired_ratio(
    a: Sequence[float], b: Sequence[float], groups: Sequence[Hashable], *, num: int = 10_000
) -> tuple[float, Interval]:
    """mean(a) / mean(b) over the same items, and its 95 % percentile interval over resamples of
    whole groups. Each resample gives both means.

    Ratio and interval are NaN where all of b is 0. The interval alone is NaN where mean(b) is 0 in
    a resample.
    """
    if not any(b):
        return math.nan, (math.nan, math.nan)
    means = resampled_means(np.array([a, b], dtype=float).T, groups, num=num)
    if not means[:, 1].all():
        return sum(a) / sum(b), (math.nan, math.nan)
    return sum(a) / sum(b), percentiles(means[:, 0] / means[:, 1])


def resampled_means(
    values: np.ndarray, groups: Sequence[Hashable], *, num: int, seed: int = 0
) -> np.ndarray:
    """Means [num, columns] of `values` [items, columns] in resamples of whole groups; all NaN where
    a value is not finite."""
    from scipy.stats import bootstrap  # the import takes a second

    if not np.isfinite(values).all():
        return np.full((num, values.shape[1]), np.nan)
    places = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    index = np.array([places[group] for group in groups])
    counts = np.bincount(index)
    sums = [np.bincount(index, weights=column) for column in values.T]

    def means(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.stack([column[drawn].sum(axis) for column in sums]) / counts[drawn].sum(axis)

    if len(places) == 1:  # scipy draws no samples of one group: all would be equal
        return np.tile(means(np.zeros(1, dtype=int)), (num, 1))
    made = bootstrap(
        (np.arange(len(places)),),
        means,
        n_resamples=num,
        batch=max(1, BLOCK // len(places)),
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return made.bootstrap_distribution.T


def percentiles(values: np.ndarray) -> Interval:
    """The 2.5 % and the 97.5 % percentile."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
