"""Facts and entities: the records of a snapshot, with the Arrow schemas of their tables.

Dates are half-open intervals in days since 1970-01-01 of the proleptic Gregorian calendar: "2021"
is [2021-01-01, 2022-01-01), and no date gets a precision that its source did not give.
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


EVERY_RELATION = ""
"""Relation of an unreadable fact that stands for all relations of its subject: it is unknown of
which one something cannot be read."""
Rank = Literal["preferred", "normal", "deprecated"]
SnakType = Literal["value", "somevalue", "novalue", "unreadable"]
"""What a statement says of its value: `value`, that it is this one; `somevalue`, that there is one,
which is unknown; `novalue`, that there is none; `unreadable`, something that a reader does not
understand. Where a group of facts has an unreadable one, nothing is concluded from the group."""
ValueType = Literal["entity", "string", "quantity", "time", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One statement of one source: subject, relation and object, with rank, dates, qualifiers,
    references and revision."""

    statement_id: str
    """The source's own id of the statement: an opaque text, unique in the source."""
    subject: str
    relation: str
    value: str
    """In canonical form: an entity id, a text, a signed decimal followed by a space and the unit's
    id where there is a unit, or an ISO date. Empty unless snaktype is `value`."""
    bounds: str | None = None
    """Lower and upper bound of a quantity, where the source gives them: `+1.5..+2.5`."""
    value_type: ValueType
    snaktype: SnakType = "value"
    rank: Rank = "normal"
    start: Interval | None = None
    """When the fact began to hold (P580)."""
    end: Interval | None = None
    """When the fact ceased to hold (P582)."""
    point: Interval | None = None
    """Point in time (P585): a day on which the fact was observed to hold. Of an unreadable fact in
    a snapshot: the day of the last snapshot in which its group could be read, None for never."""
    qualifiers: str = "[]"
    """Canonical JSON of the other qualifiers: sorted [[property, value], ...]."""
    references: tuple[str, ...] = ()
    """Reference URLs and `stated in` ids, sorted."""
    quote: str | None = None
    """The sentence that states the fact, where it was extracted from text."""
    source: str
    """Name of the source in the configuration."""
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
    """An entity's label and aliases, and what else a source says of it apart from statements."""

    id: str
    label: str | None
    """English label; None where the source has none."""
    aliases: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    """Values of `instance of`."""
    num_sitelinks: int = 0
    revision: int | None = None
    redirect: str | None = None
    """Id of the entity that this one was merged into; it then has no statements of its own."""
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
