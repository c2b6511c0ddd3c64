"""Knowledge sources, one file a kind; to add one, write its file and its line in `SOURCES`.

A source has a config, partitions, `fetch` (the only part that touches a network or a disk) and
`parse`, which is pure: the same observation gives the same facts, and what it cannot read it counts
and passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import Field

from discovery.sources.observation import Observation, Parsed, Partition
from discovery.sources.table import TableConfig, TableSource
from discovery.sources.wikidata import WikidataConfig, WikidataSource
from infra.http import PoliteClient

SourceConfig = Annotated[WikidataConfig | TableConfig, Field(discriminator="kind")]
"""The config of any source."""

SOURCES: dict[str, type[WikidataSource] | type[TableSource]] = {
    "wikidata": WikidataSource,
    "table": TableSource,
}


class Source(Protocol):
    """What the crawl and the snapshot need of a source."""

    name: str
    endpoint: str | None
    """The one place it asks over the network, which has one budget; None for a local source."""

    def partitions(self, as_of: date) -> list[Partition]: ...

    def fetch(self, partition: Partition, client: PoliteClient | None) -> Iterator[Observation]:
        """Raises SourceError where the source cannot be reached or is not what it should be."""
        ...

    def parse(self, observation: Observation) -> Parsed: ...


def make_source(config: SourceConfig, base_dir: Path = Path()) -> Source:
    """The source of a config; relative paths are below `base_dir`. `parse` needs no directory."""
    return SOURCES[config.kind](config, base_dir)  # type: ignore[arg-type]
