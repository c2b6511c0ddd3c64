"""Foreign text is shown, and never obeyed."""

# ruff: noqa: RUF001
# The texts are in many scripts.

from __future__ import annotations

import ast
import io
import json
import logging
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.table import Table

from infra.display import LogLine, Terminal, code, line, markdown, say_json, visible

ROOT = Path(__file__).parents[2]
HOSTILE = (
    "[/b]",
    "list[int] is",
    "[INST] Who is Ada? [/INST]",
    ":smile: [link=http://x.org]x[/link]",
    "\x1b[31mred\x1b]8;;http://x.org\x1b\\link",
    "\x1b]52;c;ZXZpbA==\x07 \x9b2J",
    "back\b\b\bspace\rcarriage\0null\x7f",
    "name \u202eelif\u2066 \u2028 para",
    "half \ud800",
    "# heading\n## next\n<script>alert(1)</script>\n![x](http://x.org/y.png) [a](b) | cell |",
    "- item\n1. one\n=====\n```\nfence",
    "www.evil.org http://evil.org a@evil.org $x$ ~~gone~~ &lt;b&gt; *a* _b_ `c`",
    "    indented",
)
LEGITIMATE = (
    *(
        "Zürich",
        "東京都",
        "محمد بن راشد",
        "ירושלים\u200f",
        "می\u200cخواهم",
        "क्\u200dष",
        "é e\u0301",
    ),
    *("👩\u200d🔬", "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", "a – b… ½"),
)
"""Marks of direction, joiners and flags are a part of how these are written."""
OBEYED = r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"


@pytest.mark.parametrize("text", LEGITIMATE)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert line(text) == visible(text) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_terminal_obeys_nothing(text: str) -> None:
    """As a line, in a table, in a log: no escape, no control, and what was written can be read."""
    out = io.StringIO()
    terminal = Terminal(file=out, force_terminal=True, width=400)
    table = Table("a", box=None)
    table.add_row(text)
    terminal.print(text, soft_wrap=True)
    terminal.print(table)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())  # our own heading's style
    assert not re.search(
        r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown
    )
    assert line(text).replace("\\n", " ").split()[0] in shown.replace("\n", " ")
    record = logging.makeLogRecord({"msg": text})
    assert LogLine().format(record) == line(text)
    assert "\n" not in line(text)


@pytest.mark.parametrize("text", [*HOSTILE, *LEGITIMATE])
def test_markdown_shows_the_text_and_nothing_else(text: str) -> None:
    """In a paragraph, a list, a table cell and a code span: the characters are those of `line`."""
    parser = MarkdownIt("gfm-like", {"linkify": False, "html": True}).enable("table")
    shown = line(text).strip()
    for document in (
        markdown(text),
        f"- 3: {markdown(text)}",
        f"|h|g|\n|-|-|\n|{markdown(text)}|x|",
    ):
        tokens = [t for block in parser.parse(document) for t in (block, *(block.children or ()))]
        kinds = {token.type for token in tokens}
        assert not kinds & {"html_block", "html_inline", "link_open", "image", "heading_open"}
        assert not kinds & {"fence", "code_block", "hr", "ordered_list_open", "em_open", "s_open"}
        assert "softbreak" not in kinds
        inline = "".join(t.content for t in tokens if t.type in ("text", "text_special"))
        assert shown in inline
    (paragraph,) = (t for t in parser.parse(f"a {code(text)} b") if t.type == "inline")
    (span,) = (t for t in paragraph.children or () if t.type == "code_inline")
    assert span.content.strip() == line(text).strip()


@given(st.text(st.characters(exclude_characters="\\")))
def test_nothing_is_lost(text: str) -> None:
    """The escapes are those of a string of Python, so the text can be had back."""
    shown = line(text).encode("latin-1", "backslashreplace")
    assert shown.decode("unicode_escape") == text


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_is_the_same_value(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """In any encoding of the terminal, and without a character that it obeys."""
    for text in (*HOSTILE, *LEGITIMATE):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace")
        monkeypatch.setattr("sys.stdout", stream)
        say_json({"text": text})
        stream.flush()
        told = raw.getvalue().decode(encoding)
        assert json.loads(told) == {"text": text}
        assert told.count("\n") == 1 and not re.search(
            r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", told
        )


def test_nothing_is_printed_past_this_module() -> None:
    """No other module of the program makes a console or prints by itself."""
    between_programs = {
        "infra/execution/watchdog.py",
        "infra/lm/chat_program.py",
        "infra/models/tokenizer/program.py",
    }
    found = []
    for package in ("discovery", "editors", "infra", "jobs", "pipeline"):
        for path in (ROOT / package).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if name == "infra/display.py" or name in between_programs:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                called = node.func if isinstance(node, ast.Call) else None
                if isinstance(called, ast.Name) and called.id in ("print", "Console"):
                    found.append(f"{name}:{called.lineno}")
    assert not found
