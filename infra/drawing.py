"""A matplotlib figure -> an SVG element of an HTML page, in the page's own colours and fonts.

Colours of `COLOURS` become CSS custom properties of the same name, which the page defines for its
light and its dark appearance. matplotlib is imported when the first figure is made.
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
"""Namespace of SVG, as `xml.etree` writes it before the names of elements."""
COLOURS: Mapping[str, str] = {
    "ink": "#000001",
    "soft": "#000002",
    "rule": "#000003",
    "accent": "#000004",
    "wrong": "#000005",
    "paper": "#000006",
}
"""Name of a CSS custom property (`ink` is `--ink`) -> the colour that stands for it in
matplotlib."""

Parts = Sequence[tuple[str, Mapping[str, str]]]
"""A text in pieces: the words of each piece, and the attributes of its `tspan` element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """The appearance of a kind of point. The candidate is filled; what it is compared with is
    hollow."""

    shape: str
    """matplotlib's name of the shape."""
    size: float
    """Side or diameter, in units of the SVG."""
    filled: bool = False
    """Whether the inside has a colour."""


MARKERS: Mapping[str, Marker] = {
    "base": Marker(shape="o", size=6.4),
    "parent": Marker(shape="s", size=5.6),
    "context": Marker(shape="D", size=5.9),
    "candidate": Marker(shape="o", size=7.2, filled=True),
}
"""Kind of point -> its marker. No two have both the same shape and the same filling."""


@contextmanager
def plain_style() -> Iterator[None]:
    """Context in which matplotlib has its own defaults, whatever the user's settings are, and keeps
    text as text in SVG."""
    import matplotlib.style

    ours: dict[Any, Any] = {"svg.fonttype": "none", "path.simplify": False}
    with matplotlib.style.context(ours, after_reset=True):
        yield


class Drawing:
    """A matplotlib figure with one plot. Positions in the figure are in units of the SVG, from the
    upper left corner.

    Texts are inserted into the finished SVG. A label may contain characters that the font here
    lacks, that matplotlib reads as mathematics or that XML does not allow, and a part of a number
    may be bold.
    """

    axes: Axes
    """The plot. Set its limits before anything is drawn in it."""

    def __init__(
        self, width: float, height: float, plot: tuple[float, float, float, float]
    ) -> None:
        """
        width, height  size of the figure, in units
        plot           left, right, upper and lower side of the plot, in units
        """
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
        """Write names below the plot.

        named  values of x and their names; names at the sides are aligned to stay within the plot
        grid   whether a vertical line is drawn at each
        """
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
        """Write numbers left of the plot, each at its value of y with a horizontal line."""
        self.axes.set_yticks(values, [" " for _ in values])
        self.axes.grid(axis="y", gid="grid")
        for tick, value in zip(self.axes.yaxis.get_major_ticks(), values, strict=True):
            self._put(tick.label1, "tick", [(f"{value:g}", {})])

    def text(self, x: float, y: float, kind: str, parts: Parts, **settings: Any) -> None:
        """Write a text with its baseline at `y`.

        x, y      position, in units; the text begins at `x` unless the settings align it otherwise
        kind      CSS class of the text
        settings  properties of matplotlib's `Text`
        """
        where = {"transform": self._units, "verticalalignment": "baseline", "fontsize": 12}
        self._put(self.figure.text(x, y, " ", **where, **settings), kind, parts)

    def marker(self, kind: str, x: float, y: float) -> None:
        """Draw a point of a kind (a key of `MARKERS`) at values of x and y of the plot."""
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
        """The drawing as an SVG element of an HTML page. Without a title it is decoration, which
        screen readers skip."""
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
        """Note the parts of a text, which `svg` inserts in place of what matplotlib drew."""
        text.set_gid(f"{kind} {len(self._texts)}")
        self._texts.append(parts)

    def _make_ours(self, element: ET.Element) -> None:
        """Give an element of matplotlib's SVG the page's colours and fonts, insert its text, and
        replace its id by a class.

        A page has several charts, whose ids would clash. Only clip paths refer to ids, and they are
        not needed, since everything is drawn within its plot.
        """
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
