"""Alarms that the weights can hold few more edits: by a warning bound, or a trend over releases."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import linear_regression

from pipeline.evaluate.output import Report
from pipeline.gate.bounds import GateConfig
from pipeline.gate.checks import CHECKS, Check

CAPACITY = ("norm_ratio", "effective_rank", "energy", "kl", "perplexity_ratio")
"""Checks that measure how much room the weights have left for edits."""


def capacity(
    checks: Sequence[Check], history: Sequence[tuple[str, Report]], config: GateConfig
) -> list[str]:
    """Alarms, one sentence each, that the weights can hold few more edits.

    There is one for each check of `CAPACITY` that warns or fails, and one for each whose linear
    trend over at least three releases crosses its bound with the next release.

    history  versions and reports of earlier releases, oldest first
    """
    alarms = [
        f"capacity: {c.sentence}. Re-base, plan fewer edits, or route some to the fact sheet."
        for c in checks
        if c.name in CAPACITY and c.state in ("warn", "fail") and c.value is not None
    ]
    for now in checks:
        if now.name not in CAPACITY or now.value is None or now.state != "pass":
            continue
        read = CHECKS[now.name][1]
        past = [reading.value for _, report in history if (reading := read(report))]
        if len(past) < 2:
            continue
        following = _next([*past, now.value])
        if following > now.bound:
            alarms.append(
                f"capacity: {now.name} goes {', '.join(f'{v:.3f}' for v in [*past, now.value])}; "
                f"the next release would be at {following:.3f}, allowed at most {now.bound:.3f}. "
                "Re-base before it."
            )
    return alarms


def _next(values: Sequence[float]) -> float:
    """The next value on the least-squares line through the values."""
    slope, intercept = linear_regression(range(len(values)), values)
    return intercept + slope * len(values)
