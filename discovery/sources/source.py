"""The protocols that every kind of source follows: sources that are asked, and bulk sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, Protocol

from discovery.sources.blocks import Block
from discovery.sources.observation import Coverage, Observation, Parsed, Partition, Signal, Since
from infra.http.client import PoliteClient


class Source(Protocol):
    """What the crawl and the snapshot need of a source."""

    name: str
    coverage: Coverage

    def listen(self, as_of: date, cursor: Any, client: PoliteClient | None) -> Signal | None:
        """The next slice of what changed, up to the end of a day; None where the source has no such
        feed. Slices end soon enough that losing one to a crash is cheap. Raises SourceError."""
        ...

    def partitions(
        self, as_of: date, since: Since, signals: Sequence[Signal] | None
    ) -> list[Partition]:
        """What is to be fetched. `signals` are all slices since `since.cursor`, None without a
        feed."""
        ...

    def fetch(self, partition: Partition, client: PoliteClient | None) -> Iterator[Observation]:
        """Raises SourceError where the source cannot be reached or is not what it should be."""
        ...

    def parse(self, observation: Observation) -> Parsed: ...


class BulkSource(Protocol):
    """A source that is read from beginning to end, and whose answers are too large to keep: it is
    parsed as it is read. A crawl replaces everything of it."""

    name: str

    def blocks(self, as_of: date) -> Iterator[Block]:
        """What it holds, in pieces that a worker can hold, always the same. Only this touches a
        disk. Raises SourceError where it cannot be read, or is not what it should be."""
        ...

    def read(self, block: Block) -> Parsed:
        """Pure; of a subject that occurs twice the later revision is kept, by the snapshot."""
        ...
