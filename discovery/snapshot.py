"""Stage 2, snapshot: observations -> facts and entities, in buckets that compare one by one.

    facts/bucket-NNN.parquet      sorted by (subject, relation, statement id, source)
    entities/bucket-NNN.parquet   sorted by id; what several sources say of one is merged
    skips.parquet                 what could not be read: source, reason, count, sample
    manifest.json                 as-of day, sources, and `snapshot_id`, the digest of all rows

The bucket of an id is blake2b(id) mod B, so equal subjects of two snapshots with the same B meet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.crawl import CRAWL, OBSERVATIONS, REVISIONS, SKIPS, count_skips
from discovery.fact import ENTITY_SCHEMA, FACT_SCHEMA, Entity, Fact, from_table, to_table
from discovery.sources import SourceConfig, make_source
from discovery.sources.observation import SKIP_SCHEMA, Observation, Skip
from infra.runner import Runner
from infra.storage import Artifact, Shard, StageDir, digest_of, table_digest

MANIFEST = "manifest.json"
NUM_BUCKETS = 16
"""Fixed for all snapshots of a workspace, else they cannot be compared bucket by bucket."""
OBSERVATIONS_PER_SHARD = 64

PARSED_SCHEMA = pa.schema(
    [
        pa.field("bucket", pa.int32(), nullable=False),
        ("fact", pa.struct(list(FACT_SCHEMA))),
        ("entity", pa.struct(list(ENTITY_SCHEMA))),
        ("skip", pa.struct(list(SKIP_SCHEMA))),
    ]
)
"""What a shard of observations says; of the last three columns a row has one."""


def snapshot(
    observations: Artifact,
    sources: Sequence[SourceConfig],
    as_of: date,
    *,
    previous: Artifact | None = None,
    out: StageDir,
    runner: Runner,
) -> dict:
    """Parse all observations, then sort and merge bucket by bucket, whatever their order.

    previous  the snapshot the crawl went on from; of it stays what the crawl does not replace
    """
    path = observations.path / OBSERVATIONS
    total = pq.ParquetFile(path).metadata.num_rows
    starts = range(0, total, OBSERVATIONS_PER_SHARD)
    shards = [Shard(f"parsed-{n:07d}", (path, n)) for n in starts]
    parsed = out.map_tables(runner, _Parse(tuple(sources)), shards)
    order = {config.name: n for n, config in enumerate(sources)}
    rows: dict[str, int] = {}
    digests: dict[str, str] = {}
    for kind, gather in (("facts", _gather_facts), ("entities", _gather_entities)):
        made = out.map_tables(
            runner,
            _Gather(gather, parsed, order),
            [Shard(f"{kind}-{bucket:03d}", bucket) for bucket in range(NUM_BUCKETS)],
        )
        rows[kind] = 0
        for bucket, shard in enumerate(made):
            table, name = pq.read_table(shard), bucket_file(kind, bucket)
            out.write_table(name, table)
            rows[kind] += table.num_rows
            digests[name] = table_digest(table)
    skipped = [Skip(**row["skip"]) for path in parsed for row in _rows(path, "skip")]
    skips, counts = count_skips(skipped)
    out.write_table(SKIPS, skips)
    crawled = observations.json(CRAWL)["sources"]
    covered = [name for name, about in crawled.items() if about["coverage"] == "subject"]
    out.write_table(REVISIONS, _observed_revisions(path, covered))
    manifest = {
        "schema": 1,
        "as_of": as_of.isoformat(),
        "sources": [config.name for config in sources],
        "cursors": {name: about["cursor"] for name, about in crawled.items()},
        "gaps": {name: about["gaps"] for name, about in crawled.items() if about["gaps"]},
        "previous": previous.json(MANIFEST)["snapshot_id"] if previous else None,
        "num_buckets": NUM_BUCKETS,
        "rows": rows,
        "snapshot_id": digest_of(digests),
    }
    out.write_json(MANIFEST, manifest)
    return {**rows, "skipped": counts}


def _observed_revisions(path: Path, covered: Sequence[str]) -> pa.Table:
    """The revision of every subject of the covered sources as observed, null where it is absent."""
    wanted = (pc.field("kind") == "entity") & pc.field("source").isin(
        pa.array(covered, pa.string())
    )
    table = pq.read_table(path, columns=["source", "about", "revision"], filters=wanted)
    table = table.rename_columns(["source", "subject", "revision"])
    return table.sort_by([("source", "ascending"), ("subject", "ascending")])


def bucket_of(key: str) -> int:
    """Bucket of an id; the same in every process and for ever."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % NUM_BUCKETS


def bucket_file(kind: str, bucket: int) -> str:
    """Path of a bucket's file in the snapshot; `kind` is `facts` or `entities`."""
    return f"{kind}/bucket-{bucket:03d}.parquet"


@dataclass(frozen=True)
class _Parse:
    """Builds the function that parses a run of observations."""

    sources: tuple[SourceConfig, ...]

    def __call__(self) -> Callable[[tuple[Path, int]], pa.Table]:
        sources = {config.name: make_source(config) for config in self.sources}

        def run(task: tuple[Path, int]) -> pa.Table:
            path, start = task
            table = pq.read_table(path).slice(start, OBSERVATIONS_PER_SHARD)
            rows: list[dict[str, Any]] = []
            for row in table.to_pylist():
                parsed = sources[row["source"]].parse(Observation(**row, fetched_at=""))
                rows += [{"bucket": bucket_of(f.subject), "fact": asdict(f)} for f in parsed.facts]
                rows += [{"bucket": bucket_of(e.id), "entity": asdict(e)} for e in parsed.entities]
                rows += [{"bucket": 0, "skip": asdict(s)} for s in parsed.skips]
            return pa.Table.from_pylist(rows, schema=PARSED_SCHEMA)

        return run


@dataclass(frozen=True)
class _Gather:
    """Builds the function that makes one bucket of all parsed shards."""

    gather: Callable[[list[dict[str, Any]], dict[str, int]], pa.Table]
    parsed: Sequence[Path]
    order: dict[str, int]

    def __call__(self) -> Callable[[int], pa.Table]:
        kind = "fact" if self.gather is _gather_facts else "entity"

        def run(bucket: int) -> pa.Table:
            rows = [row[kind] for path in self.parsed for row in _rows(path, kind, bucket)]
            return self.gather(rows, self.order)

        return run


def _rows(path: Path, kind: str, bucket: int | None = None) -> list[dict[str, Any]]:
    """Rows of a parsed shard that have `kind`."""
    where = pc.field(kind).is_valid()
    if bucket is not None:
        where &= pc.field("bucket") == bucket
    return pq.read_table(path, columns=[kind], filters=where).to_pylist()


def _gather_facts(rows: list[dict[str, Any]], order: dict[str, int]) -> pa.Table:
    """Facts of a bucket, sorted; a statement that was observed twice is one fact."""
    facts = from_table(pa.Table.from_pylist(rows, schema=FACT_SCHEMA), Fact)
    unique = {(f.subject, f.relation, f.statement_id, f.source): f for f in facts}
    return to_table([unique[key] for key in sorted(unique)], FACT_SCHEMA)


def _gather_entities(rows: list[dict[str, Any]], order: dict[str, int]) -> pa.Table:
    """Entities of a bucket, sorted and merged by id."""
    groups: dict[str, list[Entity]] = {}
    for entity in from_table(pa.Table.from_pylist(rows, schema=ENTITY_SCHEMA), Entity):
        groups.setdefault(entity.id, []).append(entity)
    return to_table([_merge(groups[key], order) for key in sorted(groups)], ENTITY_SCHEMA)


def _merge(entities: Iterable[Entity], order: dict[str, int]) -> Entity:
    """One entity of several observations: the first source with a label names it."""
    ranked = sorted(
        entities,
        key=lambda e: (
            e.label is None,
            order[e.source],
            -e.num_sitelinks,
            e.label or "",
            e.aliases,
        ),
    )
    names = {name for e in ranked for name in (*e.aliases, *filter(None, [e.label]))}
    return replace(
        ranked[0],
        aliases=tuple(sorted(names - {ranked[0].label})),
        types=tuple(sorted({kind for e in ranked for kind in e.types})),
        num_sitelinks=max(e.num_sitelinks for e in ranked),
        revision=max((e.revision for e in ranked if e.revision is not None), default=None),
    )
