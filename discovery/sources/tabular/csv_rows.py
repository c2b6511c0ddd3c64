"""Read the rows of a CSV file (RFC 4180), also as spreadsheets write it in Europe: with semicolons
or tabs between the cells, or a first line `sep=;`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator
from typing import Any

from discovery.sources.tabular.row_reader import RefusedRow

DELIMITERS = (",", ";", "\t", "|")
"""Characters that may stand between cells; the first unless the header is read by another."""
HEAD_CHARS = 1 << 20
"""Characters in which the header ends."""

_SEPARATOR = re.compile(r'"?sep=(.)"?\r?\n')
"""The line by which Excel says which character stands between cells."""


def csv_header(text: str, wanted: Collection[str]) -> list[str]:
    """The column names of a CSV file; those in `wanted` tell between which characters it is read.
    Where none is wanted, it is the character that gives most names."""
    return _header(text, wanted)[0]


def csv_rows(text: str, wanted: Collection[str]) -> Iterator[Any]:
    """The rows of a CSV file as maps; a row with more or fewer cells than the header is refused.

    A quoted cell may hold line breaks. Where a quote is never closed, everything behind it is one
    refused row.
    """
    header, delimiter, start = _header(text, wanted)
    limit = csv.field_size_limit(len(text) + 1)  # the default limit would end the whole file
    try:
        stream = io.StringIO(text, newline="")
        stream.seek(start)
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        skipped = 1 if start else 0
        passed = False
        while True:
            first = reader.line_num + 1 + skipped
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield RefusedRow(f"row is not CSV: {error}", f"line {first}")
                passed = True
                continue
            if not row:
                continue
            if not passed:
                passed = True
            elif len(row) != len(header):
                words = "more" if len(row) > len(header) else "fewer"
                yield RefusedRow(f"row has {words} cells than the header", f"line {first}: {row}")
            else:
                yield dict(zip(header, row, strict=True))
    finally:
        csv.field_size_limit(limit)


def _header(text: str, wanted: Collection[str]) -> tuple[list[str], str, int]:
    """The column names, the character between cells, and the position of the header's line.

    The character is the one that the file names, or else the one by which the header has all
    columns of `wanted`, or most of them, and most columns. Spaces around a name that is not wanted
    with them are left out.
    """
    said = _SEPARATOR.match(text)
    start = said.end() if said else 0
    choices = (said[1],) if said else DELIMITERS
    headers = [_names(text[start : start + HEAD_CHARS], mark, wanted) for mark in choices]
    for names, mark in zip(headers, choices, strict=True):
        if wanted and set(wanted) <= set(names):
            return names, mark, start
    names, mark = max(
        zip(headers, choices, strict=True),
        key=lambda read: (len(set(wanted) & set(read[0])), len(read[0])),
    )
    return names, mark, start


def _names(head: str, delimiter: str, wanted: Collection[str]) -> list[str]:
    """The cells of the first line that is not blank, read with one delimiter."""
    try:
        rows = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
        first = next((row for row in rows if row), [])
    except csv.Error:
        return []
    return [name if name in wanted else name.strip() for name in first]
