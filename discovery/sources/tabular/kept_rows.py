"""The rows of a text table as an observation keeps them: without the columns that play no part.

A line of JSON is a row. One that could not be read is a list of the reason and its place, since its
text may be that of any column.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from discovery.sources.tabular.row_reader import RefusedRow

REFUSED = "refused"
ROW = "row"


def keep_rows(rows: Iterable[Any], wanted: Collection[str]) -> bytes:
    """The rows as lines of JSON, with the wanted columns of each."""
    return "".join(
        f"{json.dumps(_kept(row, wanted, number))}\n" for number, row in enumerate(rows, 1)
    ).encode()


def read_kept(payload: bytes) -> Iterator[Any]:
    """The rows that `keep_rows` wrote."""
    for line in payload.splitlines():
        kept = json.loads(line)
        yield RefusedRow(*kept[REFUSED]) if REFUSED in kept else kept[ROW]


def _kept(row: Any, wanted: Collection[str], number: int) -> dict[str, Any]:
    """One row. Of one that is no object, only that is kept, as None."""
    if isinstance(row, RefusedRow):
        return {REFUSED: [row.reason, f"row {number}"]}
    if not isinstance(row, Mapping):
        return {ROW: None}
    return {ROW: {name: cell for name, cell in row.items() if name in wanted}}
