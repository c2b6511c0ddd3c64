"""Observations: what a source answered, byte for byte, and what came of reading it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Literal

import pyarrow as pa

from discovery.fact import Entity, Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One piece of a source, fetched by one worker; may be fetched twice."""

    id: str
    """Unique in the source; safe as a file name."""
    as_of: date
    """The state of the source at the end of this day (UTC) is wanted."""
    keys: tuple[str, ...]
    """What it covers: entity ids, or a path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One answer of a source. Equal bytes parse to equal facts, whenever they were fetched."""

    source: str
    partition: str
    kind: Literal["entity", "labels", "table"]
    """What the payload is."""
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
        ("etag", pa.string()),
        pa.field("fetched_at", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Skip:
    """A piece of a source that could not be used."""

    source: str
    reason: str
    """The same words for the same kind of fault, so that skips can be counted by it."""
    sample: str
    """What it was, for a person to look up; capped."""


SKIP_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("sample", pa.string(), nullable=False),
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
