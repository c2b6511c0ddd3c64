"""Facts, entities and changes: the records that discovery passes from stage to stage.

Every record is a frozen dataclass with an Arrow schema beside it; tables of them are what stages
write. Dates are half-open intervals in days since 1970-01-01 of the proleptic Gregorian calendar,
so that "2021" is [2021-01-01, 2022-01-01) and nothing is padded to a false precision.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa

T = TypeVar("T")

INTERVAL = pa.struct([("earliest", pa.int64()), ("latest", pa.int64()), ("precision", pa.int8())])


@dataclass(frozen=True, slots=True)
class Interval:
    """The days a date may mean: earliest <= day < latest."""

    earliest: int
    """First day, days since 1970-01-01, proleptic Gregorian; negative before."""
    latest: int
    """Day after the last."""
    precision: int = 11
    """Wikibase precision: 9 year, 10 month, 11 day."""


Rank = Literal["preferred", "normal", "deprecated"]
SnakType = Literal["value", "somevalue", "novalue"]
ValueType = Literal["entity", "string", "quantity", "time", "other"]
ChangeKind = Literal["learn", "replace", "forget", "vacated", "keep", "conflict", "ignored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One statement of one source: subject, relation, object, with all that says when and why."""

    statement_id: str
    """The source's own identity of the statement; unique in the source, opaque."""
    subject: str
    relation: str
    value: str
    """Canonical: entity id, text, signed decimal, or ISO date; empty unless snaktype `value`."""
    bounds: str | None = None
    """Of a quantity that its source gives within bounds, these: `+1.5..+2.5`."""
    value_type: ValueType
    snaktype: SnakType = "value"
    rank: Rank = "normal"
    start: Interval | None = None
    end: Interval | None = None
    point: Interval | None = None
    """Point in time (P585), or the date of a dated observation."""
    qualifiers: str = "[]"
    """Canonical JSON of the other qualifiers: sorted [[property, value], ...]."""
    references: tuple[str, ...] = ()
    """Reference URLs and `stated in` ids, sorted."""
    quote: str | None = None
    """The sentence that says so, where it was read in text."""
    source: str
    revision: int | None = None
    revision_time: str | None = None
    """ISO 8601 UTC time of the revision."""
    user: str | None = None
    """Who made that revision, where the source says so."""


FACT_SCHEMA = pa.schema(
    [
        pa.field("statement_id", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("relation", pa.string(), nullable=False),
        pa.field("value", pa.string(), nullable=False),
        ("bounds", pa.string()),
        pa.field("value_type", pa.string(), nullable=False),
        pa.field("snaktype", pa.string(), nullable=False),
        pa.field("rank", pa.string(), nullable=False),
        ("start", INTERVAL),
        ("end", INTERVAL),
        ("point", INTERVAL),
        ("qualifiers", pa.string()),
        ("references", pa.list_(pa.string())),
        ("quote", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        ("revision", pa.int64()),
        ("revision_time", pa.string()),
        ("user", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """What a subject or object is called."""

    id: str
    label: str | None
    """English label; None where the source has none."""
    aliases: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    """Values of `instance of`."""
    num_sitelinks: int = 0
    revision: int | None = None
    redirect: str | None = None
    """Of an entity that was merged into another, that other; it has no statements of its own."""
    source: str


ENTITY_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        ("label", pa.string()),
        ("aliases", pa.list_(pa.string())),
        ("types", pa.list_(pa.string())),
        ("num_sitelinks", pa.int64()),
        ("revision", pa.int64()),
        ("redirect", pa.string()),
        pa.field("source", pa.string(), nullable=False),
    ]
)


DERIVED = "16"
"""Rule of a change that no source states, but that follows from another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happened to one (subject, relation) between two snapshots, and why we say so."""

    id: str
    """16 hex digits: digest of subject, relation, kind, old and new values."""
    kind: ChangeKind
    rule: str
    """Number of the semantics row that decided (`11`), or `first` without an earlier snapshot."""
    reason: str
    """One sentence for a person."""
    subject: str
    subject_label: str | None
    subject_aliases: tuple[str, ...] = ()
    popularity: int = 0
    """Sitelinks of the subject."""
    relation: str
    scope: str = ""
    """Where the source tells several facts of a relation apart by qualifiers (`separators`), those
    of this one: canonical JSON, `[]` for the one without; empty where there is but one."""
    value_type: ValueType
    old_values: tuple[str, ...] = ()
    """What it was; of a functional `learn`, what the source says it was at some time before; of a
    conflict, all values at once."""
    old_labels: tuple[str, ...] = ()
    """Labels of the old values, the value itself where it has none."""
    old_starts: tuple[Interval | None, ...] = ()
    """When each old value began to hold, as far as the source says."""
    old_ends: tuple[Interval | None, ...] = ()
    """When each old value ceased to hold, as far as the source says."""
    new_value: str | None = None
    new_label: str | None = None
    new_aliases: tuple[str, ...] = ()
    source: str
    old_statements: tuple[str, ...] = ()
    new_statement: str | None = None
    revision_old: int | None = None
    revision_new: int | None = None
    revision_time: str | None = None
    user: str | None = None
    """Who made the revision, where the source says so."""
    since: Interval | None = None
    """When the new value began to hold, as far as the source says."""
    references: tuple[str, ...] = ()
    quote: str | None = None
    """The sentence that says so, where it was read in text."""


CHANGE_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        ("subject_label", pa.string()),
        ("subject_aliases", pa.list_(pa.string())),
        ("popularity", pa.int64()),
        pa.field("relation", pa.string(), nullable=False),
        pa.field("scope", pa.string(), nullable=False),
        pa.field("value_type", pa.string(), nullable=False),
        ("old_values", pa.list_(pa.string())),
        ("old_labels", pa.list_(pa.string())),
        ("old_starts", pa.list_(INTERVAL)),
        ("old_ends", pa.list_(INTERVAL)),
        ("new_value", pa.string()),
        ("new_label", pa.string()),
        ("new_aliases", pa.list_(pa.string())),
        pa.field("source", pa.string(), nullable=False),
        ("old_statements", pa.list_(pa.string())),
        ("new_statement", pa.string()),
        ("revision_old", pa.int64()),
        ("revision_new", pa.int64()),
        ("revision_time", pa.string()),
        ("user", pa.string()),
        ("since", INTERVAL),
        ("references", pa.list_(pa.string())),
        ("quote", pa.string()),
    ]
)


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
    """Records, or None, as an array of structs; where there are few, they alone are looked at."""
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
    """Column by column down to the parts of nested ones, of which most are absent or empty."""
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
