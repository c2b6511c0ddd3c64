"""Knowledge sources, one file a kind; to add one, write its file and its line in `SOURCES`.

A source has a config; `listen`, which says what changed since a cursor; `partitions` of what is to
be fetched then; `fetch`; and `parse`, which is pure: the same observation gives the same facts, and
what it cannot read it counts and passes. Only `listen` and `fetch` touch a network or a disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import Field

from discovery.sources.observation import (
    Coverage,
    Observation,
    Parsed,
    Partition,
    Signal,
    Since,
)
from discovery.sources.table import TableConfig, TableSource
from discovery.sources.wikidata import WikidataSource
from discovery.sources.wikidata_config import WikidataConfig
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


def make_source(config: SourceConfig, base_dir: Path = Path()) -> Source:
    """The source of a config; relative paths are below `base_dir`. `parse` needs no directory."""
    return SOURCES[config.kind](config, base_dir)  # type: ignore[arg-type]
