"""Objects of a JSON text come each in a line, whatever the layout and wherever it is divided."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.errors import DamageError
from infra.files.json_objects import objects_by_line, split_objects

SCALARS = st.none() | st.integers(-9, 9) | st.text(alphabet='a"\\{}[],\n\r é', max_size=6)
VALUES = st.recursive(
    SCALARS,
    lambda part: (
        st.lists(part, max_size=3)
        | st.dictionaries(st.text(alphabet='k"\\{', max_size=3), part, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text(alphabet="abc", min_size=1), VALUES), max_size=5)


def written(objects: list[Any], layout: str) -> bytes:
    """As other programs write an array of objects."""
    lines = [json.dumps(value, ensure_ascii=False) for value in objects]
    text = {
        "a line each": "[\n" + ",\n".join(lines) + "\n]\n",
        "lines alone": "\n".join(lines),
        "one line": json.dumps(objects, ensure_ascii=False),
        "indented": json.dumps(objects, ensure_ascii=False, indent=2),
        "indented by tabs": json.dumps(objects, ensure_ascii=False, indent="\t"),
        "bracket before the first": "[" + ",\n".join(lines) + "]",
        "carriage returns": json.dumps(objects, ensure_ascii=False, indent=2).replace("\n", "\r\n"),
        "indented, one after the other": "\n".join(json.dumps(v, indent=1) for v in objects),
    }
    return text[layout].encode()


LAYOUTS = (
    *("a line each", "lines alone", "one line", "indented", "indented by tabs"),
    *("bracket before the first", "carriage returns", "indented, one after the other"),
)


@settings(max_examples=300, deadline=None)
@given(objects=OBJECTS, layout=st.sampled_from(LAYOUTS), piece=st.integers(1, 40))
def test_all_objects_in_order(objects: list[Any], layout: str, piece: int) -> None:
    """Divided into pieces of any size, they are those that a JSON parser finds."""
    text = written([{"id": "Q1", **value} for value in objects], layout)
    pieces = [text[n : n + piece] for n in range(0, len(text), piece)]
    lines = b"".join(objects_by_line(pieces)).split(b"\n")
    found = [json.loads(bare) for line in lines if (bare := line.strip(b" ,\r\t[]"))]
    assert found == [{"id": "Q1", **value} for value in objects]


def test_a_file_with_an_object_a_line_is_passed_on() -> None:
    """Byte for byte, but for a byte order mark."""
    text = b'[\n{"id":"Q1"},\n{"id":"Q2"}\n]\n'
    for mark in (b"", b"\xef\xbb\xbf"):
        assert b"".join(objects_by_line([mark + text])) == text
    assert b"".join(objects_by_line([b"<html>\n{}"])) == b"<html>\n{}"
    assert list(objects_by_line([])) == []


def test_what_came_before_damage_is_there() -> None:
    """The error of the file is raised behind it."""

    def pieces() -> Iterator[bytes]:
        yield b'[{"a": 1},\n{"b"'
        raise DamageError("it ends")

    found = []
    with pytest.raises(DamageError):
        found.extend(objects_by_line(pieces()))
    assert b'{"a": 1}' in b"".join(found)


def test_several_objects_in_one_text() -> None:
    """Commas go, what is between objects stays."""
    assert split_objects(b'{"a": "}{"},{"b": {}}') == [b'{"a": "}{"}', b'{"b": {}}']
    assert split_objects(b'x{"a": 1}') == [b'x{"a": 1}']
    assert split_objects(b'{"a": "') == [b'{"a": "']
