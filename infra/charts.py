"""Numbers -> SVG, as text to put into a page: dots with whiskers, lines over releases, and curves
of shares over time. Drawn by matplotlib, which is imported when the first chart is.

A chart is 360 units wide, which is a phone's width, and grows with the page. Fonts are the page's,
and so are colours: each is a CSS custom property, a key of `COLOURS`, that the page sets for light
and for dark. Every chart has a title and a description in words, and every number printed in one
carries its full value in `data-value`. No two kinds of point differ by colour alone.
"""

from __future__ import annotations

import io
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

WIDTH = 360.0
LEFT, RIGHT = 4.0, 356.0
"""Where an axis of shares begins and ends."""
LABEL, LANE, GAP = 17.0, 10.0, 9.0
"""Heights in a row of dots: its text, each of its points, and the space below."""
TOP, BOTTOM = 26.0, 132.0
"""Of the plot of a line chart; the last number is printed above."""
MARGIN = 48.0
"""Left of a line chart, for the numbers at its axis."""
INSET = 14.0
"""Between the sides of a line chart and its first and last point."""
MAX_LABELS = 4
"""Releases that are named below a line chart; of more, the first and the last."""
MAX_CHARS = 27
"""Of a row's label, beside its number; a longer one is cut."""
MINUS = "\N{MINUS SIGN}"
SVG = "{http://www.w3.org/2000/svg}"

COLOURS: Mapping[str, str] = {
    "ink": "#000001",
    "soft": "#000002",
    "rule": "#000003",
    "accent": "#000004",
    "wrong": "#000005",
    "paper": "#000006",
}
"""Name of a CSS custom property (`ink` of `--ink`) -> the colour that matplotlib draws for it."""
WHISKER: Mapping[str, Any] = {"colors": COLOURS["soft"], "linewidth": 1.25, "gid": "whisker"}
CURVE: Mapping[str, Any] = {"color": COLOURS["accent"], "linewidth": 1.5, "gid": "curve"}
BOUND: Mapping[str, Any] = {"linewidth": 1, "linestyle": (0, (4, 3)), "gid": "bound"}

Parts = Sequence[tuple[str, Mapping[str, str]]]
"""A text in pieces: what is written, and the attributes of its `tspan`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One number with its interval."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int
    kind: str = "candidate"
    """A key of `MARKERS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartRow:
    """What is drawn on one line of `dots`; the candidate's number is printed."""

    label: str
    points: Sequence[Point]
    """One a lane, from the top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """How a kind of point looks: what is new is filled, what it is compared with is hollow."""

    shape: str
    """matplotlib's name of it."""
    size: float
    """Of its side or diameter, in units."""
    filled: bool = False


MARKERS: Mapping[str, Marker] = {
    "base": Marker(shape="o", size=6.4),
    "parent": Marker(shape="s", size=5.6),
    "context": Marker(shape="D", size=5.9),
    "candidate": Marker(shape="o", size=7.2, filled=True),
}


def shown(value: float) -> str:
    """A number as it is printed: three decimals, fewer of large ones, two digits of tiny ones."""
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
    """Round numbers within lower..upper: no more than number + 1 of them."""
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(number, steps=[1, 2, 2.5, 5, 10]).tick_values(lower, upper)
    slack = 1e-9 * (upper - lower)
    return [float(tick) for tick in found if lower - slack <= tick <= upper + slack]


@contextmanager
def _style() -> Iterator[None]:
    """matplotlib's own defaults, whatever this machine's are, and text that stays text."""
    import matplotlib.style

    ours: dict[Any, Any] = {"svg.fonttype": "none", "path.simplify": False}
    with matplotlib.style.context(ours, after_reset=True):
        yield


@_style()
def dots(
    rows: Sequence[ChartRow],
    *,
    title: str,
    description: str,
    lower: float = 0.0,
    upper: float = 1.0,
) -> Markup:
    """One row a number: its label and value, and below them a point with whiskers for each kind.

    What lies outside lower..upper is drawn on the edge.
    """
    upper = upper if upper > lower else lower + 1.0
    bottom = 4.0 + sum(LABEL + LANE * len(row.points) + GAP for row in rows)
    chart = _Chart(WIDTH, bottom + 18, (LEFT, RIGHT, 2.0, bottom))
    chart.axes.set(xlim=(lower, upper), ylim=(bottom, 2.0))
    chart.x_axis([(tick, f"{tick:g}") for tick in ticks(lower, upper)], grid=True)
    y = 4.0
    for row in rows:
        chart.text(0.0, y + LABEL - 5, "label", [(_cut(row.label), {})], color=COLOURS["ink"])
        for place, point in enumerate(row.points):
            if point.kind == "candidate":
                chart.number(point, y + LABEL - 5)
            at, lane = min(max(point.value, lower), upper), y + LABEL + LANE * (place + 0.5)
            if point.low is not None and point.high is not None:
                low, high = (min(max(end, lower), upper) for end in (point.low, point.high))
                chart.axes.hlines(lane, low, high, **WHISKER)
            chart.marker(point.kind, at, lane)
        y += LABEL + LANE * len(row.points) + GAP
    return chart.svg(title, description)


@_style()
def line(
    points: Sequence[tuple[str, Point]],
    *,
    title: str,
    description: str,
    bound: float | None = None,
) -> Markup:
    """A number over releases, oldest first, with whiskers; its bound is a dashed line, and the last
    one is printed."""
    values = [point.value for _, point in points]
    ends = [v for _, p in points for v in (p.low, p.high) if v is not None]
    every = [*values, *ends, *([bound] if bound is not None else [])]
    lower, upper = min(every), max(every)
    pad = (upper - lower) * 0.08 or abs(upper) * 0.1 or 1.0
    last = len(points) - 1
    inset = max(1, last) * INSET / (RIGHT - MARGIN - 2 * INSET)
    left, right = -inset, max(1, last) + inset
    chart = _Chart(WIDTH, BOTTOM + 22, (MARGIN, RIGHT, TOP, BOTTOM))
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
    chart.number(points[-1][1], 12.0)
    return chart.svg(title, description)


@_style()
def curve(
    points: Sequence[tuple[float, float]],
    *,
    title: str,
    description: str,
    named: Sequence[tuple[float, str]],
    mark: tuple[float, float, float] | None = None,
) -> Markup:
    """A share over time, ascending; `named` are the times that are written below.

    mark  a time and its interval: a dashed line, and a bar below it
    """
    chart = _Chart(WIDTH, BOTTOM + 22, (MARGIN, RIGHT, TOP, BOTTOM))
    chart.axes.set(xlim=(points[0][0], points[-1][0]), ylim=(0.0, 1.0))
    chart.y_axis((0.0, 0.5, 1.0))
    chart.x_axis(named)
    if mark is not None:
        at, low, high = mark
        chart.axes.axvline(at, color=COLOURS["ink"], **BOUND)
        chart.axes.hlines(0.0, low, high, **{**WHISKER, "colors": COLOURS["ink"], "linewidth": 3})
    chart.axes.plot(*zip(*points, strict=True), **CURVE)
    return chart.svg(title, description)


@_style()
def legend(kinds: Iterable[tuple[str, str]]) -> Markup:
    """What the markers are, for a line of text: (kind, words) pairs."""
    keys = []
    for kind, words in kinds:
        key = _Chart(12.0, 12.0, (0.0, 12.0, 0.0, 12.0))
        key.axes.set(xlim=(0, 12), ylim=(0, 12))
        key.marker(kind, 6, 6)
        keys.append(Markup('<span class="key">{}{}</span>').format(key.svg(), words))
    return Markup(" ").join(keys)


class _Chart:
    """A matplotlib figure with one plot in it, in units from the upper left corner.

    Texts are put in after the drawing: a label may have signs that the font here lacks, that
    matplotlib reads as mathematics, or that XML does not allow, and part of a number is bold.
    """

    axes: Axes

    def __init__(
        self, width: float, height: float, plot: tuple[float, float, float, float]
    ) -> None:
        """plot  its left, right, top and bottom"""
        from matplotlib.figure import Figure
        from matplotlib.transforms import Affine2D

        height = float(math.ceil(height))
        left, right, top, bottom = plot
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / 72, height / 72), dpi=72, frameon=False)
        corner = (left / width, 1 - bottom / height)
        size = ((right - left) / width, (bottom - top) / height)
        self.axes = self.figure.add_axes((*corner, *size), frameon=False, axisbelow=True)
        self.axes.tick_params(length=0, pad=5, labelsize=11, labelcolor=COLOURS["soft"])
        self.axes.tick_params(grid_color=COLOURS["rule"], grid_linewidth=1)
        self.axes.set(xticks=(), yticks=())
        self._units = Affine2D().scale(1, -1).translate(0, height)
        self._texts: list[Parts] = []

    def x_axis(self, named: Sequence[tuple[float, str]], *, grid: bool = False) -> None:
        """Names below the plot, at values of x. The outermost stay within its sides."""
        lower, upper = self.axes.get_xlim()
        self.axes.set_xticks([value for value, _ in named], [" " for _ in named])
        if grid:
            self.axes.grid(axis="x", gid="grid")
        for tick, (value, name) in zip(self.axes.xaxis.get_major_ticks(), named, strict=True):
            tick.label1.set_horizontalalignment(
                "left" if value <= lower else "right" if value >= upper else "center"
            )
            self._put(tick.label1, "tick", [(name, {})])

    def y_axis(self, values: Sequence[float]) -> None:
        """Numbers left of the plot, each with a line across it."""
        self.axes.set_yticks(values, [" " for _ in values])
        self.axes.grid(axis="y", gid="grid")
        for tick, value in zip(self.axes.yaxis.get_major_ticks(), values, strict=True):
            self._put(tick.label1, "tick", [(f"{value:g}", {})])

    def text(self, x: float, y: float, kind: str, parts: Parts, **settings: Any) -> None:
        """A text whose line stands at y, from x on where the settings do not align it."""
        where = {"transform": self._units, "verticalalignment": "baseline", "fontsize": 12}
        self._put(self.figure.text(x, y, " ", **where, **settings), kind, parts)

    def number(self, point: Point, y: float) -> None:
        """Value, interval and n, set to the right."""
        strong = {"style": "fill: var(--ink); font-weight: 600"}
        parts = [(shown(point.value), {**strong, "data-value": str(point.value)})]
        if point.low is not None and point.high is not None:
            low, high = ((shown(end), {"data-value": str(end)}) for end in (point.low, point.high))
            parts += [(" [", {}), low, (", ", {}), high, ("]", {})]
        parts += [(" n ", {}), (str(point.n), {"data-value": str(point.n)})]
        self.text(self.width, y, "value", parts, color=COLOURS["soft"], ha="right")

    def marker(self, kind: str, x: float, y: float) -> None:
        """A point of a kind, at values of x and y."""
        from matplotlib.markers import MarkerStyle
        from matplotlib.patches import PathPatch
        from matplotlib.transforms import Affine2D

        marker = MARKERS[kind]
        colours = {"facecolor": COLOURS["paper"], "edgecolor": COLOURS["soft"], "linewidth": 1.4}
        if marker.filled:
            colours = {"facecolor": COLOURS["accent"], "linewidth": 0}
        shape = MarkerStyle(marker.shape)
        across, up = self.axes.transData.transform((x, y))
        place = shape.get_transform() + Affine2D().scale(marker.size).translate(across, up)
        drawn = PathPatch(shape.get_path(), transform=place, gid=kind, zorder=3, **colours)
        self.axes.add_artist(drawn)

    def svg(self, title: str | None = None, description: str = "") -> Markup:
        """The drawing as an element of an HTML page; without a title it is an ornament."""
        written = io.StringIO()
        self.figure.savefig(written, format="svg")
        drawn = ET.fromstring(written.getvalue())
        box = f"0 0 {self.width:.0f} {self.height:.0f}"
        root = ET.Element("svg", {"viewBox": box})
        if title is None:
            root.attrib |= {"width": f"{self.width:.0f}", "aria-hidden": "true"}
        else:
            root.attrib |= {"class": "chart", "role": "img", "aria-label": title}
            ET.SubElement(root, "title").text = title
            ET.SubElement(root, "desc").text = description
        for group in drawn.iterfind(f"{SVG}g"):
            for element in list(group.iter()):
                self._make_ours(element)
            root.append(group)
        return Markup(ET.tostring(root, encoding="unicode"))

    def _put(self, text: Text, kind: str, parts: Parts) -> None:
        """Have parts written where a text is drawn."""
        text.set_gid(f"{kind} {len(self._texts)}")
        self._texts.append(parts)

    def _make_ours(self, element: ET.Element) -> None:
        """Colours and fonts of the page, our names as classes, and no ids: a page has many charts.
        Nothing refers to an id but clip paths, and all is drawn within its plot."""
        element.tag = element.tag.removeprefix(SVG)
        element.text = element.tail = None
        element.attrib.pop("clip-path", None)
        kind, _, text = element.attrib.pop("id", "").partition(" ")
        if kind and "_" not in kind:  # matplotlib's own are `line2d_1` and the like
            element.set("class", kind)
        if text:
            for content, attributes in self._texts[int(text)]:
                ET.SubElement(element[0], "tspan", dict(attributes)).text = content
        if style := element.get("style"):
            for colour, drawn in COLOURS.items():
                style = style.replace(drawn, f"var(--{colour})")
            element.set("style", re.sub(r"font-family: [^;]*;? ?", "", style))


def _cut(label: str) -> str:
    return label if len(label) <= MAX_CHARS else label[: MAX_CHARS - 1] + "\N{HORIZONTAL ELLIPSIS}"
