"""Stage 1, crawl: sources -> observations, as they stood at the end of a day.

Written are `observations.parquet` (payloads and provenance), `fetched.parquet` (when, and with
which ETag: left out of the digest, for a second run at another hour is the same output),
`skips.parquet`, and `crawl.json`: of every source what the crawl replaces of the snapshot before
(its coverage), the cursor to go on from, and where its feed of changes has gaps.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.fact import from_table, to_table
from discovery.sources import SourceConfig, make_source
from discovery.sources.observation import (
    OBSERVATION_SCHEMA,
    SIGNAL_SCHEMA,
    SKIP_SCHEMA,
    Observation,
    Partition,
    Signal,
    Since,
    Skip,
)
from discovery.sources.table import TableConfig
from infra.errors import SourceError
from infra.http import PoliteClient
from infra.replay import ReplayServer
from infra.runner import Resources, Runner
from infra.storage import Artifact, Shard, StageDir, digest_of, file_digest

OBSERVATIONS, FETCHED, SKIPS = "observations.parquet", "fetched.parquet", "skips.parquet"
CRAWL = "crawl.json"
ROWS_PER_GROUP = 256
"""Observations that are parsed at a time."""
REVISIONS = "revisions.parquet"
"""Of a snapshot: source, subject, and the revision that it holds."""
VOLATILE = (FETCHED,)
"""Files for `Workspace.run_stage(volatile=...)`."""
REPLAY = "replay:"


def crawl(
    sources: Sequence[SourceConfig],
    as_of: date,
    *,
    previous: Artifact | None = None,
    out: StageDir,
    runner: Runner,
    cache: Path,
    base_dir: Path,
) -> dict:
    """Fetch every partition of every source; partitions finished before an interruption are kept.

    previous  the snapshot that what is found is put on top of, for sources that say what changed
    cache     directory of HTTP responses that can be asked for conditionally
    base_dir  directory of the config file, below which relative paths lie

    One place of the network is asked by one worker at a time, so that it has one budget.
    A recording is served by this process: its workers run on this machine.

    Raises SourceError, ConfigError.
    """
    manifest = previous.json("manifest.json") if previous else {}
    cursors = manifest.get("cursors", {})
    by_place: dict[str | None, list[SourceConfig]] = defaultdict(list)
    for config in sources:
        by_place[make_source(config, base_dir).endpoint].append(config)
    paths: list[Path] = []
    about: dict[str, Any] = {}
    for place, configs in by_place.items():
        with ExitStack() as stack:
            origins = {}
            if place is not None and place.startswith(REPLAY):
                recording = base_dir / place.removeprefix(REPLAY)
                origins[place] = stack.enter_context(ReplayServer(recording))
            one_worker = Resources(max_workers=None if place is None else 1)
            shards = []
            for config in configs:
                source, cursor = make_source(config, base_dir), cursors.get(config.name)
                listen = _Listen(origins, cache, base_dir, config, as_of)
                signals = _signals(out, runner, listen, cursor)
                since = Since(cursor=cursor, revisions=_revisions(previous, config.name))
                parts = source.partitions(as_of, since, signals)
                shards += [Shard(f"{config.name}-{part.id}", (config, part)) for part in parts]
                about[config.name] = {
                    "coverage": source.coverage,
                    "cursor": signals[-1].cursor if signals else cursor,
                    "gaps": [signal.gap for signal in signals or () if signal.gap],
                }
            fetch = _Fetch(origins, cache, base_dir)
            paths += out.map_tables(runner, fetch, shards, resources=one_worker)
    tables = [pq.read_table(path, schema=OBSERVATION_SCHEMA) for path in paths]
    before = {"as_of": as_of.isoformat(), "previous": manifest.get("snapshot_id")}
    out.write_json(CRAWL, {"schema": 1, **before, "sources": about})
    return _write(out, pa.concat_tables(tables or [OBSERVATION_SCHEMA.empty_table()]))


def _signals(out: StageDir, runner: Runner, listen: _Listen, cursor: Any) -> list[Signal] | None:
    """The source's feed of changes, slice by slice to its end; None where it has none."""
    signals: list[Signal] = []
    while not signals or not signals[-1].done:
        shard = Shard(f"{listen.config.name}-signal-{len(signals):05d}", cursor)
        (path,) = out.map_tables(runner, listen, [shard], resources=Resources(max_workers=1))
        rows = pq.read_table(path, schema=SIGNAL_SCHEMA).to_pylist()
        if not rows:
            return None
        cursor = json.loads(rows[0].pop("cursor"))
        subjects = tuple(rows[0].pop("subjects"))
        signals.append(Signal(subjects=subjects, cursor=cursor, **rows[0]))
    return signals


def _revisions(previous: Artifact | None, source: str) -> dict[str, int | None]:
    """What the earlier snapshot holds of a source, subject by subject."""
    if previous is None:
        return {}
    table = pq.read_table(previous.path / REVISIONS, filters=pc.field("source") == source)
    columns = table["subject"].to_pylist(), table["revision"].to_pylist()
    return dict(zip(*columns, strict=True))


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
class _Worker:
    """What a worker needs to reach the sources."""

    origins: Mapping[str, str]
    cache: Path
    base_dir: Path

    def client(self, config: SourceConfig) -> PoliteClient | None:
        """The client of a source, None where it is local."""
        if isinstance(config, TableConfig):
            return None
        replayed = config.endpoint in self.origins
        return PoliteClient(
            source=config.name,
            contact=config.contact,
            cache=self.cache,
            min_interval_s=0.0 if replayed else config.min_interval_s,
            origins=self.origins,
        )


@dataclass(frozen=True)
class _Listen(_Worker):
    """Builds, in the worker process, the function that follows one source's feed for a slice."""

    config: SourceConfig
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

    def __call__(self) -> Callable[[tuple[SourceConfig, Partition]], pa.Table]:
        clients: dict[str, PoliteClient | None] = {}

        def run(task: tuple[SourceConfig, Partition]) -> pa.Table:
            config, partition = task
            if config.name not in clients:
                clients[config.name] = self.client(config)
            source = make_source(config, self.base_dir)
            return to_table(source.fetch(partition, clients[config.name]), OBSERVATION_SCHEMA)

        return run


def _write(out: StageDir, table: pa.Table) -> dict:
    """The three files and the counts."""
    moment = ["etag", "fetched_at"]
    out.write_table(OBSERVATIONS, table.drop_columns(moment), rows_per_group=ROWS_PER_GROUP)
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
