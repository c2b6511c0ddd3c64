"""Foreign text made safe for the place where it is shown: terminal, log, JSON, Markdown.

What sources, models, hosts and people write is shown and never obeyed. Nothing of it is lost: what
could steer the reader's program is replaced by a visible escape, such as `\\x1b` for the character
that begins a terminal's commands. Letters, marks and joiners of all scripts stay as they are. Pages
of HTML are made safe by their templates, which escape every value (`infra/drawing.py`).
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console
from rich.segment import Segment
from rich.text import Text

_CONTROLS = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and line feed, delete, C1
    r"\u202a-\u202e\u2066-\u2069"  # overrides and isolates of writing direction
    r"\u2028\u2029\ufff9-\ufffb"  # line and paragraph separators, interlinear annotation
    r"\ud800-\udfff"  # halves of characters
)
_FLAG = "\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f"
"""A flag of a region, such as Scotland's: the only place of tag characters."""
_TAGS = "[\U000e0000-\U000e007f]"
_OBEYED = re.compile(f"({_FLAG})|[{_CONTROLS}]|{_TAGS}")
_OBEYED_IN_A_LINE = re.compile(rf"({_FLAG})|[{_CONTROLS}\t\n]|{_TAGS}")
_MARKDOWN = re.compile(r"[\\`*_\[\]<>|~&#$]")
"""Characters that mean something inside of a line of Markdown (CommonMark 0.31, GFM tables, and
mathematics as GitHub shows it)."""
_BLOCK = re.compile(r"^([-+=](?=[\s=-])|\d+(?=[.)]\s))")
"""What makes a line a list, a heading or a rule."""
_LINK = re.compile(r"(?i)(://|www\.|@)")
"""What makes an address a link without any sign around it (GFM, "Autolinks")."""


def visible(text: str) -> str:
    """A text with visible escapes in place of all that a terminal obeys but tabs and line ends."""
    return _OBEYED.sub(_escape, text)


def line(text: str) -> str:
    """A text that stays on its line: `visible`, and tabs and line ends are escaped too."""
    return _OBEYED_IN_A_LINE.sub(_escape, text)


def markdown(text: str) -> str:
    """A text as it stands in a paragraph, list or table cell of Markdown: it makes no markup, no
    HTML, no link and no further line."""
    escaped = _MARKDOWN.sub(r"\\\g<0>", line(text).strip())
    escaped = _LINK.sub(lambda m: "".join(f"&#{ord(c)};" for c in m[1]), escaped)
    return _BLOCK.sub(lambda m: f"&#{ord(m[1][0])};{m[1][1:]}", escaped)


def code(text: str) -> str:
    """A text as a code span of Markdown; one with backticks has a longer fence."""
    shown = line(text)
    longest = max(map(len, re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest else ""
    return f"{fence}{space}{shown or ' '}{space}{fence}"


class Terminal(Console):
    """A console on which text is shown as it is: no markup is read in it, and what a terminal would
    obey is escaped. Our own styles are given as `Text`, or with `markup=True` around escaped
    text."""

    def __init__(self, **options: Any) -> None:
        """
        options  of `rich.console.Console`
        """
        super().__init__(**{"highlight": False, "markup": False, "emoji": False, **options})

    def render_str(self, text: str, **options: Any) -> Text:
        """The rich text of a string, which is made visible before its width is measured."""
        return super().render_str(visible(text), **options)

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        shown = (
            part if part.control else part._replace(text=visible(part.text)) for part in buffer
        )
        return super()._render_buffer(shown)


def say(text: str, *, file: TextIO | None = None) -> None:
    """Print a text, which may have several lines, to a stream; None is standard output."""
    print(visible(text), file=file or sys.stdout, flush=True)


def pass_on(text: str, file: TextIO) -> None:
    """Print a part of another program's output as it comes: made `visible`, with no end of line."""
    print(visible(text), end="", file=file, flush=True)


def say_json(value: Any) -> None:
    """Print a value as one line of JSON to standard output, as `json_line` writes it."""
    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    print(json_line(value, ensure_ascii=ascii_only, default=str), flush=True)


def json_line(value: Any, **options: Any) -> str:
    """A value as one line of JSON, whatever a reader takes for the end of a line.

    What a terminal would obey is escaped as JSON does it, so a reader gets the value unchanged.

    options  of `json.dumps`
    """
    text = json.dumps(value, **{"ensure_ascii": False, **options})
    return _OBEYED.sub(_json_escape, text)


def write_any_character() -> None:
    """Let standard output and error write what their encoding has not as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def _escape(match: re.Match[str]) -> str:
    """A character as in a string of Python: `\\n`, `\\x1b`, `\\u202e`."""
    if match[1]:
        return match[1]
    known = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
    number = ord(match[0])
    form = "\\x{:02x}" if number < 0x100 else "\\u{:04x}" if number < 0x10000 else "\\U{:08x}"
    return known.get(match[0]) or form.format(number)


def _json_escape(match: re.Match[str]) -> str:
    """A character as in a string of JSON, in UTF-16 units."""
    return match[1] or json.dumps(match[0])[1:-1]


class LogLine(logging.Formatter):
    """A message of a log on one line, without what a terminal would obey."""

    def format(self, record: logging.LogRecord) -> str:
        """The message of a record, with its traceback if there is one."""
        return line(super().format(record))
