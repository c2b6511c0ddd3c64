"""Merges sorted tables in files into one sorted sequence of tables, with little of each in memory.

At each step every file has some of its rows in memory. The rows before the first of the files'
last subjects can be followed by none that is still to be read, so these are the next.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROWS_PER_STEP = 8192
"""Rows of each file that are read at a time."""


def merge_sorted(
    paths: Sequence[Path], schema: pa.Schema, order: Sequence[str], *, rows: int = ROWS_PER_STEP
) -> Iterator[pa.Table]:
    """Yield tables of the rows of all files, sorted by the columns `order`.

    paths  Parquet files of the schema, each sorted by `order`
    rows   rows of each file that are read at a time
    """
    keys = [(name, "ascending") for name in order]
    coming = [pq.ParquetFile(path).iter_batches(rows) for path in paths]
    held = [_more(each, schema.empty_table()) for each in coming]
    while True:
        ends = {
            n: table[order[0]][-1].as_py() for n, (table, is_open) in enumerate(held) if is_open
        }
        if not ends:
            break
        bound = min(ends.values())
        before = [pc.less(table[order[0]], bound) for table, _ in held]
        ready = pa.concat_tables(
            table.filter(mask) for (table, _), mask in zip(held, before, strict=True)
        )
        held = [
            (table.filter(pc.invert(mask)), is_open)
            for (table, is_open), mask in zip(held, before, strict=True)
        ]
        for n, end in ends.items():
            if end == bound:
                held[n] = _more(coming[n], held[n][0])
        yield ready.sort_by(keys)
    yield pa.concat_tables([schema.empty_table(), *(table for table, _ in held)]).sort_by(keys)


def _more(coming: Iterator[pa.RecordBatch], held: pa.Table) -> tuple[pa.Table, bool]:
    """The held rows of a file with the next ones behind them, and whether there may be more."""
    piece = next(coming, None)
    if piece is None:
        return held, False
    return pa.concat_tables([held, pa.Table.from_batches([piece], held.schema)]), True
