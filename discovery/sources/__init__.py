"""Knowledge sources, one file a kind; to add one, write its file and its line in `SOURCES`.

A source that is asked has a config; `listen`, which says what changed since a cursor; `partitions`
of what is to be fetched then; `fetch`; and `parse`, which is pure: the same observation gives the
same facts, and what it cannot read it counts and passes. Only `listen` and `fetch` touch a network
or a disk. A bulk source, such as a dump, has `blocks` and `read` instead, and nothing of it is kept
but what it says.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypeIs

from discovery.sources.rdf.files import RdfConfig, RdfSource
from discovery.sources.source import BulkSource, Source
from discovery.sources.tabular.sql import SqlConfig, SqlSource
from discovery.sources.tabular.table import TableConfig, TableSource
from discovery.sources.web.config import FeedConfig
from discovery.sources.web.feed import FeedSource
from discovery.sources.wikibase.config import WikidataConfig
from discovery.sources.wikibase.dump import DumpConfig, DumpSource
from discovery.sources.wikibase.wikidata import WikidataSource

AskedConfig = WikidataConfig | TableConfig | SqlConfig | FeedConfig
BulkConfig = DumpConfig | RdfConfig
SourceConfig = Annotated[AskedConfig | BulkConfig, Field(discriminator="kind")]
"""The config of any source."""


def is_bulk(config: SourceConfig) -> TypeIs[BulkConfig]:
    """Whether a source is read from beginning to end, and leaves no observations."""
    return config.kind in BULK_SOURCES


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
