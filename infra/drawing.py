"""A matplotlib figure -> an SVG element of an HTML page, in the page's own colours and fonts.

matplotlib is imported when the first figure is made. What is drawn in one of `COLOURS` is written
as the CSS custom property of its name, which the page sets for light and for dark.
"""

from __future__ import annotations

import io
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

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

Parts = Sequence[tuple[str, Mapping[str, str]]]
"""A text in pieces: what is written, and the attributes of its `tspan`."""


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
"""By kind of point; no two have both the shape and the filling in common."""


@contextmanager
def plain_style() -> Iterator[None]:
    """matplotlib's own defaults, whatever this machine's are, and text that stays text."""
    import matplotlib.style

    ours: dict[Any, Any] = {"svg.fonttype": "none", "path.simplify": False}
    with matplotlib.style.context(ours, after_reset=True):
        yield


class Drawing:
    """A matplotlib figure with one plot in it, in units from the upper left corner.

    Texts are put in after the drawing: a label may have signs that the font here lacks, that
    matplotlib reads as mathematics, or that XML does not allow, and part of a number is bold.
    """

    axes: Axes
    """The plot; give it its limits before anything is drawn in it."""

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
            root.attrib |= {"width": f"{self.width:.0f}", "height": f"{self.height:.0f}"}
            root.set("aria-hidden", "true")
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
