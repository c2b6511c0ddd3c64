"""The effective cut-off: the day on which most of what a model believes was so."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import date
from typing import Any

import numpy as np
import pytest
from discovery_helpers import make_change

from discovery.facts.change import Change
from discovery.facts.dates import days, holds, iso_interval
from discovery.facts.fact import Interval
from discovery.probe.beliefs.cutoff import ALL, Dated, as_json, as_of, curves, tenures
from discovery.probe.beliefs.cutoff_page import as_page

TODAY = days(date(2024, 1, 1))


def successions(cutoff: int, number: int, seed: int = 0) -> list[Dated]:
    """Beliefs of a model that stopped reading on a day: of every subject it holds the value of that
    day, which lasted from a random day before to a random day after."""
    draw = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        start, end = cutoff - draw.integers(1, 1500), cutoff + draw.integers(1, 1500)
        tenure = (Interval(int(start), int(start) + 1), Interval(int(end), int(end) + 1))
        made.append(Dated(relation="P54", tenures=(tenure,)))
    return made


def test_the_peak_is_when_the_model_stopped_reading() -> None:
    """A made cut-off is found within the days of a grid step, inside its interval; the share there
    is near one."""
    cutoff = days(date(2019, 6, 1))
    [_, found] = curves(successions(cutoff, 400), {"P54": "team"}, TODAY)
    assert found.peak is not None and abs(found.peak - cutoff) < 62 and max(found.shares) > 0.98
    low, high = found.interval or (0, 0)
    assert low - 62 <= cutoff <= high + 62 and high - low < 400
    first, last = found.plateau or (0, 0)
    assert first <= found.peak <= last


def test_a_share_is_counted_by_hand() -> None:
    """Each point of the curve is the mean over subjects of whether the value holds on that day."""
    beliefs = successions(days(date(2018, 1, 1)), 7)
    [_, found] = curves(beliefs, {}, TODAY)
    worth = {"yes": 1.0, "maybe": 0.5, "no": 0.0}
    for day, share in zip(found.days, found.shares, strict=True):
        counted = [worth[holds(*b.tenures[0], day)] for b in beliefs]
        assert share == pytest.approx(sum(counted) / len(counted))
    assert found.days[-1] == TODAY


def test_few_subjects_have_a_curve_and_no_cutoff() -> None:
    """Relations are apart, and all together come first; undated beliefs are in none."""
    few = successions(days(date(2018, 1, 1)), 3)
    other = [Dated(relation="P6", tenures=b.tenures) for b in few]
    undated = [Dated(relation="P6", tenures=())] * 50
    found = {c.relation: c for c in curves([*few, *other, *undated], {}, TODAY)}
    assert list(found) == [ALL, "P54", "P6"] and found[ALL].num_subjects == 6
    assert found["P6"].peak is None and found["P6"].shares
    assert found[ALL].peak is not None


def change(**settings: Any) -> Change:
    """One with two tenures of one old value."""
    fields: dict[str, Any] = {
        "old_labels": ("Old", "Older", "Old"),
        "old_starts": (iso_interval("2010"), None, iso_interval("2015-03")),
        "old_ends": (iso_interval("2012"), None, iso_interval("2018-07-01")),
        "new_label": "New",
        "since": iso_interval("2018-07-01"),
    }
    return make_change(**{**fields, **settings})


def test_a_belief_is_dated_by_the_tenure_of_its_value() -> None:
    """Of several tenures the last; the new value's lasts until today; what has no start is
    undated."""
    assert len(tenures(change(), "Old")) == 2 and tenures(change(), "Older") == ()
    dated = as_of(tenures(change(), "Old"), TODAY)
    assert dated == Interval(iso_interval("2015-03").earliest, iso_interval("2018-07-01").latest)
    assert as_of(tenures(change(), "New"), TODAY) == Interval(
        iso_interval("2018-07-01").earliest, TODAY + 1
    )
    assert as_of(tenures(change(), "Third"), TODAY) is None
    assert as_of([(None, iso_interval("2012"))], TODAY) is None


def test_the_page_needs_nothing_else_and_the_json_has_the_dates() -> None:
    """Well-formed drawings, no address of another file, labels as text; ISO dates in the JSON."""
    found = curves(successions(days(date(2019, 6, 1)), 20), {"P54": "<b>team</b>"}, TODAY)
    page = as_page(found, "model <1>")
    assert "<b>team" not in page and "model &lt;1&gt;" in page
    assert "http" not in page and "src=" not in page
    for part in page.split("<svg")[1:]:
        ET.fromstring("<svg" + part.split("</svg>")[0] + "</svg>")
    assert page.count("<figure>") == 2
    used = set(re.findall(r"var\(--(\w+)\)", page))
    assert used and used <= set(re.findall(r"--(\w+): light-dark\(", page))
    told = as_json(found)["relations"]["P54"]
    assert told["cutoff"].startswith("2019") and told["days"][-1] == "2024-01-01"
    assert "No belief" in as_page([], "m")
