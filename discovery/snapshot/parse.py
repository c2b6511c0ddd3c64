"""The worker that parses a crawl's observations into facts and entities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from discovery.crawl.parsed import WHOLE, parsed_table
from discovery.sources import BulkConfig, SourceConfig, make_source
from discovery.sources.observation import Observation


@dataclass(frozen=True)
class ParseObservations:
    """Builds the function that parses one row group of the observations into a parsed table."""

    sources: tuple[SourceConfig, ...]
    """The configured sources; bulk sources have no observations."""
    path: Path
    """File of the observations."""

    def __call__(self) -> Callable[[int], pa.Table]:
        sources = {
            config.name: make_source(config)
            for config in self.sources
            if not isinstance(config, BulkConfig)
        }

        def run(row_group: int) -> pa.Table:
            rows = pq.ParquetFile(self.path).read_row_group(row_group).to_pylist()
            observations = [Observation(**row, fetched_at="") for row in rows]
            return parsed_table((sources[o.source].parse(o), o.kind in WHOLE) for o in observations)

        return run
