"""The survey's numbers against their equations written out; orders and tails."""

from __future__ import annotations

import math
import random
from statistics import fmean

import numpy as np
import pytest

from infra.errors import ProtocolError
from pipeline.metrics.metric import Measured, Metric, Protocol, measured
from pipeline.metrics.order import over_orders, worst_decile, worst_relation
from pipeline.metrics.survey import (
    accuracy,
    forgetting,
    generality,
    locality,
    relative_scalability,
    retainability,
    scalability,
)

GREEDY = Protocol(decode="greedy", score="alias", data="d@1")
OTHER = Protocol(decode="tf", score="token", data="d@1")


def share(values: dict[str, float], protocol: Protocol = GREEDY) -> Measured:
    return measured(values.items(), protocol)


def test_accuracy_generality_and_locality_are_means_over_facts() -> None:
    """Each with Wilson's interval; a fact of many paraphrases weighs as one of few; what only one
    model was asked does not count."""
    made = accuracy({"a": 1, "b": 0, "c": 1, "d": 1}, GREEDY)
    assert (made.value, made.n) == (0.75, 4) and made.low is not None and made.low < 0.75
    assert generality({"a": [1, 1, 1, 1], "b": [0], "c": []}, GREEDY).value == 0.5
    made = locality({"p": "x", "q": "y", "r": "z"}, {"p": "x", "q": "no"}, GREEDY)
    assert (made.value, made.n) == (0.5, 2)


@pytest.mark.parametrize(
    "made",
    [
        accuracy({}, GREEDY),
        generality({"a": []}, GREEDY),
        locality({"p": "x"}, {"q": "x"}, GREEDY),
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


def test_orders_are_three_at_least_and_of_one_protocol() -> None:
    """Mean, least, greatest; two seeds are no claim."""
    numbers = [Metric(value=v, n=9, protocol="p") for v in (0.5, 0.9, 0.7)]
    made = over_orders(numbers)
    assert (made.mean, made.low, made.high, made.n) == (pytest.approx(0.7), 0.5, 0.9, 3)
    with pytest.raises(ProtocolError, match="2 orders"):
        over_orders(numbers[:2])
    with pytest.raises(ProtocolError, match="compared"):
        over_orders([*numbers, Metric(value=1.0, n=9, protocol="q")])


def test_the_worst_tenth_is_of_subjects() -> None:
    """A subject of many facts is one; of twenty subjects the two worst, of three one."""
    items = {f"{s}.{k}": float(s >= 2 or (s == 1 and k == 0)) for s in range(20) for k in range(2)}
    subjects = {i: i.split(".")[0] for i in items}
    made = worst_decile(share(items), subjects)
    assert (made.value, made.n, made.low) == (0.25, 2, None)
    few = {i: v for i, v in items.items() if int(subjects[i]) in (1, 2, 3)}
    assert worst_decile(share(few), subjects).value == 0.5
    assert math.isnan(worst_decile(share({}), subjects).value)


def test_the_worst_relation_is_one_that_counts() -> None:
    """Thirty facts, or it is left out; none is none."""
    items = {
        f"{r}{i}": v
        for r, n, v in (("a", 30, 0.5), ("b", 40, 1.0), ("c", 29, 0.0))
        for i in range(n)
    }
    relations = {i: i[0] for i in items}
    found = worst_relation(share(items), relations)
    assert found is not None
    assert (found[0], found[1].value, found[1].n) == ("a", 0.5, 30)
    assert worst_relation(share(items), relations, min_facts=41) is None
