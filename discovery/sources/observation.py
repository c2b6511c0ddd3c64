"""Observations: what a source answered, byte for byte, and what came of reading it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, Protocol

import pyarrow as pa

from discovery.facts.fact import Entity, Fact

Coverage = Literal["source", "subject", "entry", "statement"]
"""What one crawl of a source replaces of what an earlier one found: everything of the source, the
subjects it has observed, what the entries it has observed said before, or statements of the same
id."""


def entry_prefix(source: str, entry: str) -> str:
    """How the ids of all statements begin that an entry of a source makes; as long for each entry
    of a source, whose `about` is the entry."""
    return f"{source}${entry}$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """What an earlier snapshot holds of a source."""

    cursor: Any = None
    """The last signal's, a JSON value; None where the source was never crawled."""
    revisions: Mapping[str, int | None] = field(default_factory=dict)
    """By subject, of a source whose coverage is `subject`; None is a subject that is not there, or
    could not be read: it is asked for again."""
    settings: str | None = None
    """Digest of the settings of the source under which this was found."""


class Known(Protocol):
    """What earlier crawls have found, which a crawl goes on from."""

    @property
    def digest(self) -> str:
        """Identity of all of it."""
        ...

    @property
    def snapshot_id(self) -> str:
        """Identity of the facts alone, however they came to be known."""
        ...

    def since(self, source: str) -> Since:
        """What is known of one source; nothing of one that was never crawled."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Which subjects changed, by one slice of a source's feed of changes."""

    subjects: tuple[str, ...] = ()
    selected: tuple[str, ...] = ()
    """Subjects that a query selects, changed or not."""
    cursor: Any
    """Where the next slice begins; a JSON value, opaque to all but the source."""
    done: bool
    """Whether the feed has been followed to the end of the day that is wanted."""
    gap: str | None = None
    """Why what changed before this slice is not known: then everything has to be looked at."""
    skips: tuple[Skip, ...] = ()


@dataclass(frozen=True, slots=True)
class Skip:
    """A piece of a source that could not be used."""

    source: str
    reason: str
    """The same words for the same kind of fault, so that skips can be counted by it."""
    sample: str
    """What it was, for a person to look up; capped."""
    count: int = 1
    """How many there were like it."""


SKIP_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("sample", pa.string(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
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
"""The cursor is JSON text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One piece of a source, fetched by one worker; may be fetched twice."""

    id: str
    """Unique in the source; safe as a file name."""
    as_of: date
    """The state of the source at the end of this day (UTC) is wanted."""
    keys: tuple[str, ...]
    """What it covers: entity ids, or a path."""
    known: tuple[int | None, ...] = ()
    """Of entities, the revisions that an earlier snapshot holds: what has not changed since is not
    fetched again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One answer of a source. Equal bytes parse to equal facts, whenever they were fetched."""

    source: str
    partition: str
    kind: Literal["entity", "redirect", "fault", "labels", "table", "page"]
    """What the payload is; a `fault` has none, and what is known of its entity stays."""
    about: str
    """The entity or path asked for."""
    as_of: str
    """ISO date."""
    url: str
    """Where it came from, as configured: of a replayed recording, not the passing port."""
    payload: bytes
    absent: str | None = None
    """Why there is no payload; counted as a skip."""
    revision: int | None = None
    revision_time: str | None = None
    user: str | None = None
    etag: str | None = None
    fetched_at: str
    """ISO 8601 UTC."""

    @property
    def digest(self) -> str:
        """SHA-256 of the payload."""
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
"""Characters of an unusable piece that are kept."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one observation says."""

    facts: tuple[Fact, ...] = ()
    entities: tuple[Entity, ...] = ()
    skips: tuple[Skip, ...] = ()


def tally(skips: Iterable[Skip]) -> list[Skip]:
    """One skip for each source and reason, with the first sample in order, by count."""
    groups: dict[tuple[str, str], list[Skip]] = {}
    for skip in skips:
        groups.setdefault((skip.source, skip.reason), []).append(skip)
    found = [
        Skip(source, reason, min(s.sample for s in of), sum(s.count for s in of))
        for (source, reason), of in groups.items()
    ]
    return sorted(found, key=lambda skip: (-skip.count, skip.source, skip.reason))
