"""Read the rows of a JSON file: an object a line (JSON Lines), or one array of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from discovery.sources.tabular.row_reader import RefusedRow

SPACE = " \t\r\n"


def json_rows(text: str) -> Iterator[Any]:
    """The JSON value of each line, or of each element where the file is one array; what cannot be
    read is a refused row. Blank lines are no rows."""
    if _is_array(text):
        yield from _elements(text, _skip(text, 0) + 1)
        return
    for line in text.split("\n"):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError:
                yield RefusedRow("row is not JSON", line)
            except RecursionError:
                yield RefusedRow("row is nested too deeply", line)


def _is_array(text: str) -> bool:
    """Whether the file begins with an array that is not the value of its first line alone."""
    start = _skip(text, 0)
    if not text.startswith("[", start):
        return False
    end = text.find("\n", start)
    if end < 0 or _skip(text, end) == len(text):
        return True
    try:
        json.loads(text[start:end])
    except (ValueError, RecursionError):
        return True
    return False


def _elements(text: str, place: int) -> Iterator[Any]:
    """The elements of an array that begins before `place`. Behind an element that cannot be read
    no other can be told, so that the rest is one refused row."""
    decoder = json.JSONDecoder()
    place = _skip(text, place)
    while not text.startswith("]", place):
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            yield RefusedRow("array of rows is cut or is not JSON", text[place : place + 1000])
            return
        yield value
        place = _skip(text, place)
        if text.startswith(",", place):
            place = _skip(text, place + 1)
    place = _skip(text, place + 1)
    if place < len(text):
        yield RefusedRow("text follows the array of rows", text[place : place + 1000])


def _skip(text: str, place: int) -> int:
    """The place of the next character that is no white space."""
    while place < len(text) and text[place] in SPACE:
        place += 1
    return place
