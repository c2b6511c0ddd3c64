"""Numbers of an evaluation: each with its count, its interval and the protocol it was taken by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One number. Numbers of different protocols are not to be compared."""

    value: float
    n: int
    protocol: str
    low: float | None = None
    """95 % interval; None where there is none to give."""
    high: float | None = None


def share(hits: Sequence[bool], protocol: str, *, empty: float = 1.0) -> Metric:
    """Share of hits with its Wilson interval; of no cases at all it is `empty`, with n 0."""
    if not hits:
        return Metric(empty, 0, protocol)
    value = sum(hits) / len(hits)
    low, high = wilson(value, len(hits))
    return Metric(value, len(hits), protocol, low, high)


def mean(values: Sequence[float], protocol: str) -> Metric:
    """Mean over facts of a share within each fact; the interval is the normal one."""
    if not values:
        return Metric(1.0, 0, protocol)
    n = len(values)
    value = sum(values) / n
    spread = math.sqrt(sum((v - value) ** 2 for v in values) / max(1, n - 1) / n)
    return Metric(value, n, protocol, max(0.0, value - Z * spread), min(1.0, value + Z * spread))


def perplexity(nll: Sequence[tuple[float, int]], protocol: str) -> Metric:
    """exp of the token-mean negative log-likelihood, from (log-likelihood, tokens) pairs."""
    tokens = sum(count for _, count in nll)
    if tokens == 0:
        return Metric(1.0, 0, protocol)
    return Metric(math.exp(-sum(logp for logp, _ in nll) / tokens), tokens, protocol)


def paired_error(lost: int, gained: int, n: int) -> float:
    """Standard error of a difference of two shares on the same n cases, from the discordant counts:
    √(b + c - (b - c)²/n) / n, b lost and c gained (McNemar 1947). 0 of no cases.
    """
    return math.sqrt(lost + gained - (lost - gained) ** 2 / n) / n if n else 0.0


def wilson(p: float, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927): (p + z²/2n ± z√(p(1-p)/n + z²/4n²)) / (1 + z²/n)."""
    centre = p + Z * Z / (2 * n)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    scale = 1 + Z * Z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
