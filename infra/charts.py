"""Numbers -> SVG, as text to put into a page: dots with whiskers, lines over releases, and curves
of shares over time.

A chart is drawn 360 units wide, which is a phone's width; colours and fonts are the page's, by
class. Every chart has a title and a description in words, and every number printed in one carries
its full value in `data-value`. No two kinds of point differ by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH = 360.0
LEFT, RIGHT = 4.0, 356.0
"""Where an axis of shares begins and ends."""
LABEL, LANE, GAP = 17.0, 10.0, 9.0
"""Heights in a row of dots: its text, each of its points, and the space below."""
TOP, BOTTOM = 26.0, 132.0
"""Of the plot of a line chart; the last number is printed above."""
MARGIN = 48.0
"""Left of a line chart, for the numbers at its axis."""
MAX_LABELS = 4
"""Releases that are named below a line chart; of more, the first and the last."""
MAX_CHARS = 27
"""Of a row's label, beside its number; a longer one is cut."""
MINUS = "\N{MINUS SIGN}"


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
class Row:
    """What is drawn on one line of `dots`; the candidate's number is printed."""

    label: str
    points: Sequence[Point]
    """One a lane, from the top."""


MARKERS: Mapping[str, Markup] = {
    "base": Markup('<circle class="hollow" cx="{x:.2f}" cy="{y:.2f}" r="3.2"/>'),
    "parent": Markup(
        '<rect class="hollow" x="{x0:.2f}" y="{y0:.2f}" width="5.6" height="5.6" data-x="{x:.2f}"/>'
    ),
    "context": Markup(
        '<path class="hollow" d="M{x:.2f} {y:.2f}m0-4.2l4.2 4.2-4.2 4.2-4.2-4.2z" '
        'data-x="{x:.2f}"/>'
    ),
    "candidate": Markup('<circle class="solid" cx="{x:.2f}" cy="{y:.2f}" r="3.6"/>'),
}
"""Shape by kind: what is new is filled, what it is compared with is hollow."""


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


def scale(lower: float, upper: float, start: float, end: float) -> Callable[[float], float]:
    """The linear map of lower..upper to start..end; what lies outside is put on the edge."""
    span = (upper - lower) or 1.0

    def at(value: float) -> float:
        share = min(max((value - lower) / span, 0.0), 1.0)
        return start + share * (end - start)

    return at


def ticks(lower: float, upper: float, number: int = 4) -> list[float]:
    """Round numbers within lower..upper: no more than number + 1 of them."""
    raw = (upper - lower) / number or 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.ceil(lower / step - 1e-9), math.floor(upper / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def dots(
    rows: Sequence[Row], *, title: str, description: str, lower: float = 0.0, upper: float = 1.0
) -> Markup:
    """One row a number: its label and value, and below them a point with whiskers for each kind."""
    x = scale(lower, upper, LEFT, RIGHT)
    body: list[Markup] = []
    y = 4.0
    for row in rows:
        middle = y + LABEL - 5
        body.append(
            Markup('<text class="label" x="{}" y="{:.1f}">{}</text>').format(
                0, middle, _cut(row.label)
            )
        )
        body += [_number(p, WIDTH, middle) for p in row.points if p.kind == "candidate"]
        for place, point in enumerate(row.points):
            body.append(_whisker(point, x, y + LABEL + LANE * (place + 0.5)))
        y += LABEL + LANE * len(row.points) + GAP
    axis = [_axis_tick(x(tick), y, tick, lower, upper) for tick in ticks(lower, upper)]
    return _svg([*axis, *body], y + 18, title, description)


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
    y = scale(lower - pad, upper + pad, BOTTOM, TOP)
    x = scale(0, max(1, len(points) - 1), MARGIN + 14, RIGHT - 14)
    body = [
        Markup(
            '<line class="grid" x1="{:.1f}" x2="{:.1f}" y1="{:.2f}" y2="{:.2f}"/>'
            '<text class="tick" text-anchor="end" x="{:.1f}" y="{:.2f}">{}</text>'
        ).format(MARGIN, RIGHT, y(tick), y(tick), MARGIN - 6, y(tick) + 4, f"{tick:g}")
        for tick in ticks(lower - pad, upper + pad, 3)
    ]
    if bound is not None:
        body.append(
            Markup('<line class="bound" x1="{:.1f}" x2="{:.1f}" y1="{:.2f}" y2="{:.2f}"/>').format(
                MARGIN, RIGHT, y(bound), y(bound)
            )
        )
    path = " ".join(f"{x(i):.2f},{y(value):.2f}" for i, value in enumerate(values))
    body.append(Markup('<polyline class="curve" points="{}"/>').format(path))
    for i, (_, point) in enumerate(points):
        if point.low is not None and point.high is not None:
            body.append(
                Markup(
                    '<line class="whisker" x1="{0:.2f}" x2="{0:.2f}" y1="{1:.2f}" y2="{2:.2f}"/>'
                ).format(x(i), y(point.low), y(point.high))
            )
        body.append(MARKERS["candidate"].format(x=x(i), y=y(point.value)))
    named = range(len(points)) if len(points) <= MAX_LABELS else (0, len(points) - 1)
    body.append(_number(points[-1][1], WIDTH, 12))
    body += [_version(points[i][0], i, len(points), x(i)) for i in named]
    return _svg(body, BOTTOM + 22, title, description)


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
    x = scale(points[0][0], points[-1][0], MARGIN, RIGHT)
    y = scale(0.0, 1.0, BOTTOM, TOP)
    body = [
        Markup(
            '<line class="grid" x1="{:.1f}" x2="{:.1f}" y1="{:.2f}" y2="{:.2f}"/>'
            '<text class="tick" text-anchor="end" x="{:.1f}" y="{:.2f}">{}</text>'
        ).format(MARGIN, RIGHT, y(tick), y(tick), MARGIN - 6, y(tick) + 4, f"{tick:g}")
        for tick in (0.0, 0.5, 1.0)
    ]
    if mark is not None:
        at, low, high = mark
        body.append(
            Markup(
                '<line class="bound" x1="{0:.2f}" x2="{0:.2f}" y1="{1:.1f}" y2="{2:.1f}"/>'
                '<line class="whisker" x1="{3:.2f}" x2="{4:.2f}" y1="{2:.1f}" y2="{2:.1f}"/>'
            ).format(x(at), TOP, BOTTOM, x(low), x(high))
        )
    path = " ".join(f"{x(at):.2f},{y(share):.2f}" for at, share in points)
    body.append(Markup('<polyline class="curve" points="{}"/>').format(path))
    body += [
        Markup('<text class="tick" text-anchor="middle" x="{:.2f}" y="{}">{}</text>').format(
            min(max(x(at), MARGIN), RIGHT - 12), BOTTOM + 16, name
        )
        for at, name in named
    ]
    return _svg(body, BOTTOM + 22, title, description)


def legend(kinds: Iterable[tuple[str, str]]) -> Markup:
    """What the markers are, for a line of text: (kind, words) pairs."""
    svg = Markup('<svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">{}</svg>')
    keys = [
        Markup('<span class="key">{}{}</span>').format(svg.format(_marker(kind, 6, 6)), words)
        for kind, words in kinds
    ]
    return Markup(" ").join(keys)


def _svg(body: Iterable[Markup], height: float, title: str, description: str) -> Markup:
    frame = Markup(
        '<svg class="chart" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">'
        "<title>{}</title><desc>{}</desc>{}</svg>"
    )
    return frame.format(WIDTH, math.ceil(height), title, title, description, Markup("").join(body))


def _cut(label: str) -> str:
    return label if len(label) <= MAX_CHARS else label[: MAX_CHARS - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _marker(kind: str, x: float, y: float) -> Markup:
    return MARKERS[kind].format(x=x, y=y, x0=x - 2.8, y0=y - 2.8)


def _whisker(point: Point, x: Callable[[float], float], y: float) -> Markup:
    marker = _marker(point.kind, x(point.value), y)
    if point.low is None or point.high is None:
        return marker
    low, high = x(point.low), x(point.high)
    bar = Markup('<line class="whisker" x1="{0:.2f}" x2="{1:.2f}" y1="{2:.2f}" y2="{2:.2f}"/>')
    return bar.format(low, high, y) + marker


def _number(point: Point, x: float, y: float) -> Markup:
    """Value, interval and n, set to the right."""
    part = Markup('<tspan data-value="{}">{}</tspan>')
    said = Markup('<tspan class="strong" data-value="{}">{}</tspan>').format(
        point.value, shown(point.value)
    )
    if point.low is not None and point.high is not None:
        low, high = (part.format(end, shown(end)) for end in (point.low, point.high))
        said += Markup(" [{}, {}]").format(low, high)
    said += Markup(' n <tspan data-value="{0}">{0}</tspan>').format(point.n)
    return Markup('<text class="value" text-anchor="end" x="{:.1f}" y="{:.1f}">{}</text>').format(
        x, y, said
    )


def _axis_tick(x: float, y: float, tick: float, lower: float, upper: float) -> Markup:
    anchor = "start" if tick <= lower else "end" if tick >= upper else "middle"
    return Markup(
        '<line class="grid" x1="{0:.2f}" x2="{0:.2f}" y1="2" y2="{1:.1f}"/>'
        '<text class="tick" text-anchor="{2}" x="{0:.2f}" y="{3:.1f}">{4}</text>'
    ).format(x, y, anchor, y + 13, f"{tick:g}")


def _version(name: str, place: int, number: int, x: float) -> Markup:
    last = place == number - 1
    anchor, at = ("end", RIGHT) if last else ("middle", x) if place else ("start", MARGIN)
    return Markup('<text class="tick" text-anchor="{}" x="{:.2f}" y="{}">{}</text>').format(
        anchor, at, BOTTOM + 16, name
    )
