"""Stage 1, crawl: sources -> observations, as they stood at the end of a day.

Written are `observations.parquet` (payloads and provenance), `fetched.parquet` (when, and with
which ETag: left out of the digest, for a second run at another hour is the same output),
`skips.parquet`, and `crawl.json`: of every source what the crawl replaces of the snapshot before
(its coverage), the cursor to go on from, and where its feed of changes has gaps. Bulk sources leave
no observations but what they say, in `parsed/` (`discovery.crawl.bulk`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import date
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from discovery.crawl.bulk import BulkRead, read_bulk
from discovery.crawl.output import CRAWL, FETCHED, OBSERVATIONS, SKIPS, count_skips
from discovery.facts.tables import from_table, to_table
from discovery.sources import AskedConfig, SourceConfig, is_bulk, make_source
from discovery.sources.observation import (
    OBSERVATION_SCHEMA,
    SIGNAL_SCHEMA,
    Known,
    Observation,
    Partition,
    Signal,
    Since,
    Skip,
)
from discovery.sources.replay.server import ReplayServer
from discovery.sources.settings import REPLAY, NetworkSettings
from infra.errors import SourceError
from infra.execution.runner import Resources, Runner
from infra.files.digest import digest_of, file_digest
from infra.http.client import PoliteClient
from infra.http.rate_limit import RateLimit
from infra.storage.identity import NO_IDENTITY
from infra.storage.stage_dir import Shard, StageDir

ROWS_PER_GROUP = 256
"""Observations that are parsed at a time."""
ANSWER_S = 65.0
"""Seconds that an answer may take: Wikidata's query service gives up after 60."""


@dataclass(frozen=True, kw_only=True)
class CrawlInputs:
    """What a crawl is made from."""

    sources: Sequence[SourceConfig]
    as_of: date
    """The end of this day is how far sources are read."""
    previous: Known | None = None
    """What earlier crawls have found, for sources that say what has changed since."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Digest of the local files of each source that has any (`local_inputs`)."""
    base_dir: Path = field(metadata=NO_IDENTITY)
    """Directory of the config file, below which relative paths lie."""
    cache: Path = field(metadata=NO_IDENTITY)
    """Directory of HTTP responses that can be asked for conditionally."""


def crawl(inputs: CrawlInputs, out: StageDir, runner: Runner) -> dict[str, Any]:
    """Fetch every partition of every source; partitions finished before an interruption are kept.

    All workers share the runner's rate limits, one for each host; hosts are asked side by side. A
    recording is served by this process: its workers run on this machine.

    Raises SourceError, ConfigError.
    """
    sources, as_of, base_dir = inputs.sources, inputs.as_of, inputs.base_dir
    shards: list[tuple[int, Shard]] = []
    skips: list[Skip] = []
    about: dict[str, Any] = {}
    bulk = BulkRead()
    with ExitStack() as stack:
        origins = _serve_recordings(sources, base_dir, stack)
        reach = (runner.rate_limit(), origins, inputs.cache, base_dir)
        for config in sources:
            if is_bulk(config):
                read_bulk(config, as_of, bulk, out=out, runner=runner, base_dir=base_dir)
                about[config.name] = {
                    "coverage": "source",
                    "cursor": None,
                    "gaps": [],
                    "bulk": True,
                }
                continue
            source, settings = make_source(config, base_dir), _settings(config)
            since = inputs.previous.since(config.name) if inputs.previous else Since()
            if since.settings != settings:  # what is known answers other questions
                since = Since()
            cursor = since.cursor
            signals = _signals(out, runner, _Listen(*reach, config, as_of), cursor)
            for n, part in enumerate(source.partitions(as_of, since, signals)):
                shards.append((n, Shard(f"{config.name}-{part.id}", (config, part))))
            skips += [skip for signal in signals or () for skip in signal.skips]
            about[config.name] = {
                "coverage": source.coverage,
                "settings": settings,
                "cursor": signals[-1].cursor if signals else cursor,
                "gaps": [signal.gap for signal in signals or () if signal.gap],
            }
        # sources take turns, so that one of many partitions does not keep all workers waiting
        mixed = [shard for _, shard in sorted(shards, key=itemgetter(0))]
        out.map_tables(runner, _Fetch(*reach), mixed)
    paths = [out.shard_path(shard) for _, shard in shards]
    tables = [pq.read_table(path, schema=OBSERVATION_SCHEMA) for path in paths]
    before = {
        "as_of": as_of.isoformat(),
        "previous": inputs.previous.snapshot_id if inputs.previous else None,
    }
    out.write_json(CRAWL, {"schema": 1, **before, "sources": about})
    observed = pa.concat_tables(tables or [OBSERVATION_SCHEMA.empty_table()])
    counts = _write(out, observed, [*skips, *bulk.skips])
    read = {"lines": bulk.num_lines, "bulk_bytes": bulk.num_bytes}
    return {**counts, **(read if bulk.num_lines else {})}


def _settings(config: SourceConfig) -> str:
    """Digest of what decides which facts a source gives: under others, what is known of it is not
    gone on from."""
    manners = {"contact", "min_interval_s"}
    return digest_of(config.model_dump(mode="json", exclude=manners))


def _serve_recordings(
    sources: Sequence[SourceConfig], base_dir: Path, stack: ExitStack
) -> dict[str, str]:
    """Where each `replay:` place is served, once however many sources share it."""
    places = {config.origin for config in sources if isinstance(config, NetworkSettings)}
    return {
        place: stack.enter_context(ReplayServer(base_dir / place.removeprefix(REPLAY)))
        for place in sorted(place for place in places if place.startswith(REPLAY))
    }


def _signals(out: StageDir, runner: Runner, listen: _Listen, cursor: Any) -> list[Signal] | None:
    """The source's feed of changes, slice by slice to its end; None where it has none."""
    signals: list[Signal] = []
    while not signals or not signals[-1].done:
        shard = Shard(f"{listen.config.name}-signal-{len(signals):05d}", cursor)
        (path,) = out.map_tables(runner, listen, [shard], resources=Resources(max_workers=1))
        rows = pq.read_table(path, schema=SIGNAL_SCHEMA).to_pylist()
        if not rows:
            return None
        cursor = json.loads(rows[0]["cursor"])
        parts = {name: tuple(rows[0][name]) for name in ("subjects", "selected")}
        skips = tuple(Skip(**skip) for skip in rows[0]["skips"])
        signals.append(Signal(**{**rows[0], **parts, "cursor": cursor, "skips": skips}))
    return signals


def local_inputs(sources: Sequence[SourceConfig], base_dir: Path) -> dict[str, str]:
    """Digests of the local files a crawl would read, for its fingerprint. Raises SourceError."""
    inputs = {}
    for config in sources:
        paths = config.local_paths(base_dir)
        if paths is None:
            continue
        try:
            inputs[config.name] = digest_of([[path.name, file_digest(path)] for path in paths])
        except OSError as error:
            raise SourceError(
                f"source {config.name}: cannot read {error.filename}: {error.strerror}. "
                "Check the path, which is relative to the config file."
            ) from error
    return inputs


@dataclass(frozen=True)
class _Worker:
    """What a worker needs to reach the sources."""

    rate_limit: RateLimit
    origins: Mapping[str, str]
    cache: Path
    base_dir: Path

    def client(self, config: AskedConfig) -> PoliteClient | None:
        """The client of a source, None where it is local."""
        if not isinstance(config, NetworkSettings):
            return None
        replayed = config.origin in self.origins
        return PoliteClient(
            source=config.name,
            contact=config.contact,
            rate_limit=self.rate_limit,
            cache=self.cache,
            min_interval_s=0.0 if replayed else config.min_interval_s,
            timeout_s=ANSWER_S,
            origins=self.origins,
            robots=config.obeys_robots,
            cross_host=config.obeys_robots,
        )


@dataclass(frozen=True)
class _Listen(_Worker):
    """Builds, in the worker process, the function that follows one source's feed for a slice."""

    config: AskedConfig
    as_of: date

    def __call__(self) -> Callable[[Any], pa.Table]:
        source, client = make_source(self.config, self.base_dir), self.client(self.config)

        def run(cursor: Any) -> pa.Table:
            signal = source.listen(self.as_of, cursor, client)
            if signal is None:
                return SIGNAL_SCHEMA.empty_table()
            row = {**asdict(signal), "cursor": json.dumps(signal.cursor)}
            return pa.Table.from_pylist([row], schema=SIGNAL_SCHEMA)

        return run


@dataclass(frozen=True)
class _Fetch(_Worker):
    """Builds, in the worker process, the function that fetches one partition."""

    def __call__(self) -> Callable[[tuple[AskedConfig, Partition]], pa.Table]:
        clients: dict[str, PoliteClient | None] = {}

        def run(task: tuple[AskedConfig, Partition]) -> pa.Table:
            config, partition = task
            if config.name not in clients:
                clients[config.name] = self.client(config)
            source = make_source(config, self.base_dir)
            return to_table(source.fetch(partition, clients[config.name]), OBSERVATION_SCHEMA)

        return run


def _write(out: StageDir, table: pa.Table, skips: Sequence[Skip]) -> dict:
    """The three files and the counts."""
    moment = ["etag", "fetched_at"]
    out.write_table(OBSERVATIONS, table.drop_columns(moment), rows_per_group=ROWS_PER_GROUP)
    out.write_table(FETCHED, table.select(["source", "partition", "about", "url", *moment]))
    observations = from_table(table, Observation)
    absent = [Skip(o.source, o.absent, o.about) for o in observations if o.absent]
    counted, counts = count_skips([*skips, *absent])
    out.write_table(SKIPS, counted)
    return {
        "observations": len(observations) - len(absent),
        "bytes": sum(len(o.payload) for o in observations),
        "skipped": counts,
    }
