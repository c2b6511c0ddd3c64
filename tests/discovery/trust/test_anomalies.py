"""The breaker for mass edits: against the median of earlier editions, until a person approves."""

from __future__ import annotations

from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from trust_helpers import assess, change

from discovery.facts.change import Change
from discovery.trust.anomalies import activity, anomalies, rates
from discovery.trust.policy import TrustConfig
from discovery.trust.rules import Finding


def crowd(number: int, **more: Any) -> list[Change]:
    """Changes to so many subjects by one user."""
    fields = {"user": "Bot", **more}
    return [change(id=f"{n:016x}", subject=f"Q{n}", **fields) for n in range(number)]


def test_the_breaker_trips_on_unusual_numbers() -> None:
    """Against the trailing median, or an absolute limit without one; the whole set of a user, a
    domain or a relation."""
    config = TrustConfig(bulk_floor=3, bulk_factor=2, bulk_first=9)
    assert anomalies(activity(crowd(9)), [], config) == {}
    first = anomalies(activity(crowd(10)), [], config)
    assert set(first) == {
        ("user", "Bot"),
        ("relation", "P6"),
        ("domain", "bbc.co.uk"),
        ("domain", "lemonde.fr"),
    }
    history = [activity(crowd(n)) for n in (4, 100, 4)]
    assert anomalies(activity(crowd(8)), history, config) == {}
    found = anomalies(activity(crowd(9)), history, config)
    assert found["user", "Bot"] == (
        "user Bot changed 9 subjects at once, more than 8 (the median of 3 earlier editions is 4); "
        "a person may approve user:Bot"
    )
    stranger = anomalies(activity(crowd(4, user="New", references=())), history, config)
    assert set(stranger) == {("user", "New")}
    assert activity(crowd(50, rule="first")) == []  # nobody changed what was there at first


def test_a_set_that_is_held_stays_held_until_a_person_approves_it() -> None:
    """Also in later editions, which do not see the crowd; by user, by relation or by change."""
    c = change(user="Bot")
    crowd_of = {("user", "Bot"): "user Bot changed 99 subjects"}
    found = assess(c, anomalies=crowd_of)
    assert found.decisive == [("bulk user:Bot", "user Bot changed 99 subjects")]
    later = {c.id: [Finding("held", *found.decisive[0])]}
    assert assess(c, anew=False, lasting=later).state == "held"
    assert assess(c, anew=False).state == "eligible"
    for name in ("user:Bot", c.id):
        config = {"approve": [name]}
        assert assess(c, anomalies=crowd_of, config=config).state == "eligible", name
        assert assess(c, anew=False, lasting=later, config=config).state == "eligible", name
    for name in ("user:Other", "relation:P6", "domain:bbc.co.uk", "f" * 16):
        config = {"approve": [name]}
        assert assess(c, anomalies=crowd_of, config=config).state == "held", name
        assert assess(c, anew=False, lasting=later, config=config).state == "held", name


@pytest.mark.parametrize("given", ["Bot", "user:", "relation: P6", "00AB"])
def test_an_approval_of_nothing_is_a_mistake(given: str) -> None:
    """One that names neither a change nor a set would silently approve nothing."""
    with pytest.raises(ValidationError, match="approve"):
        TrustConfig(approve=(given,))


def test_the_rate_of_a_relation() -> None:
    """Share of its subjects that changed, over editions, one of each added."""
    kept = [change(id=f"{n:016x}", subject=f"Q{n}", kind="keep") for n in range(10, 16)]
    counted = activity([*crowd(4), *kept])
    assert rates([counted]) == {"P6": (4 + 1) / (10 + 2)}
    assert rates([counted, counted]) == {"P6": (8 + 1) / (20 + 2)}


@settings(max_examples=100, deadline=None)
@given(
    earlier=st.lists(st.integers(0, 30), max_size=5),
    now=st.integers(0, 60),
    floor=st.integers(1, 20),
    factor=st.integers(1, 4),
)
def test_the_breaker_is_the_median_in_words(
    earlier: list[int], now: int, floor: int, factor: int
) -> None:
    """A user's crowd is held exactly above max(floor, factor x median), an edition in which they
    did nothing counting as none; of another user in the same editions nothing is said."""
    config = TrustConfig(bulk_floor=floor, bulk_factor=factor, bulk_first=1000)
    other = [change(id="f" * 16, user="Other", relation="P35", references=())]
    history = [activity([*crowd(n), *other]) for n in earlier]
    found = anomalies(activity(crowd(now)), history, config)
    limit = max(floor, factor * median(earlier)) if earlier else 1000
    assert (("user", "Bot") in found) == (now > limit)
    assert ("user", "Other") not in found
