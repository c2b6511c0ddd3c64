"""The survey's numbers against their equations written out; orders and tails."""

from __future__ import annotations

import math
import random
from statistics import fmean

import numpy as np
import pytest

from infra.errors import ProtocolError
from pipeline.comparison.survey import forgetting, relative_scalability, retainability, scalability
from pipeline.evaluate.scoring.metric import Measured, Metric, Protocol, measured

GREEDY = Protocol(decode="greedy", score="alias", data="d@1")
OTHER = Protocol(decode="tf", score="token", data="d@1")


def share(values: dict[str, float], protocol: Protocol = GREEDY) -> Measured:
    return measured(values.items(), protocol)


@pytest.mark.parametrize(
    "made",
    [
        retainability([], GREEDY),
        retainability([0.5], GREEDY),
        scalability(share({}), share({})),
        relative_scalability(share({}), share({})),
        relative_scalability(share({"a": 0}), share({"a": 1})),
        forgetting({}, GREEDY),
        forgetting({"a": [1.0]}, GREEDY),
    ],
)
def test_of_nothing_there_is_no_number(made: Metric) -> None:
    """NaN, never a perfect score."""
    assert math.isnan(made.value)


def test_retainability_sees_only_the_ends() -> None:
    """The mean of the steps is (Acc_n - Acc_1)/(n - 1), whatever is between."""
    rng = random.Random(0)
    curve = [rng.random() for _ in range(20)]
    assert retainability(curve, GREEDY).value == pytest.approx((curve[-1] - curve[0]) / 19)
    dipped = [curve[0], 0.0, curve[-1]]
    assert retainability(dipped, GREEDY).value == pytest.approx((curve[-1] - curve[0]) / 2)


def test_scalability_is_the_loss_of_editing_together() -> None:
    """Absolute and relative, each with the interval of a plain loop over resamples of subjects; no
    loss is 0 without width."""
    rng = random.Random(1)
    ids = [str(i) for i in range(60)]
    single = share({i: float(rng.random() < 0.9) for i in ids})
    together = share({i: float(single.items[i] and rng.random() < 0.6) for i in ids})
    subjects = {i: str(int(i) // 2) for i in ids}
    loss, relative = (f(single, together, subjects) for f in (scalability, relative_scalability))
    s, t = (fmean(m.items.values()) for m in (single, together))
    assert loss.value == pytest.approx(s - t)
    assert relative.value == pytest.approx((s - t) / s)
    loop = np.random.default_rng(5)
    resampled = []
    for _ in range(4000):
        drawn = [i for n in loop.integers(30, size=30) for i in (str(2 * n), str(2 * n + 1))]
        a, b = (fmean(m.items[i] for i in drawn) for m in (single, together))
        resampled.append((a - b, (a - b) / a))
    for made, column in ((loss, 0), (relative, 1)):
        expected = np.percentile([r[column] for r in resampled], [2.5, 97.5])
        assert (made.low, made.high) == pytest.approx(tuple(expected), abs=0.02)
        assert made.low is not None and made.high is not None and made.low < made.value < made.high
    for same in (scalability(single, single), relative_scalability(single, single)):
        assert (same.value, same.low, same.high, same.n) == (0, 0, 0, 60)


def test_few_facts_have_a_relative_loss_without_an_interval() -> None:
    """Where a resample can miss all single edits that are right, its ratio is none."""
    made = relative_scalability(share({"a": 1, "b": 0}), share({"a": 1, "b": 1}))
    assert made.value == -1 and made.low is not None and math.isnan(made.low)


def test_two_protocols_do_not_make_a_loss() -> None:
    """Both refuse."""
    for number in (scalability, relative_scalability):
        with pytest.raises(ProtocolError):
            number(share({"a": 1}), share({"a": 1}, OTHER))


def test_forgetting_is_from_the_best_that_was() -> None:
    """Not from the beginning; facts edited last have nothing to forget yet; below 0 is learning."""
    curves = {"a": [0.5, 1.0, 0.25], "b": [1.0, 1.0], "c": [0.0, 0.5], "late": [1.0]}
    made = forgetting(curves, GREEDY)
    assert (made.value, made.n) == (pytest.approx((0.75 + 0 - 0.5) / 3), 3)
    assert made.low is not None and made.high is not None and made.low < made.value < made.high
    paired = forgetting(curves, GREEDY, dict.fromkeys(curves, "one subject"))
    assert paired.low == paired.value == paired.high
