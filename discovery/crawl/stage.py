"""Stage 1, crawl: reads the sources and stores their state at the end of a day as observations.

The files of its output:

    observations.parquet  payloads of the answers, with their provenance
    fetched.parquet       time and ETag of each answer; not part of the output's digest, so that a
                          second run at another hour gives the same output
    skips.parquet         data that could not be used: source, reason, sample, count
    crawl.json            by source: which earlier facts the crawl replaces (its coverage), the
                          cursor for the next crawl, and the gaps in its feed of changes
    parsed/               facts and entities of bulk sources, which leave no observations
                          (`discovery.crawl.bulk`)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import date
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from discovery.crawl.access import Access, serve_recordings
from discovery.crawl.bulk import BulkRead, read_bulk
from discovery.crawl.output import CRAWL, FETCHED, OBSERVATIONS, SKIPS, count_skips
from discovery.facts.tables import from_table, to_table
from discovery.sources import AskedConfig, SourceConfig, is_bulk, make_source
from discovery.sources.local_files import cannot_read
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
from discovery.sources.settings import NetworkSettings
from infra.errors import SourceError
from infra.execution.runner import Resources, Runner
from infra.files.digest import digest_of, file_digest
from infra.http.client import PoliteClient
from infra.storage.identity import NO_IDENTITY
from infra.storage.stage_dir import WAITS, Shard, StageDir
from infra.telemetry.waits import Waits

ROWS_PER_GROUP = 256
"""Observations in a row group of the file, which the snapshot stage parses as one task."""


@dataclass(frozen=True, kw_only=True)
class CrawlInputs:
    """Everything that a crawl depends on."""

    sources: Sequence[SourceConfig]
    """The sources to read."""
    as_of: date
    """The day (UTC) at whose end the sources are observed."""
    previous: Known | None = None
    """What earlier crawls found, from which this one continues; None for a first crawl."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Source name -> digest of its local files (`local_inputs`), for sources that have any."""
    base_dir: Path = field(metadata=NO_IDENTITY)
    """Directory of the config file; the sources' relative paths are below it."""
    cache: Path = field(metadata=NO_IDENTITY)
    """Directory of cached HTTP responses, which are revalidated by conditional requests."""


def crawl(inputs: CrawlInputs, out: StageDir, runner: Runner) -> dict[str, Any]:
    """Fetch every partition of every source, write the files, and return counts for the record.

    Partitions that were fetched before an interruption are kept. All workers share the runner's
    rate limits, one for each host; different hosts are asked at the same time. Recordings are
    served by this process on this machine, so their workers must run here too.

    Raises SourceError where a source cannot be read, and ConfigError where its settings do not fit
    or name a secret that is not there.
    """
    sources, as_of, base_dir = inputs.sources, inputs.as_of, inputs.base_dir
    shards: list[tuple[int, Shard]] = []
    skips: list[Skip] = []
    about: dict[str, Any] = {}
    bulk = BulkRead()
    with ExitStack() as stack:
        origins = serve_recordings(sources, base_dir, stack)
        network = [config for config in sources if isinstance(config, NetworkSettings)]
        told = {"waits": Waits(out.path / WAITS), "tally": runner.tally() if network else None}
        access = (runner.rate_limit(), origins, inputs.cache, base_dir)
        for config in [config.filled(f"source {config.name}") for config in sources]:
            if is_bulk(config):
                read_bulk(config, as_of, bulk, out=out, runner=runner, base_dir=base_dir)
                about[config.name] = {
                    "coverage": "source",
                    "settings": config.source_id,
                    "cursor": None,
                    "gaps": [],
                    "bulk": True,
                }
                continue
            source, settings = make_source(config, base_dir), config.source_id
            since = inputs.previous.since(config.name) if inputs.previous else Since()
            if since.settings != settings:  # earlier findings are those of another source
                since = Since()
            cursor = since.cursor
            signals = _signals(out, runner, _Listen(*access, config, as_of, **told), cursor)
            for n, part in enumerate(source.partitions(as_of, since, signals)):
                shards.append((n, Shard(f"{config.name}-{part.id}", (config, part))))
            skips += [skip for signal in signals or () for skip in signal.skips]
            about[config.name] = {
                "coverage": source.coverage,
                "settings": settings,
                "cursor": signals[-1].cursor if signals else cursor,
                "gaps": [signal.gap for signal in signals or () if signal.gap],
            }
        # Sources take turns, so that a source of many partitions does not occupy all workers.
        mixed = [shard for _, shard in sorted(shards, key=itemgetter(0))]
        out.map_tables(runner, _Fetch(*access, **told), mixed, phase="fetch")
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


def answer_of(config: AskedConfig, waits: Waits) -> AbstractContextManager[None]:
    """Tells that a database is waited for, where the source is one."""
    if config.kind != "sql":
        return nullcontext()
    what = f"the answer of source {config.name}'s database"
    return waits.told(what, config.max_answer_s)


def _signals(out: StageDir, runner: Runner, listen: _Listen, cursor: Any) -> list[Signal] | None:
    """All slices of the source's feed of changes since the cursor; None where it has no feed."""
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
    """Source name -> digest of the bytes of its local files, for the fingerprint of a crawl.

    Sources without local files are left out. Raises SourceError where a file cannot be read.
    """
    inputs = {}
    for config in sources:
        paths = config.local_paths(base_dir)
        if paths is None:
            continue
        try:
            inputs[config.name] = digest_of([[path.name, file_digest(path)] for path in paths])
        except IsADirectoryError as error:
            raise SourceError(
                f"source {config.name}: {error.filename} is a directory, and a source is one file. "
                'Read a table of several files with kind = "sql", connect = "duckdb:" and a query '
                "such as SELECT * FROM read_parquet('DIRECTORY/**/*.parquet')."
            ) from error
        except OSError as error:
            raise cannot_read(config.name, error.filename, error) from error
    return inputs


@dataclass(frozen=True)
class _Listen(Access):
    """Builds, in the worker process, the function that reads one slice of a source's changes."""

    config: AskedConfig
    as_of: date

    def __call__(self) -> Callable[[Any], pa.Table]:
        source, client = make_source(self.config, self.base_dir), self.client(self.config)

        def run(cursor: Any) -> pa.Table:
            with self.config.scrubber.guarded(), answer_of(self.config, self.waits):
                signal = source.listen(self.as_of, cursor, client)
            if signal is None:
                return SIGNAL_SCHEMA.empty_table()
            row = {**asdict(signal), "cursor": json.dumps(signal.cursor)}
            return pa.Table.from_pylist([row], schema=SIGNAL_SCHEMA)

        return run


@dataclass(frozen=True)
class _Fetch(Access):
    """Builds, in the worker process, the function that fetches one partition."""

    def __call__(self) -> Callable[[tuple[AskedConfig, Partition]], pa.Table]:
        clients: dict[str, PoliteClient | None] = {}

        def run(task: tuple[AskedConfig, Partition]) -> pa.Table:
            config, partition = task
            with config.scrubber.guarded(), answer_of(config, self.waits):
                if config.name not in clients:
                    clients[config.name] = self.client(config)
                source = make_source(config, self.base_dir)
                return to_table(source.fetch(partition, clients[config.name]), OBSERVATION_SCHEMA)

        return run


def _write(out: StageDir, table: pa.Table, skips: Sequence[Skip]) -> dict:
    """Write observations, fetch times and skips, and return the counts for the record."""
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
