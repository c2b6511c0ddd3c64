"""Numbers keep their count, interval and protocol, and refuse to be mixed."""

from __future__ import annotations

import math
import random
from statistics import fmean

import numpy as np
import pytest
from scipy.stats import binomtest

from infra.errors import ProtocolError
from pipeline.evaluate.scoring import intervals
from pipeline.evaluate.scoring.intervals import (
    paired_bootstrap,
    resampled_means,
    wilson,
)
from pipeline.evaluate.scoring.metric import (
    Measured,
    Protocol,
    difference,
    measured,
    same_protocol,
)

GREEDY = Protocol(decode="greedy", score="alias", data="d@1")
FORCED = Protocol(decode="tf", score="token", data="d@1")


def test_wilson_against_the_textbook() -> None:
    """Wilson 1927, p = 0.9, n = 100: 0.826-0.945."""
    assert wilson(0.9, 100) == pytest.approx((0.8256, 0.9448), abs=1e-4)


def test_wilson_equals_scipys() -> None:
    """Of whole hits, which scipy's takes."""
    for n in (1, 2, 7, 60, 1000):
        for k in range(0, n + 1, max(1, n // 20)):
            interval = binomtest(k, n).proportion_ci(method="wilson")
            assert wilson(k / n, n) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_wilson_holds_the_share_itself() -> None:
    """To the last bit: none of n is not outside its own interval, nor is all of n."""
    for n in range(1, 200):
        for p in (0.0, 1 / n, 1.0):
            low, high = wilson(p, n)
            assert 0 <= low <= p <= high <= 1 and low < high


def test_wilson_covers() -> None:
    """Of 1,000 samples of 60 with p = 0.9, about 95 % of intervals hold p."""
    rng = random.Random(0)
    hits = 0
    for _ in range(1000):
        low, high = wilson(sum(rng.random() < 0.9 for _ in range(60)) / 60, 60)
        hits += low <= 0.9 <= high
    assert 930 <= hits <= 985


def test_the_mean_is_over_facts_not_questions() -> None:
    """A fact with many paraphrases weighs as much as one with a single one."""
    made = measured([("a", 1), ("a", 1), ("a", 1), ("b", 0)], GREEDY).metric()
    assert (made.value, made.n) == (0.5, 2)
    assert "decode=greedy/prompt=raw/score=alias/when=after-all/data=d@1" in made.protocol


def test_of_nothing_there_is_no_number() -> None:
    """NaN with n 0, not a perfect score."""
    made = measured([], GREEDY).metric()
    assert math.isnan(made.value) and made.n == 0 and made.low is None


def test_shares_within_facts_narrow_the_interval_but_not_beyond_the_questions() -> None:
    """Four paraphrases a fact that vary by themselves say more than one, never more than four."""
    rng = random.Random(1)
    hits = [(str(i), float(rng.random() < 0.7)) for i in range(50) for _ in range(4)]
    made = measured(hits, GREEDY).metric()
    assert made.low is not None and made.high is not None
    width = made.high - made.low
    fewest, most = (w[1] - w[0] for w in (wilson(made.value, 50), wilson(made.value, 200)))
    assert most - 1e-9 <= width <= fewest + 1e-9


def test_two_protocols_are_never_mixed() -> None:
    """Subtracting refuses, and names both; so does whoever asks whether two are the same."""
    one, two = measured([("a", 1)], GREEDY), measured([("b", 1)], FORCED)
    with pytest.raises(ProtocolError, match=r"decode=greedy.*decode=tf"):
        difference(one, two, {})
    with pytest.raises(ProtocolError):
        same_protocol(GREEDY, Protocol(decode="greedy", score="alias", data="d@2"))


def test_the_bootstrap_resamples_subjects() -> None:
    """Ten copies of a fact are one fact: the interval is that of the subjects, as a plain loop over
    resamples gives it."""
    rng = random.Random(2)
    changes = [rng.choice([-1.0, 0.0, 1.0]) for _ in range(20)]
    alone = paired_bootstrap(changes, range(20))
    copies = paired_bootstrap(
        [c for c in changes for _ in range(10)], [i for i in range(20) for _ in range(10)]
    )
    assert copies == alone
    loop = np.random.default_rng(0)
    means = [fmean(changes[i] for i in loop.integers(20, size=20)) for _ in range(10_000)]
    assert alone[1] == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.051)


def test_resamples_are_of_whole_groups_whatever_the_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a plain loop over the same draws gives, to the last bit the same
    where only a few samples are drawn at a time; of a single group every sample is the group."""
    draw = np.random.default_rng(7)
    values, groups = draw.normal(size=(50, 2)), draw.integers(9, size=50).tolist()
    names = list(dict.fromkeys(groups))
    members = [np.flatnonzero(np.array(groups) == name) for name in names]
    loop = np.random.default_rng(3)
    expected = [
        values[np.concatenate([members[i] for i in loop.integers(9, size=9)])].mean(axis=0)
        for _ in range(40)
    ]
    made = resampled_means(values, groups, num=40, seed=3)
    assert made == pytest.approx(np.array(expected), abs=1e-12)
    monkeypatch.setattr(intervals, "BLOCK", 30)
    assert (resampled_means(values, groups, num=40, seed=3) == made).all()
    one = resampled_means(values, ["a"] * 50, num=4)
    assert one == pytest.approx(np.tile(values.mean(axis=0), (4, 1))) and len(set(one[:, 0])) == 1


def test_a_difference_is_on_the_facts_that_both_have() -> None:
    """And zero of a model and itself, with no width."""
    a = measured([("a", 1), ("b", 1), ("c", 0)], GREEDY)
    b = measured([("a", 0), ("b", 1)], GREEDY)
    made = difference(a, b, {})
    assert (made.value, made.n) == (0.5, 2)
    same = difference(a, a, {})
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_perplexity_is_summarised_on_its_own_scale() -> None:
    """exp of the mean and of its interval's ends."""
    items = {"a": 1.0, "b": 3.0}
    logs = Measured(items=items, protocol=FORCED, num_questions=2, is_share=False)
    made = Measured(
        items=items, protocol=FORCED, num_questions=2, is_share=False, combine=math.exp
    ).metric()
    plain = logs.metric()
    assert made.value == pytest.approx(math.exp(2))
    assert plain.low is not None and made.low == pytest.approx(math.exp(plain.low))


def test_values_that_are_no_numbers_have_no_interval() -> None:
    """A collapsed model's losses are NaN or infinite: so are their mean and its interval, without a
    warning."""
    for lost in (math.nan, math.inf):
        value, interval = paired_bootstrap([lost, 1.0, 2.0], ["a", "b", "c"])
        assert not math.isfinite(value)
        assert not any(map(math.isfinite, interval))
