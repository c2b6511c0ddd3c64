"""Intervals: Wilson's for shares, the paired bootstrap for differences on the same items."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

Interval = tuple[float, float]

Z = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""
BLOCK = 2_000_000
"""Random indices drawn at a time."""


def wilson(p: float, n: int) -> Interval:
    """95 % interval of a share (Wilson 1927): (p + z²/2n ± z√(p(1-p)/n + z²/4n²)) / (1 + z²/n).

    Not scipy's: `binomtest` takes whole hits only, and p is a mean of shares within facts.
    """
    centre = p + Z * Z / (2 * n)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    scale = 1 + Z * Z / n
    low, high = (centre - half) / scale, (centre + half) / scale
    return max(0.0, min(p, low)), min(1.0, max(p, high))  # p = 0 rounds to just above it


def paired_error(lost: int, gained: int, n: int) -> float:
    """Standard error of a difference of two shares on the same n items, from the discordant counts:
    √(b + c - (b - c)²/n) / n, b lost and c gained (McNemar 1947). 0 of no items.
    """
    return math.sqrt(lost + gained - (lost - gained) ** 2 / n) / n if n else 0.0


def paired_bootstrap(
    changes: Sequence[float], groups: Sequence[Hashable], *, num: int = 10_000, seed: int = 0
) -> tuple[float, Interval]:
    """Mean of the changes, and its 95 % percentile interval over `num` resamples of whole groups.

    Items of one group (facts of one subject) are drawn together. NaN of no changes.
    """
    if not len(changes):
        return math.nan, (math.nan, math.nan)
    means = resampled_means(np.asarray(changes, dtype=float)[:, None], groups, num=num, seed=seed)
    return float(np.mean(changes)), percentiles(means[:, 0])


def paired_ratio(
    a: Sequence[float], b: Sequence[float], groups: Sequence[Hashable], *, num: int = 10_000
) -> tuple[float, Interval]:
    """mean(a) / mean(b) over the same items, with the interval of `paired_bootstrap`: both means
    are of the same resample. NaN where b is 0 throughout; its interval where a resample's is.
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
    """Means [num, columns] of values [items, columns] over resamples of whole groups."""
    from scipy.stats import bootstrap  # takes a second, which only this waits for

    places = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    index = np.array([places[group] for group in groups])
    counts = np.bincount(index)
    sums = [np.bincount(index, weights=column) for column in values.T]

    def means(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.stack([column[drawn].sum(axis) for column in sums]) / counts[drawn].sum(axis)

    if len(places) == 1:  # of which scipy draws no samples: all are the same
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
    """The middle 95 %."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
