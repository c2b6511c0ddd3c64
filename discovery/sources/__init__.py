"""Knowledge sources, one file a kind; to add one, write its file and its line in `SOURCES`.

A source that is asked has a config; `listen`, which says what changed since a cursor; `partitions`
of what is to be fetched then; `fetch`; and `parse`, which is pure: the same observation gives the
same facts, and what it cannot read it counts and passes. Only `listen` and `fetch` touch a network
or a disk. A bulk source, such as a dump, has `blocks` and `read` instead, and nothing of it is kept
but what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import Field

from discovery.sources.dump import DumpConfig, DumpSource
from discovery.sources.feed import FeedConfig, FeedSource
from discovery.sources.lines import Block
from discovery.sources.observation import Coverage, Observation, Parsed, Partition, Signal, Since
from discovery.sources.rdf import RdfConfig, RdfSource
from discovery.sources.sql import SqlConfig, SqlSource
from discovery.sources.table import TableConfig, TableSource
from discovery.sources.wikidata import WikidataSource
from discovery.sources.wikidata_config import WikidataConfig
from infra.http.client import PoliteClient

AskedConfig = WikidataConfig | TableConfig | SqlConfig | FeedConfig
BulkConfig = DumpConfig | RdfConfig
SourceConfig = Annotated[AskedConfig | BulkConfig, Field(discriminator="kind")]
"""The config of any source."""


class Source(Protocol):
    """What the crawl and the snapshot need of a source."""

    name: str
    endpoint: str | None
    """The one place it asks over the network, which has one budget; None for a local source."""
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


SOURCES: dict[str, Callable[[Any, Path], Source]] = {
    "wikidata": WikidataSource,
    "table": TableSource,
    "sql": SqlSource,
    "feed": FeedSource,
}
BULK_SOURCES: dict[str, Callable[[Any, Path], BulkSource]] = {
    "dump": DumpSource,
    "rdf": RdfSource,
}
"""By the `kind` of their config."""


def make_bulk_source(config: BulkConfig, base_dir: Path = Path()) -> BulkSource:
    """The bulk source of a config. `read` needs no directory."""
    return BULK_SOURCES[config.kind](config, base_dir)


def make_source(config: AskedConfig, base_dir: Path = Path()) -> Source:
    """The source of a config; relative paths are below `base_dir`. `parse` needs no directory."""
    return SOURCES[config.kind](config, base_dir)
