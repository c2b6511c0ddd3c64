"""Stage 1, crawl: sources -> observations, as they stood at the end of a day.

Written are `observations.parquet` (payloads and provenance), `fetched.parquet` (when, and with
which ETag: left out of the digest, for a second run at another hour is the same output) and
`skips.parquet`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from discovery.fact import from_table, to_table
from discovery.sources import Source, SourceConfig, make_source
from discovery.sources.observation import (
    OBSERVATION_SCHEMA,
    SKIP_SCHEMA,
    Observation,
    Partition,
    Skip,
)
from discovery.sources.table import TableConfig
from infra.errors import SourceError
from infra.http import PoliteClient
from infra.replay import ReplayServer
from infra.runner import Resources, Runner
from infra.storage import Shard, StageDir, digest_of, file_digest

OBSERVATIONS, FETCHED, SKIPS = "observations.parquet", "fetched.parquet", "skips.parquet"
VOLATILE = (FETCHED,)
"""Files for `Workspace.run_stage(volatile=...)`."""
REPLAY = "replay:"


def crawl(
    sources: Sequence[SourceConfig],
    as_of: date,
    *,
    out: StageDir,
    runner: Runner,
    cache: Path,
    base_dir: Path,
) -> dict:
    """Fetch every partition of every source; partitions finished before an interruption are kept.

    cache     directory of HTTP responses that can be asked for conditionally
    base_dir  directory of the config file, below which relative paths lie

    One place of the network is asked by one worker at a time, so that it has one budget.
    A recording is served by this process: its workers run on this machine.

    Raises SourceError, ConfigError.
    """
    by_place: dict[str | None, list[tuple[SourceConfig, Partition]]] = defaultdict(list)
    for config in sources:
        source = make_source(config, base_dir)
        by_place[source.endpoint] += [(config, part) for part in source.partitions(as_of)]
    paths: list[Path] = []
    for place, parts in by_place.items():
        with ExitStack() as stack:
            origins = {}
            if place is not None and place.startswith(REPLAY):
                recording = base_dir / place.removeprefix(REPLAY)
                origins[place] = stack.enter_context(ReplayServer(recording))
            shards = [Shard(f"{config.name}-{part.id}", (config, part)) for config, part in parts]
            paths += out.map_tables(
                runner,
                _Fetch(origins, cache, base_dir),
                shards,
                resources=Resources(max_workers=None if place is None else 1),
            )
    tables = [pq.read_table(path, schema=OBSERVATION_SCHEMA) for path in paths]
    return _write(out, pa.concat_tables(tables or [OBSERVATION_SCHEMA.empty_table()]))


def local_inputs(sources: Sequence[SourceConfig], base_dir: Path) -> dict[str, str]:
    """Digests of the local files a crawl would read, for its fingerprint. Raises SourceError."""
    inputs = {}
    for config in sources:
        if isinstance(config, TableConfig):
            paths = [base_dir / config.path]
        elif config.endpoint.startswith(REPLAY):
            paths = sorted((base_dir / config.endpoint.removeprefix(REPLAY)).glob("*.json*"))
        else:
            continue
        try:
            inputs[config.name] = digest_of([[path.name, file_digest(path)] for path in paths])
        except OSError as error:
            raise SourceError(
                f"source {config.name}: cannot read {error.filename}: {error.strerror}. "
                "Check the path, which is relative to the config file."
            ) from error
    return inputs


def count_skips(skips: Sequence[Skip]) -> tuple[pa.Table, dict[str, int]]:
    """A table of (source, reason, count, first sample) sorted by count, and counts by reason."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for skip in skips:
        groups[skip.source, skip.reason].append(skip.sample)
    rows = [
        {"source": source, "reason": reason, "sample": min(samples), "count": len(samples)}
        for (source, reason), samples in groups.items()
    ]
    rows.sort(key=lambda row: (-row["count"], row["source"], row["reason"]))
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        counts[row["reason"]] += row["count"]
    return pa.Table.from_pylist(
        rows, schema=SKIP_SCHEMA.append(pa.field("count", pa.int64()))
    ), dict(counts)


@dataclass(frozen=True)
class _Fetch:
    """Builds, in the worker process, the function that fetches one partition."""

    origins: Mapping[str, str]
    cache: Path
    base_dir: Path

    def __call__(self) -> Callable[[tuple[SourceConfig, Partition]], pa.Table]:
        clients: dict[str, PoliteClient] = {}

        def run(task: tuple[SourceConfig, Partition]) -> pa.Table:
            config, partition = task
            source = make_source(config, self.base_dir)
            if config.name not in clients and source.endpoint is not None:
                clients[config.name] = self._client(config, source)
            found = source.fetch(partition, clients.get(config.name))
            return to_table(found, OBSERVATION_SCHEMA)

        return run

    def _client(self, config: SourceConfig, source: Source) -> PoliteClient:
        assert not isinstance(config, TableConfig)
        replayed = source.endpoint in self.origins
        return PoliteClient(
            source=config.name,
            contact=config.contact,
            cache=self.cache,
            min_interval_s=0.0 if replayed else config.min_interval_s,
            origins=self.origins,
        )


def _write(out: StageDir, table: pa.Table) -> dict:
    """The three files and the counts."""
    moment = ["etag", "fetched_at"]
    out.write_table(OBSERVATIONS, table.drop_columns(moment))
    out.write_table(FETCHED, table.select(["source", "partition", "about", "url", *moment]))
    observations = from_table(table, Observation)
    absent = [Skip(o.source, o.absent, o.about) for o in observations if o.absent]
    skips, counts = count_skips(absent)
    out.write_table(SKIPS, skips)
    return {
        "observations": len(observations) - len(absent),
        "bytes": sum(len(o.payload) for o in observations),
        "skipped": counts,
    }
