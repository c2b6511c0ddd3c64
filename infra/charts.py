"""Charts as SVG elements of an HTML page: dots with whiskers, lines over releases, and curves of
shares over time.

A chart is 360 units wide, the width of a phone. It scales with the page and has the page's colours
and fonts. Each chart has a title and a description in words. Each number printed in it has its full
value in the attribute `data-value`. No two kinds of point differ by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from infra.drawing import COLOURS, Drawing, plain_style

WIDTH = 360.0
"""Width of a chart, in units of the SVG."""
LEFT, RIGHT = 4.0, 356.0
"""Left and right side of the plot of `dots`; the right side is that of all plots."""
LABEL, LANE, GAP = 17.0, 10.0, 9.0
"""Heights in a row of `dots`: its text, each of its points, and the space below them."""
TOP, BOTTOM = 26.0, 132.0
"""Upper and lower side of the plot of `line` and `curve`; the last number is printed above it."""
MARGIN = 48.0
"""Width of the space left of the plot of `line` and `curve`, for the numbers of the axis."""
INSET = 14.0
"""Space between the sides of the plot of `line` and its first and last point."""
MAX_LABELS = 4
"""Greatest number of releases that are all named below `line`; of more, the first and the last."""
MAX_CHARS = 27
"""Greatest length of a row's label in `dots`; a longer label is shortened."""
MINUS = "\N{MINUS SIGN}"
"""Printed in place of a hyphen before negative numbers."""

WHISKER: Mapping[str, Any] = {"colors": COLOURS["soft"], "linewidth": 1.25, "gid": "whisker"}
CURVE: Mapping[str, Any] = {"color": COLOURS["accent"], "linewidth": 1.5, "gid": "curve"}
BOUND: Mapping[str, Any] = {"linewidth": 1, "linestyle": (0, (4, 3)), "gid": "bound"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One number with its confidence interval."""

    value: float
    low: float | None = None
    """Lower end of the interval; None where there is no interval."""
    high: float | None = None
    """Upper end of the interval; None where there is no interval."""
    n: int
    """Number of items that the value was measured on."""
    kind: str = "candidate"
    """Kind of point, a key of `infra.drawing.MARKERS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartRow:
    """One row of `dots`. The number of the point of kind `candidate` is printed beside the
    label."""

    label: str
    points: Sequence[Point]
    """The points, drawn one below the other."""


def shown(value: float) -> str:
    """A number as it is printed: three decimals, fewer for numbers from 10 on, and two significant
    digits for those below 0.01."""
    if isinstance(value, int):
        return str(value).replace("-", MINUS)
    size = abs(value)
    if size >= 100:
        text = f"{value:.1f}"
    elif size >= 10:
        text = f"{value:.2f}"
    elif size >= 0.01 or size < 1e-9:
        text = f"{value:.3f}"
    else:
        text = f"{value:.2g}"
    return ("0.000" if float(text) == 0 else text).replace("-", MINUS)


def ticks(lower: float, upper: float, number: int = 4) -> list[float]:
    """At most `number` + 1 round numbers between `lower` and `upper`, inclusive, for an axis."""
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(number, steps=[1, 2, 2.5, 5, 10]).tick_values(lower, upper)
    slack = 1e-9 * (upper - lower)
    return [float(tick) for tick in found if lower - slack <= tick <= upper + slack]


@plain_style()
def dots(
    rows: Sequence[ChartRow],
    *,
    title: str,
    description: str,
    lower: float = 0.0,
    upper: float = 1.0,
) -> Markup:
    """A chart of several numbers, one in each row: label and value, and below them the row's points
    with whiskers for their intervals.

    lower, upper  ends of the axis; points outside them are drawn at the edge
    """
    upper = upper if upper > lower else lower + 1.0
    bottom = 4.0 + sum(LABEL + LANE * len(row.points) + GAP for row in rows)
    chart = Drawing(WIDTH, bottom + 18, (LEFT, RIGHT, 2.0, bottom))
    chart.axes.set(xlim=(lower, upper), ylim=(bottom, 2.0))
    chart.x_axis([(tick, f"{tick:g}") for tick in ticks(lower, upper)], grid=True)
    y = 4.0
    for row in rows:
        chart.text(0.0, y + LABEL - 5, "label", [(_cut(row.label), {})], color=COLOURS["ink"])
        for place, point in enumerate(row.points):
            if point.kind == "candidate":
                _number(chart, point, y + LABEL - 5)
            at, lane = min(max(point.value, lower), upper), y + LABEL + LANE * (place + 0.5)
            if point.low is not None and point.high is not None:
                low, high = (min(max(end, lower), upper) for end in (point.low, point.high))
                chart.axes.hlines(lane, low, high, **WHISKER)
            chart.marker(point.kind, at, lane)
        y += LABEL + LANE * len(row.points) + GAP
    return chart.svg(title, description)


@plain_style()
def line(
    points: Sequence[tuple[str, Point]],
    *,
    title: str,
    description: str,
    bound: float | None = None,
) -> Markup:
    """A chart of one number over releases, with whiskers for its intervals. The last value is
    printed.

    points  name of each release and its number, the oldest first; at least one
    bound   a limit of the number, drawn as a dashed line
    """
    values = [point.value for _, point in points]
    ends = [v for _, p in points for v in (p.low, p.high) if v is not None]
    every = [*values, *ends, *([bound] if bound is not None else [])]
    lower, upper = min(every), max(every)
    pad = (upper - lower) * 0.08 or abs(upper) * 0.1 or 1.0
    last = len(points) - 1
    inset = max(1, last) * INSET / (RIGHT - MARGIN - 2 * INSET)
    left, right = -inset, max(1, last) + inset
    chart = Drawing(WIDTH, BOTTOM + 22, (MARGIN, RIGHT, TOP, BOTTOM))
    chart.axes.set(xlim=(left, right), ylim=(lower - pad, upper + pad))
    chart.y_axis(ticks(lower - pad, upper + pad, 3))
    named = range(last + 1) if last < MAX_LABELS else (0, last)
    places = {0: left, last: right}
    chart.x_axis([(places.get(place, place), points[place][0]) for place in named])
    if bound is not None:
        chart.axes.axhline(bound, color=COLOURS["wrong"], **BOUND)
    chart.axes.plot(values, **CURVE)
    for place, (_, point) in enumerate(points):
        if point.low is not None and point.high is not None:
            chart.axes.vlines(place, point.low, point.high, **WHISKER)
        chart.marker("candidate", place, point.value)
    _number(chart, points[-1][1], 12.0)
    return chart.svg(title, description)


@plain_style()
def curve(
    points: Sequence[tuple[float, float]],
    *,
    title: str,
    description: str,
    named: Sequence[tuple[float, str]],
    mark: tuple[float, float, float] | None = None,
) -> Markup:
    """A chart of a share over time.

    points  times and shares, 0 to 1, in the order of time; at least one
    named   times that are labelled below the plot, with their labels
    mark    a time and the ends of its interval, drawn as a dashed line and a bar at its foot
    """
    chart = Drawing(WIDTH, BOTTOM + 22, (MARGIN, RIGHT, TOP, BOTTOM))
    chart.axes.set(xlim=(points[0][0], points[-1][0]), ylim=(0.0, 1.0))
    chart.y_axis((0.0, 0.5, 1.0))
    chart.x_axis(named)
    if mark is not None:
        at, low, high = mark
        chart.axes.axvline(at, color=COLOURS["ink"], **BOUND)
        chart.axes.hlines(0.0, low, high, **{**WHISKER, "colors": COLOURS["ink"], "linewidth": 3})
    chart.axes.plot(*zip(*points, strict=True), **CURVE)
    return chart.svg(title, description)


@plain_style()
def legend(kinds: Iterable[tuple[str, str]]) -> Markup:
    """The legend of the markers, as HTML for a line of text.

    kinds  kinds of point (keys of `infra.drawing.MARKERS`), each with its meaning in words
    """
    keys = []
    for kind, words in kinds:
        key = Drawing(12.0, 12.0, (0.0, 12.0, 0.0, 12.0))
        key.axes.set(xlim=(0, 12), ylim=(0, 12))
        key.marker(kind, 6, 6)
        keys.append(Markup('<span class="key">{}{}</span>').format(key.svg(), words))
    return Markup(" ").join(keys)


def _cut(label: str) -> str:
    """A label of at most `MAX_CHARS` characters."""
    return label if len(label) <= MAX_CHARS else label[: MAX_CHARS - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _number(drawing: Drawing, point: Point, y: float) -> None:
    """Print value, interval and n of a point, aligned to the right side, on the line at `y`."""
    strong = {"style": "fill: var(--ink); font-weight: 600"}
    parts = [(shown(point.value), {**strong, "data-value": str(point.value)})]
    if point.low is not None and point.high is not None:
        low, high = ((shown(end), {"data-value": str(end)}) for end in (point.low, point.high))
        parts += [(" [", {}), low, (", ", {}), high, ("]", {})]
    parts += [(" n ", {}), (str(point.n), {"data-value": str(point.n)})]
    drawing.text(drawing.width, y, "value", parts, color=COLOURS["soft"], ha="right")
