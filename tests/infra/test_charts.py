"""Charts as coordinates: where things are, not how they look."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.charts import MARKERS, Point, Row, dots, legend, line, scale, shown, ticks

SHARES = st.floats(0, 1)
FLOATS = st.floats(-1e6, 1e6, allow_nan=False)


def elements(svg: str, tag: str, kind: str) -> list[Any]:
    """Elements of a class, in the order in which they are drawn."""
    return [e for e in ET.fromstring(svg).iter(tag) if kind in e.get("class", "").split()]


def coordinates(svg: str) -> list[tuple[float, float]]:
    """Every point that anything is drawn at, but for relative moves."""
    found = []
    for element in ET.fromstring(svg).iter():
        at = {k: float(v) for k, v in element.items() if re.fullmatch(r"c?[xy][12]?", k)}
        found += [(at.get(f"{c}x{n}", 0), at.get(f"{c}y{n}", 0)) for c, n in NAMED if at]
        pairs = re.findall(r"(-?[\d.]+),(-?[\d.]+)", element.get("points", ""))
        found += [(float(x), float(y)) for x, y in pairs]
    return found


NAMED = (("", ""), ("c", ""), ("", "1"), ("", "2"))


def one(value: float, low: float | None = None, high: float | None = None, n: int = 9) -> Point:
    return Point(value=value, low=low, high=high, n=n)


@settings(max_examples=40, deadline=None)
@given(st.lists(SHARES, min_size=2, max_size=6))
def test_a_dot_is_further_right_the_greater_its_value(values: list[float]) -> None:
    """The order of positions is the order of values, equal ones are at one place, and all is inside
    the picture."""
    rows = [Row(label=str(i), points=[one(v, v / 2, (1 + v) / 2)]) for i, v in enumerate(values)]
    svg = dots(rows, title="t", description="d")
    x = [float(e.attrib["cx"]) for e in elements(svg, "circle", "solid")]
    for a, b in pairwise(range(len(values))):
        assert (x[a] < x[b]) == (values[a] < values[b]) or abs(values[a] - values[b]) < 1e-4
    bars = elements(svg, "line", "whisker")
    for at, bar in zip(x, bars, strict=True):
        assert float(bar.attrib["x1"]) <= at <= float(bar.attrib["x2"])
    _inside(svg)


@settings(max_examples=40, deadline=None)
@given(st.lists(FLOATS, min_size=2, max_size=8), FLOATS)
def test_a_line_is_higher_the_greater_its_value(values: list[float], bound: float) -> None:
    """y falls as values rise, x grows release by release, the bound lies where its value would, and
    all is inside the picture."""
    points = [(f"v{i}", one(v, v - 1, v + 1)) for i, v in enumerate([*values, bound])]
    svg = line(points, title="t", description="d", bound=bound)
    circles = elements(svg, "circle", "solid")
    x, y = ([float(c.attrib[key]) for c in circles] for key in ("cx", "cy"))
    assert x == sorted(set(x))
    order = sorted(range(len(values)), key=values.__getitem__)
    assert all(y[a] >= y[b] for a, b in pairwise(order))
    assert max(y) > min(y) or len(set(values)) == 1 or max(values) - min(values) < 1
    [dashed] = elements(svg, "line", "bound")
    assert abs(float(dashed.attrib["y1"]) - y[-1]) < 0.011
    _inside(svg)


def _inside(svg: str) -> None:
    _, _, width, height = map(float, ET.fromstring(svg).attrib["viewBox"].split())
    for x, y in coordinates(svg):
        assert -0.01 <= x <= width + 0.01 and -0.01 <= y <= height + 0.01


@settings(max_examples=60, deadline=None)
@given(FLOATS, st.floats(1e-6, 1e6))
def test_ticks_are_few_even_and_within(lower: float, span: float) -> None:
    """No more than asked for and one, equally far apart, none outside."""
    found = ticks(lower, lower + span, 4)
    assert 1 <= len(found) <= 5
    slack = 1e-6 * max(1, abs(lower), span)
    assert lower - slack <= found[0] and found[-1] <= lower + span + slack
    steps = [b - a for a, b in pairwise(found)]
    assert all(abs(step - steps[0]) <= slack for step in steps)


def test_a_scale_puts_what_is_outside_on_its_edge() -> None:
    """A point is never drawn off the picture, and an empty range is no division by zero."""
    at = scale(0, 1, 10, 20)
    assert [at(v) for v in (-5, 0, 0.5, 1, 7)] == [10, 10, 15, 20, 20]
    assert scale(3, 3, 0, 1)(3) == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.96774, "0.968"), (26.874, "26.87"), (1876.92, "1876.9"), (0.00034, "0.00034")),
        *((0.0, "0.000"), (-0.009, "\u22120.009"), (-1e-17, "0.000")),
        *((0, "0"), (3, "3"), (12345, "12345")),
    ],
)
def test_numbers_are_printed_to_what_matters(value: float, text: str) -> None:
    """Three decimals of shares, two of tens, two digits of what would vanish; a real minus sign."""
    assert shown(value) == text


def test_a_chart_says_in_words_what_it_shows() -> None:
    """Title and description are there for whoever cannot see it, and nothing in them is markup."""
    svg = dots([Row(label="<b>&", points=[one(0.5)])], title="<i>", description='"&<script>')
    root = ET.fromstring(svg)
    space = "" if root.tag == "svg" else root.tag.removesuffix("svg")
    assert root.findtext(f"{space}title") == "<i>" and root.findtext(f"{space}desc") == '"&<script>'
    assert root.attrib["role"] == "img" and root.attrib["aria-label"] == "<i>"
    assert "<script>" not in svg and "<b>" not in svg


def test_kinds_differ_by_shape() -> None:
    """Without colour, filled or hollow and the outline tell every two kinds apart; the key has
    them all."""
    shapes = set()
    for kind in MARKERS:
        point = Point(value=0.5, n=1, kind=kind)
        marks = dots([Row(label="x", points=[point])], title="t", description="d")
        drawn = [e for e in ET.fromstring(marks).iter() if e.get("class") in ("solid", "hollow")]
        shapes |= {(e.tag, e.get("class")) for e in drawn}
    assert len(shapes) == len(MARKERS)
    assert all(
        words in legend([(kind, words)]) for kind, words in zip(MARKERS, "abcd", strict=True)
    )
