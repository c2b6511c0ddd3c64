"""Charts as coordinates: where things are, not how they look."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.charts import ChartRow, Point, curve, dots, legend, line, shown, ticks
from infra.drawing import COLOURS, MARKERS

SHARES = st.floats(0, 1)
FLOATS = st.floats(-1e6, 1e6, allow_nan=False)


def named(svg: str, tag: str, kind: str) -> list[Any]:
    """Elements in groups of a class, in the order in which they are drawn."""
    groups = [g for g in ET.fromstring(svg).iter("g") if g.get("class") == kind]
    return [element for group in groups for element in group.iter(tag)]


def corners(path: Any) -> list[tuple[float, float]]:
    """Every point that a path names; a curve lies within its own."""
    found = list(map(float, re.findall(r"-?[\d.]+", path.attrib["d"])))
    return list(zip(found[::2], found[1::2], strict=True))


def box(path: Any) -> tuple[float, float, float, float]:
    """Left, right, top and bottom of what a path draws."""
    x, y = zip(*corners(path), strict=True)
    return min(x), max(x), min(y), max(y)


def middle(path: Any) -> tuple[float, float]:
    """Where a marker stands."""
    left, right, top, bottom = box(path)
    return (left + right) / 2, (top + bottom) / 2


def written(svg: str, kind: str) -> list[str]:
    """Texts of a class."""
    return ["".join(text.itertext()) for text in named(svg, "text", kind)]


def one(value: float, low: float | None = None, high: float | None = None, n: int = 9) -> Point:
    return Point(value=value, low=low, high=high, n=n)


@settings(max_examples=12, deadline=None)
@given(st.lists(SHARES, min_size=2, max_size=6))
def test_a_dot_is_further_right_the_greater_its_value(values: list[float]) -> None:
    """The order of positions is the order of values, equal ones are at one place, and all is inside
    the picture."""
    rows = [
        ChartRow(label=str(i), points=[one(v, v / 2, (1 + v) / 2)]) for i, v in enumerate(values)
    ]
    svg = dots(rows, title="t", description="d")
    x = [middle(path)[0] for path in named(svg, "path", "candidate")]
    for a, b in pairwise(range(len(values))):
        assert (x[a] < x[b]) == (values[a] < values[b]) or abs(values[a] - values[b]) < 1e-4
    bars = [box(path)[:2] for path in named(svg, "path", "whisker")]
    for value, at, (low, high) in zip(values, x, bars, strict=True):
        assert low - 1e-4 <= at <= high + 1e-4
        assert (low, high) == pytest.approx([4 + 352 * v for v in (value / 2, (1 + value) / 2)])
    assert written(svg, "label") == [str(i) for i in range(len(values))]
    for value, text in zip(values, written(svg, "value"), strict=True):
        ends = f"[{shown(value / 2)}, {shown((1 + value) / 2)}]"
        assert text == f"{shown(value)} {ends} n 9"
    _inside(svg)


@settings(max_examples=12, deadline=None)
@given(st.lists(FLOATS, min_size=2, max_size=8), FLOATS)
def test_a_line_is_higher_the_greater_its_value(values: list[float], bound: float) -> None:
    """y falls as values rise, x grows release by release, the bound lies where its value would, and
    all is inside the picture."""
    points = [(f"v{i}", one(v, v - 1, v + 1)) for i, v in enumerate([*values, bound])]
    svg = line(points, title="t", description="d", bound=bound)
    x, y = zip(*map(middle, named(svg, "path", "candidate")), strict=True)
    x = [round(at, 3) for at in x]
    assert x == sorted(set(x))
    order = sorted(range(len(values)), key=values.__getitem__)
    assert all(y[a] >= y[b] - 1e-4 for a, b in pairwise(order))
    assert max(y) > min(y) or len(set(values)) == 1 or max(values) - min(values) < 1
    [dashed] = named(svg, "path", "bound")
    assert abs(middle(dashed)[1] - y[-1]) < 1e-4
    for at, bar in zip(y, named(svg, "path", "whisker"), strict=True):
        assert box(bar)[2] - 1e-4 <= at <= box(bar)[3] + 1e-4
    [drawn] = named(svg, "path", "curve")
    for found, wanted in zip(corners(drawn), zip(x, y, strict=True), strict=True):
        assert found == pytest.approx(wanted, abs=1e-3)
    _inside(svg)


def _inside(svg: str) -> None:
    root = ET.fromstring(svg)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    texts = [(float(t.attrib["x"]), float(t.attrib["y"])) for t in root.iter("text")]
    for x, y in [*texts, *(point for path in root.iter("path") for point in corners(path))]:
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


def test_what_is_outside_is_drawn_on_the_edge() -> None:
    """A point is never drawn off the picture, and an empty range is no division by zero."""
    rows = [ChartRow(label="", points=[one(v, v - 1, v + 1)]) for v in (-5, 0, 0.5, 1, 7)]
    svg = dots(rows, title="t", description="d")
    assert [middle(path)[0] for path in named(svg, "path", "candidate")] == [4, 4, 180, 356, 356]
    bars = [box(path)[:2] for path in named(svg, "path", "whisker")]
    assert bars == [(4, 4), (4, 356), (4, 356), (4, 356), (356, 356)]
    empty = dots(rows, title="t", description="d", lower=3, upper=3)
    assert [middle(path)[0] for path in named(empty, "path", "candidate")][:4] == [4] * 4


def test_the_axis_says_where_values_are() -> None:
    """Each number at an axis stands at its own line, where a point of that value is drawn, and the
    axis goes from one end of the data to the other."""
    values = (0.0, 0.25, 0.5, 0.75, 1.0)
    rows = [ChartRow(label="", points=[one(value)]) for value in values]
    across = dots(rows, title="t", description="d")
    assert list(map(float, written(across, "tick"))) == list(values)
    lines = [middle(path)[0] for path in named(across, "path", "grid")]
    assert lines == [middle(path)[0] for path in named(across, "path", "candidate")]
    up = line([(f"v{v}", one(v)) for v in values], title="t", description="d", bound=1.0)
    names = written(up, "tick")
    assert [name for name in names if name.startswith("v")] == ["v0.0", "v1.0"]
    at = {v: middle(p)[1] for v, p in zip(values, named(up, "path", "candidate"), strict=True)}
    numbers = [float(name) for name in names if not name.startswith("v")]
    assert len(numbers) >= 2
    for number, path in zip(numbers, named(up, "path", "grid"), strict=True):
        assert middle(path)[1] == pytest.approx(at[number], abs=1e-3)


def test_a_curve_goes_through_its_shares() -> None:
    """Every share at its time, though there be many in a row; the mark stands at its own time, its
    bar spans the interval, and the times that are named are written below."""
    points = [(float(day), abs(day - 300) / 300) for day in range(601)]
    said = {"title": "t", "description": "d", "named": [(0, "first"), (300, "mid"), (600, "last")]}
    svg = curve(points, mark=(300, 150, 450), **said)
    [drawn] = named(svg, "path", "curve")
    expected = [(48 + 308 * day / 600, 132 - 106 * share) for day, share in points]
    for found, wanted in zip(corners(drawn), expected, strict=True):
        assert found == pytest.approx(wanted, abs=1e-4)
    [bar], [dashed] = named(svg, "path", "whisker"), named(svg, "path", "bound")
    assert box(bar)[:2] == pytest.approx((125, 279)) and middle(dashed)[0] == pytest.approx(202)
    assert "stroke-dasharray" in dashed.attrib["style"]
    assert written(svg, "tick") == ["first", "mid", "last", "0", "0.5", "1"]
    _inside(svg)
    assert not named(curve(points, **said), "path", "bound")


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
    svg = dots([ChartRow(label="<b>&", points=[one(0.5)])], title="<i>", description='"&<script>')
    root = ET.fromstring(svg)
    assert root.findtext("title") == "<i>" and root.findtext("desc") == '"&<script>'
    assert root.attrib["role"] == "img" and root.attrib["aria-label"] == "<i>"
    assert "<script>" not in svg and "<b>" not in svg


HOSTILE = (
    *("$x^2$", "$\\frac{", "a\\n\nb", "\x00\x1b[31m", "\u202eevil\u202c", "&#0; &lt;"),
    *("</text></svg><script>", "\u6771\u4eac \U0001f600", "\u0627\u0644\u0639\u0631"),
)


@pytest.mark.parametrize("label", HOSTILE)
def test_a_label_is_text_whatever_is_in_it(label: str) -> None:
    """No mathematics, no markup, no font that lacks a letter: what is written is the label."""
    point = one(0.5, 0.4, 0.6)
    for svg in (
        dots([ChartRow(label=label, points=[point])], title="t", description="d"),
        line([(label, point), ("b", point)], title="t", description="d"),
        curve([(0, 0), (1, 1)], title="t", description="d", named=[(0, label)]),
    ):
        assert f"<tspan>{escape(label)}</tspan>" in svg
        assert not re.search("<(script|b)>", svg) and svg.count("</svg>") == 1


def test_a_long_label_is_cut() -> None:
    """It would be written over its number."""
    svg = dots([ChartRow(label="x" * 300, points=[one(0.5)])], title="t", description="d")
    assert written(svg, "label") == ["x" * 26 + "\N{HORIZONTAL ELLIPSIS}"]


def test_a_chart_takes_everything_from_the_page() -> None:
    """Its colours are the page's by name, its font is the page's, its width is free; many stand on
    a page without an id in common, and nothing is fetched; it has the same bytes every time."""
    point = one(0.5, 0.4, 0.6)
    made = [
        lambda: dots([ChartRow(label="a", points=[point])], title="t", description="d"),
        lambda: line([("a", point), ("b", point)], title="t", description="d", bound=0.3),
        lambda: curve([(0, 0), (1, 1)], title="t", description="d", named=[], mark=(0.5, 0.1, 0.7)),
        lambda: legend([(kind, "x") for kind in MARKERS]),
    ]
    for make in made:
        svg = make()
        assert svg == make()
        assert not re.search(r"#|\brgb|\bid=|href|url\(|font-family|https?:", svg)
        assert set(re.findall(r"var\(--(\w+)\)", svg)) <= set(COLOURS)
        drawn = ET.fromstring(f"<p>{svg}</p>")
        assert all("var(" in e.attrib["style"] for e in drawn.iter("path"))
    assert 'width="' not in made[0]()


def test_a_machines_own_settings_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What someone's matplotlibrc says is not in a report; and is as it was after a chart."""
    import matplotlib

    point = one(0.5, 0.4, 0.6)
    plain = line([("a", point), ("b", point)], title="t", description="d")
    own: dict[Any, Any] = {"font.size": 30.0, "lines.linestyle": ":", "axes.grid": True}
    for name, value in own.items():
        monkeypatch.setitem(matplotlib.rcParams, name, value)
    assert line([("a", point), ("b", point)], title="t", description="d") == plain
    assert matplotlib.rcParams["font.size"] == 30.0


def test_matplotlib_is_imported_by_the_first_chart_only() -> None:
    """It takes a second, which every command would wait for; so do scipy and scikit-learn."""
    script = (
        "import sys, infra.charts, jobs.cli, pipeline.evaluate.metrics, "
        "discovery.probe.beliefs.calibration; "
        "sys.exit(bool({'matplotlib', 'scipy.stats', 'sklearn'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_kinds_differ_by_shape() -> None:
    """Without colour, filled or hollow and the outline tell every two kinds apart; the key has
    them all."""
    shapes = set()
    for kind in MARKERS:
        point = Point(value=0.5, n=1, kind=kind)
        marks = dots([ChartRow(label="x", points=[point])], title="t", description="d")
        [path] = named(marks, "path", kind)
        left, right, top, bottom = box(path)
        x, y = middle(path)
        outline = {
            (round((a - x) / (right - left), 2), round((b - y) / (bottom - top), 2))
            for a, b in corners(path)
        }
        shapes.add((frozenset(outline), "fill: var(--paper)" in path.attrib["style"]))
    assert len(shapes) == len(MARKERS)
    assert all(
        words in legend([(kind, words)]) for kind, words in zip(MARKERS, "abcd", strict=True)
    )
