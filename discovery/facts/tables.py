"""Records (dataclasses) -> Arrow tables, and back, by the schema declared beside each record."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from discovery.facts.fact import Interval

T = TypeVar("T")


def to_table(records: Iterable[Any], schema: pa.Schema) -> pa.Table:
    """Records of one dataclass as an Arrow table of its schema."""
    rows = list(records)
    columns = []
    for field in schema:
        values = list(map(attrgetter(field.name), rows))
        if pa.types.is_struct(field.type):
            columns.append(_struct(values, field.type))
        else:
            if pa.types.is_nested(field.type):
                values = [_plain(value) for value in values]
            columns.append(pa.array(values, field.type))
    return pa.table(columns, schema=schema)


def _struct(values: list[Any], kind: pa.StructType) -> pa.Array:
    """Records, or None, as an array of structs. Fast where most are None."""
    where = [n for n, value in enumerate(values) if value is not None]
    parts = [pa.array([getattr(values[n], part.name) for n in where], part.type) for part in kind]
    found = pa.StructArray.from_arrays(parts, fields=list(kind))
    index = np.full(len(values), len(where), np.int64)
    index[where] = np.arange(len(where))
    return pa.concat_arrays([found, pa.nulls(1, kind)]).take(pa.array(index))


def from_table(table: pa.Table, cls: type[T]) -> list[T]:
    """The inverse of `to_table`: lists become tuples, structs become intervals."""
    names = table.column_names
    columns = [_values(column.combine_chunks()) for column in table.columns]
    return [cls(**dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def _values(column: pa.Array) -> list[Any]:
    """A column as a list: structs as intervals, lists as tuples. Fast where most are null."""
    if pa.types.is_struct(column.type):
        found: list[Any] = [None] * len(column)
        where = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        parts = [part.to_pylist() for part in column.take(pa.array(where)).flatten()]
        for place, *value in zip(where.tolist(), *parts, strict=True):
            found[place] = Interval(*value)
        return found
    if pa.types.is_list(column.type):
        items = _values(column.flatten())
        ends = np.cumsum(column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
        starts = [0, *ends.tolist()]
        found = [tuple(items[a:b]) if a < b else () for a, b in pairwise(starts)]
        return found if column.null_count == 0 else _where_valid(column, found)
    return column.to_pylist()


def _where_valid(column: pa.Array, values: list[Any]) -> list[Any]:
    return [
        value if there else None
        for value, there in zip(values, column.is_valid().to_pylist(), strict=True)
    ]


def _plain(value: Any) -> Any:
    """Intervals as tuples, the form in which Arrow takes a struct."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Interval):
        return value.earliest, value.latest, value.precision
    return value
