"""Knowledge sources. To add a kind of source, write its file and add it to `SOURCES`.

Each kind has a config class, and a class with one of two protocols (`discovery.sources.source`). A
`Source` has the methods `listen` (the changes since a cursor), `partitions` (the pieces to fetch),
`fetch`, and `parse`. `parse` is pure, and reports the data that it cannot read as skips. Only
`listen` and `fetch` use the network or the disk. A `BulkSource`, such as a dump, has `blocks` and
`read` instead: it is parsed while it is read, and its data are not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypeIs

from discovery.sources.rdf.files import RdfConfig, RdfSource
from discovery.sources.source import BulkSource, Source
from discovery.sources.tabular.sql import SqlSource
from discovery.sources.tabular.sql_config import SqlConfig
from discovery.sources.tabular.table import TableConfig, TableSource
from discovery.sources.web.config import FeedConfig
from discovery.sources.web.feed import FeedSource
from discovery.sources.wikibase.config import DumpConfig, WikidataConfig
from discovery.sources.wikibase.dump import DumpSource
from discovery.sources.wikibase.numbering import numbering_of
from discovery.sources.wikibase.wikidata import WikidataSource

AskedConfig = WikidataConfig | TableConfig | SqlConfig | FeedConfig
"""The config of a source that is fetched in partitions."""
BulkConfig = DumpConfig | RdfConfig
"""The config of a bulk source."""
SourceConfig = Annotated[AskedConfig | BulkConfig, Field(discriminator="kind")]
"""The config of any source."""


def is_bulk(config: SourceConfig) -> TypeIs[BulkConfig]:
    """Whether a config is that of a bulk source, which is read as a whole and leaves no
    observations."""
    return config.kind in BULK_SOURCES


SOURCES: dict[str, Callable[[Any, Path], Source]] = {
    "wikidata": WikidataSource,
    "table": TableSource,
    "sql": SqlSource,
    "feed": FeedSource,
}
"""`kind` of the config -> the class of the source, called with the config and its directory."""
BULK_SOURCES: dict[str, Callable[[Any, Path], BulkSource]] = {
    "dump": DumpSource,
    "rdf": RdfSource,
}
"""`kind` of the config -> the class of the bulk source, called like those above."""


def make_bulk_source(config: BulkConfig, base_dir: Path = Path()) -> BulkSource:
    """The bulk source of a config; relative paths are below `base_dir`. `read` does not use it."""
    return BULK_SOURCES[config.kind](config, base_dir)


def make_source(config: AskedConfig, base_dir: Path = Path()) -> Source:
    """The source of a config; relative paths are below `base_dir`. `parse` does not use it."""
    return SOURCES[config.kind](config, base_dir)


def different_wikibases(configs: Sequence[SourceConfig]) -> tuple[str, str] | None:
    """Names of two sources whose Wikibases number their properties otherwise, so that their items
    are others too; None where all sources that have Wikibase's ids have the same."""
    wikibases = [
        config
        for config in configs
        if isinstance(config, WikidataConfig | DumpConfig)
        or (isinstance(config, RdfConfig) and config.wikibase)
    ]
    for config in wikibases[1:]:
        if numbering_of(config.properties) != numbering_of(wikibases[0].properties):
            return wikibases[0].name, config.name
    return None
