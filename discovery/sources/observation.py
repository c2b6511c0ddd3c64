"""The records of a crawl: partitions, observations, signals of change, and skips."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, Protocol

import pyarrow as pa

from discovery.facts.fact import Entity, Fact

Coverage = Literal["source", "subject", "entry", "statement"]
"""Which earlier facts of a source a crawl replaces: all of them, those of the subjects that it
observed, those of the entries (of a feed) that it observed, or those with the same statement id."""


def entry_prefix(source: str, entry: str) -> str:
    """The prefix of the ids of all statements from one entry of a source.

    All prefixes of a source have the same length. The entry is the observation's `about`.
    """
    return f"{source}${entry}$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """What the crawl before this one found of a source, as the last snapshot has it."""

    cursor: Any = None
    """Cursor of the last signal, a JSON value; None where the source was never crawled."""
    revisions: Mapping[str, int | None] = field(default_factory=dict)
    """Subject -> revision, for a source whose coverage is `subject`. None is a subject that was
    absent or unreadable, which is fetched again."""
    settings: str | None = None
    """Identity of the source in that crawl, a digest of the settings that decide what it says."""


class Known(Protocol):
    """What earlier crawls found, from which a crawl continues."""

    @property
    def digest(self) -> str:
        """SHA-256 of everything that was found."""
        ...

    @property
    def snapshot_id(self) -> str:
        """Identity of the facts alone, whichever crawls found them."""
        ...

    def since(self, source: str) -> Since:
        """What was found of one source; an empty value for a source that was never crawled."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """The subjects that changed, according to one slice of a source's changes."""

    subjects: tuple[str, ...] = ()
    """The subjects that changed."""
    selected: tuple[str, ...] = ()
    """Subjects that a query selects, whether or not they changed."""
    cursor: Any
    """Where the next slice begins: a JSON value that only the source understands."""
    done: bool
    """Whether this slice reaches the end of the day of the crawl."""
    gap: str | None = None
    """Why earlier changes may be missing, so that all subjects must be checked; else None."""
    skips: tuple[Skip, ...] = ()


@dataclass(frozen=True, slots=True)
class Skip:
    """A piece of a source's data that could not be used."""

    source: str
    reason: str
    """Why; the same words for the same kind of fault, so that skips are counted by it."""
    sample: str
    """The piece, or where it is, for a person to look up; at most `MAX_SAMPLE` characters."""
    count: int = 1
    """Number of pieces with this reason."""
    damage: bool = False
    """Whether facts of unknown subjects may be lost with the piece, so that what the source no
    longer shows may still be true. Such a crawl replaces nothing that it did not find again."""


SKIP_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("sample", pa.string(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("damage", pa.bool_(), nullable=False),
    ]
)
SIGNAL_SCHEMA = pa.schema(
    [
        pa.field("subjects", pa.list_(pa.string()), nullable=False),
        pa.field("selected", pa.list_(pa.string()), nullable=False),
        pa.field("cursor", pa.string(), nullable=False),
        pa.field("done", pa.bool_(), nullable=False),
        ("gap", pa.string()),
        pa.field("skips", pa.list_(pa.struct(list(SKIP_SCHEMA))), nullable=False),
    ]
)
"""Columns of a table of signals; the cursor is JSON text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One piece of a source, which one worker fetches; after a fault it may be fetched twice."""

    id: str
    """Unique in the source, and usable as a file name."""
    as_of: date
    """The state wanted is that at the end of this day (UTC)."""
    keys: tuple[str, ...]
    """What to fetch, as the source defines it: entity ids, a path, addresses, a range of rows."""
    known: tuple[int | None, ...] = ()
    """For each key that is an entity, the revision in the last snapshot; an entity that still has
    this revision is not fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One answer of a source, byte for byte. Equal payloads parse to equal facts at any time."""

    source: str
    partition: str
    kind: Literal["entity", "redirect", "fault", "labels", "table", "page"]
    """What the payload is. A `fault` has none, and the earlier facts of its entity stay."""
    about: str
    """The entity, entry or path that was asked for."""
    as_of: str
    """Day of the crawl, ISO date."""
    url: str
    """The configured address, also where a recording is replayed at another."""
    payload: bytes
    absent: str | None = None
    """Why there is no payload, which is counted as a skip; None where there is one."""
    revision: int | None = None
    revision_time: str | None = None
    user: str | None = None
    etag: str | None = None
    fetched_at: str
    """ISO 8601 time, UTC."""

    @property
    def digest(self) -> str:
        """SHA-256 of the payload, hexadecimal."""
        return hashlib.sha256(self.payload).hexdigest()


OBSERVATION_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("partition", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("about", pa.string(), nullable=False),
        pa.field("as_of", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("payload", pa.large_binary(), nullable=False),
        ("absent", pa.string()),
        ("revision", pa.int64()),
        ("revision_time", pa.string()),
        ("user", pa.string()),
        ("etag", pa.string()),
        pa.field("fetched_at", pa.string(), nullable=False),
    ]
)


MAX_SAMPLE = 200
"""Characters of a skip's sample, at most."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """The facts and entities in an observation or block, and the pieces that could not be read."""

    facts: tuple[Fact, ...] = ()
    entities: tuple[Entity, ...] = ()
    skips: tuple[Skip, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """The beginning of a source, as it is read before a crawl to show what it holds."""

    parsed: Parsed
    number: int
    """Pieces that were read."""
    unit: str
    """What a piece is: `row`, `item`, `entry` or `line`."""
    whole: bool
    """Whether this is all that there is."""


def joined(parts: Iterable[Parsed]) -> Parsed:
    """The facts, entities and skips of several observations or blocks as one."""
    parts = list(parts)
    return Parsed(
        tuple(fact for part in parts for fact in part.facts),
        tuple(entity for part in parts for entity in part.entities),
        tuple(skip for part in parts for skip in part.skips),
    )


def tally(skips: Iterable[Skip]) -> list[Skip]:
    """One skip for each source and reason, with the sum of the counts and the smallest sample.

    Sorted by count, the greatest first.
    """
    groups: dict[tuple[str, str], list[Skip]] = {}
    for skip in skips:
        groups.setdefault((skip.source, skip.reason), []).append(skip)
    merged = [
        Skip(
            source,
            reason,
            min(s.sample for s in of),
            sum(s.count for s in of),
            any(s.damage for s in of),
        )
        for (source, reason), of in groups.items()
    ]
    return sorted(merged, key=lambda skip: (-skip.count, skip.source, skip.reason))
