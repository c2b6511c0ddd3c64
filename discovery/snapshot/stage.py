"""Stage 2, snapshot: observations -> facts and entities, in hash buckets.

    facts/bucket-NNN.parquet      sorted by (subject, relation, statement id, source)
    groups/bucket-NNN.parquet     a digest of each (subject, relation), by which a diff sees changes
    entities/bucket-NNN.parquet   sorted by id; the descriptions of several sources are merged
    parts/bucket-NNN.parquet      each source's own description of an entity, for later merges
    mentions/bucket-NNN.parquet   ids of the entities that occur in a bucket's facts, by source
    revisions.parquet             the revision of every subject that was observed itself
    skips.parquet                 data that could not be read: source, reason, count, sample
    manifest.json                 as-of day, cursors, gaps, rows and digest of every file, and
                                  `snapshot_id`, the digest of all rows

A bucket holds a range of the ids' blake2b hashes. A subject therefore has the same bucket in any
two snapshots with the same number of buckets. A snapshot that continues an earlier one writes only
the buckets in which something was found or replaced; the files of the others are linked or copied
unread. The snapshot id does not depend on the number of crawls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from discovery.crawl.bulk import PARSED
from discovery.crawl.output import CRAWL, OBSERVATIONS, SKIPS, count_skips
from discovery.crawl.parsed import WHOLE, read_parsed
from discovery.snapshot.bucket_files import BucketFiles
from discovery.snapshot.coverage import other_sources, replaced_by
from discovery.snapshot.output import MANIFEST, REVISIONS, Snapshot
from discovery.snapshot.parse import ParseObservations
from discovery.snapshot.revisions import merge_revisions, observed_of
from discovery.snapshot.wave import held_by_source
from discovery.sources import SourceConfig
from discovery.sources.observation import Skip
from infra.errors import StageError
from infra.execution.runner import Runner
from infra.files.digest import digest_of
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import Shard, StageDir

SCHEMA = 3
"""Version of the format, in the manifest."""
NUM_BUCKETS = 16
"""Enough for small sources. For large ones choose so many that a bucket's rows fit into memory, for
example 256. All snapshots of a workspace have the same number: a diff compares bucket by bucket."""
IDENTITY = ("facts", "parts", "entities")
"""Kinds of files whose digests give the snapshot id."""


@dataclass(frozen=True, kw_only=True)
class SnapshotInputs:
    """Everything that a snapshot depends on."""

    crawl: Artifact
    """Output of the crawl."""
    sources: Sequence[SourceConfig]
    """The configured sources; an entity's label comes from the first that has one."""
    as_of: date
    """The day at whose end the sources were observed."""
    previous: Snapshot | None = None
    """The snapshot that the crawl continued; its rows stay unless the crawl replaces them. None for
    a first snapshot."""
    max_vanished: float = 0.5
    """The largest share of a source's facts, 0 to 1, that may be gone at once."""
    may_vanish: frozenset[str] = frozenset()
    """Sources of which a person has approved that more is gone."""
    num_buckets: int = NUM_BUCKETS
    """Buckets of a first snapshot; a later one has as many as `previous`."""


def snapshot(inputs: SnapshotInputs, out: StageDir, runner: Runner) -> dict[str, Any]:
    """Parse all observations, merge them bucket by bucket with the earlier snapshot, write the
    files, and return counts for the record.

    Raises StageError where `previous` has another version of the format, and SourceError where too
    large a share of a source is gone.
    """
    observations, sources, previous = inputs.crawl, inputs.sources, inputs.previous
    before = previous.manifest() if previous else None
    if previous and before and before["schema"] != SCHEMA:
        raise StageError(
            f"{previous.path} is of format {before['schema']}, this version reads {SCHEMA}. Make "
            "the first snapshot again."
        )
    num_buckets = before["num_buckets"] if before else inputs.num_buckets
    asked = _parse(observations, sources, out, runner)
    parsed = asked + observations.files(PARSED)
    crawled = observations.json(CRAWL)["sources"]
    observed = observed_of(observations, crawled, WHOLE)
    faults = observed_of(observations, crawled, ("fault",))
    replaced = replaced_by(observations, sources, before, observed, faults, parsed)
    buckets = BucketFiles(previous, before, num_buckets, parsed, replaced, out, runner)
    files = buckets.facts()
    configured = [config.name for config in sources]
    if before:
        held = held_by_source(before, configured)
        buckets.vanished.refuse_wave(held, limit=inputs.max_vanished, approved=inputs.may_vanish)
    mentions = buckets.mentions(files)
    files |= buckets.entities(configured, mentions)
    skipped = read_parsed(asked, "skip")[0].to_pylist()  # bulk sources: counted by the crawl
    skips, counts = count_skips([Skip(**row) for row in skipped])
    out.write_table(SKIPS, skips)
    same = [name for name in configured if name not in other_sources(before, crawled)]
    out.write_table(REVISIONS, merge_revisions(previous, (observed, faults), same))
    rows = {
        kind: sum(about["rows"] for name, about in files.items() if name.startswith(f"{kind}/"))
        for kind in ("facts", "entities")
    }
    identity = {
        name: about["digest"] for name, about in files.items() if name.split("/")[0] in IDENTITY
    }
    manifest = {
        "schema": SCHEMA,
        "as_of": inputs.as_of.isoformat(),
        "sources": configured,
        "settings": {name: about.get("settings") for name, about in crawled.items()},
        "cursors": {name: about["cursor"] for name, about in crawled.items()},
        "damaged": sorted(replaced.damaged),
        "gaps": {name: about["gaps"] for name, about in crawled.items() if about["gaps"]},
        "previous": before["snapshot_id"] if before else None,
        "num_buckets": num_buckets,
        "rows": rows,
        "files": files,
        "mentions": mentions,
        "snapshot_id": digest_of(identity),
    }
    out.write_json(MANIFEST, manifest)
    damaged = {"damaged": sorted(replaced.damaged)} if replaced.damaged else {}
    return {**rows, "skipped": counts, **damaged}


def _parse(
    observations: Artifact, sources: Sequence[SourceConfig], out: StageDir, runner: Runner
) -> list[Path]:
    """Parse all observations; the files of the parsed tables."""
    path = observations.file(OBSERVATIONS)
    shards = [
        Shard(f"parsed-{n:07d}", n) for n in range(pq.ParquetFile(path).metadata.num_row_groups)
    ]
    return out.map_tables(runner, ParseObservations(tuple(sources), path), shards, phase="parse")
