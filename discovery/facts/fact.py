"""Facts, entities and changes: the records that discovery passes from stage to stage.

Every record is a frozen dataclass with an Arrow schema beside it; tables of them are what stages
write. Dates are half-open intervals in days since 1970-01-01 of the proleptic Gregorian calendar,
so that "2021" is [2021-01-01, 2022-01-01) and nothing is padded to a false precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

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
