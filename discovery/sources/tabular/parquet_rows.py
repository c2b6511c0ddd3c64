"""Read the rows of a Parquet file, of any type that DuckDB, Spark, pandas, Polars or Arrow write.

Only the columns that play a part are read, so that the others may hold anything. A cell of a type
that is no text, number or date (a list, a map, a duration) is a `RefusedCell`, which costs its row.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.facts.dates import to_iso
from discovery.facts.fact import Interval
from discovery.sources.tabular.cells import RefusedCell
from infra.errors import DamageError

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Unit of a time stamp -> how many are a second."""
DAY_S = 86_400
MAX_EXACT = {pa.float16(): 2**11, pa.float32(): 2**24}
"""Type -> from which number on it does not hold every whole number."""
NO_VALUE = RefusedCell("is not text, a number or a date", "a value of another type")
INEXACT = RefusedCell("is a floating-point number too large to be exact", "a large number")
NO_ZONE = RefusedCell("is a time in a zone that is unknown here", "a time")
FAULTS = (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError)
"""What Arrow raises for a file that is cut or damaged."""


def parquet_columns(content: bytes) -> list[str]:
    """Names of the columns. Raises DamageError where the content is not Parquet."""
    try:
        return pq.ParquetFile(io.BytesIO(content)).schema_arrow.names
    except FAULTS as error:
        raise _damage(error) from error


def keep_columns(content: bytes, wanted: Collection[str]) -> bytes:
    """The file with the wanted columns alone, and without the metadata of its writer. Raises
    DamageError where the content is cut or damaged."""
    try:
        file = pq.ParquetFile(io.BytesIO(content), coerce_int96_timestamp_unit="us")
        names = [name for name in file.schema_arrow.names if name in wanted]
        kept = io.BytesIO()
        schema = pa.schema([file.schema_arrow.field(name) for name in names])
        with pq.ParquetWriter(kept, schema, compression="zstd") as writer:
            for batch in file.iter_batches(columns=names):
                writer.write_batch(batch.select(names).cast(schema))
        return kept.getvalue()
    except FAULTS as error:
        raise _damage(error) from error


def parquet_rows(content: bytes, wanted: Collection[str]) -> Iterator[dict[str, Any]]:
    """The rows as maps of the wanted columns that there are. Raises DamageError where the content
    is cut or damaged."""
    try:
        # Spark's INT96 times are read as microseconds: in nanoseconds the year 9999 overflows.
        file = pq.ParquetFile(
            io.BytesIO(content),
            coerce_int96_timestamp_unit="us",
            page_checksum_verification=True,
        )
        names = [name for name in file.schema_arrow.names if name in wanted]
        for batch in file.iter_batches(columns=names):
            columns = [_cells(batch.column(name)) for name in names]
            for row in zip(*columns, strict=True):
                yield dict(zip(names, row, strict=True))
    except FAULTS as error:
        raise _damage(error) from error


def _damage(error: BaseException) -> DamageError:
    """The error for a file that Arrow cannot read."""
    text = "".join(char if char.isprintable() else " " for char in str(error))
    return DamageError(" ".join(text.split())[:200] or type(error).__name__)


def _cells(column: pa.Array) -> list[Any]:
    """The cells of a column as Python values, None where they are null."""
    kind, types = column.type, pa.types
    if isinstance(kind, pa.UuidType):
        return column.to_pylist()
    if isinstance(column, pa.ExtensionArray):
        return _cells(column.storage)
    if types.is_dictionary(kind):
        return _cells(column.dictionary_decode())
    if types.is_timestamp(kind):
        return _moments(column)
    if types.is_date(kind):
        infinite = 2**31 - 1
        return [
            None if day is None else _forever(day) if abs(day) == infinite else _day(day)
            for day in column.cast(pa.date32()).cast(pa.int32()).to_pylist()
        ]
    if types.is_time(kind):
        return column.cast(pa.time64("us"), safe=False).to_pylist()
    if kind in MAX_EXACT:
        return [_number(cell, kind) for cell in column.to_pylist()]
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return _texts(column)
    if types.is_decimal(kind) or types.is_integer(kind) or types.is_boolean(kind):
        return column.to_pylist()
    if types.is_float64(kind) or types.is_null(kind) or types.is_binary(kind):
        return column.to_pylist()
    if types.is_large_binary(kind) or types.is_binary_view(kind):
        return column.to_pylist()
    return [NO_VALUE if there else None for there in column.is_valid().to_pylist()]


def _texts(column: pa.Array) -> list[str | None]:
    """Cells of text. Bytes that are not UTF-8 become lone surrogates, for which a cell is
    refused."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        cells = column.cast(pa.large_binary()).to_pylist()
        return [cell and cell.decode("utf-8", "surrogateescape") for cell in cells]


def _number(cell: float | None, kind: pa.DataType) -> Any:
    """A cell of 16 or 32 bits as the number that its shortest text is: 0.1 for the 32-bit number
    next to 0.1."""
    if cell is None or not np.isfinite(cell):
        return cell
    if cell.is_integer():
        return INEXACT if abs(cell) >= MAX_EXACT[kind] else cell
    return float(str(np.float16(cell) if kind == pa.float16() else np.float32(cell)))


def _moments(column: pa.Array) -> list[Any]:
    """Time stamps as ISO text, by the clock of their zone; at midnight the day alone."""
    kind = column.type
    numbers = column.cast(pa.int64()).to_pylist()
    # DuckDB and PostgreSQL write infinity as the largest number, which has no local time.
    infinite = [number is not None and abs(number) == 2**63 - 1 for number in numbers]
    local = column
    if kind.tz is not None:
        try:
            finite = pc.if_else(pa.array(infinite), pa.scalar(None, kind), column)
            local = pc.local_timestamp(finite)
        except pa.ArrowInvalid:
            return [None if number is None else NO_ZONE for number in numbers]
    clock = local.cast(pa.int64()).to_pylist()
    unit = PER_SECOND[kind.unit]
    found: list[Any] = []
    for number, here, forever in zip(numbers, clock, infinite, strict=True):
        if number is None:
            found.append(None)
        elif forever:
            found.append(_forever(number))
        else:
            day, rest = divmod(here, unit * DAY_S)
            offset = "" if kind.tz is None else _offset((here - number) // unit)
            found.append(_day(day) + (f"T{_clock(rest, unit)}{offset}" if rest else ""))
    return found


@lru_cache(maxsize=1 << 16)
def _day(number: int) -> str:
    """A day since 1970-01-01 as ISO text."""
    return to_iso(Interval(number, number + 1))


def _forever(number: int) -> str:
    """How PostgreSQL spells a date that is before or after all others."""
    return "infinity" if number > 0 else "-infinity"


def _clock(rest: int, unit: int) -> str:
    """Units since midnight as ISO text, with a fraction of three digits or a multiple of it."""
    seconds, parts = divmod(rest, unit)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    if parts == 0:
        return text
    digits = 9 if unit == 10**9 and parts % 1000 else 6
    return f"{text}.{parts * 10**9 // unit // 10 ** (9 - digits):0{digits}d}"


def _offset(seconds: int) -> str:
    """A distance from UTC as ISO text."""
    minutes = abs(seconds) // 60
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"
