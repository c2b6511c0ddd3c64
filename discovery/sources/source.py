"""The two protocols of sources: those fetched in partitions, and bulk sources read as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, Protocol

from discovery.sources.blocks import Block
from discovery.sources.observation import (
    Coverage,
    Observation,
    Parsed,
    Partition,
    Sample,
    Signal,
    Since,
)
from infra.http.client import PoliteClient


class Source(Protocol):
    """A source that is fetched in partitions, as the crawl and the snapshot use it."""

    name: str
    """Name of the source in facts and errors."""
    coverage: Coverage
    """Which earlier facts a crawl of it replaces."""

    def listen(self, as_of: date, cursor: Any, client: PoliteClient | None) -> Signal | None:
        """The next slice of the source's changes; None where the source cannot tell its changes.

        as_of   the crawl's day: later changes are left for another crawl
        cursor  that of the slice before, None for the first
        client  of the source's requests, None for a local source

        A slice is short enough that it is cheap to repeat after a crash. Raises SourceError.
        """
        ...

    def partitions(
        self, as_of: date, since: Since, signals: Sequence[Signal] | None
    ) -> list[Partition]:
        """The partitions to fetch.

        since    what the crawl before found
        signals  all slices since `since.cursor`; None where the source cannot tell its changes
        """
        ...

    def fetch(self, partition: Partition, client: PoliteClient | None) -> Iterator[Observation]:
        """Fetch a partition. Raises SourceError where the source cannot be reached or its data is
        not in the format it should be in."""
        ...

    def parse(self, observation: Observation) -> Parsed:
        """The facts in an observation. Pure: equal observations give equal facts."""
        ...

    def sample(self, partition: Partition, client: PoliteClient | None) -> Sample:
        """The beginning of a partition, so little of it that it is read within seconds. Raises as
        `fetch`."""
        ...

    def num_requests(self, partitions: Sequence[Partition]) -> int | None:
        """About how many requests the partitions take if nothing is known of them yet, at least;
        None for a source that is not asked over the network."""
        ...


class BulkSource(Protocol):
    """A source that is read from beginning to end and parsed while it is read, since its data are
    too large to store as observations. A crawl replaces all earlier facts of it."""

    name: str
    """Name of the source in facts and errors."""

    def blocks(self, as_of: date) -> Iterator[Block]:
        """The source's data in blocks, which are the same at every reading.

        Only this method reads a disk. Raises SourceError where the data cannot be read or are not
        in the format they should be in.
        """
        ...

    def read(self, block: Block) -> Parsed:
        """The facts in a block. Pure: equal blocks give equal facts.

        Where a subject occurs in several blocks, the snapshot keeps its latest revision.
        """
        ...
