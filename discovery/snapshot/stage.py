"""Stage 2, snapshot: observations -> facts and entities, in buckets that compare one by one.

    facts/bucket-NNN.parquet      sorted by (subject, relation, statement id, source)
    groups/bucket-NNN.parquet     by what a diff tells whether a (subject, relation) changed
    entities/bucket-NNN.parquet   sorted by id; what several sources say of one is merged
    parts/bucket-NNN.parquet      what each source says of an entity, to merge again later
    mentions/bucket-NNN.parquet   which ids the facts of a bucket speak of, by source
    revisions.parquet             the revision of every subject that was observed by itself
    skips.parquet                 what could not be read: source, reason, count, sample
    manifest.json                 as-of day, cursors, gaps, rows and digest of every file, and
                                  `snapshot_id`, the digest of all rows

The bucket of an id is a range of its blake2b, so equal subjects of two snapshots with as many
buckets meet. With a snapshot to go on from, only the buckets are made in which something was found
or replaced; of the others the files are taken over unread. Made in many steps or in one, a snapshot
has the same id.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.crawl.bulk import PARSED
from discovery.crawl.output import CRAWL, OBSERVATIONS, SKIPS, count_skips
from discovery.crawl.parsed import WHOLE, count_parsed, read_parsed
from discovery.facts.hashing import bucket_of, hash_of, hash_range
from discovery.snapshot.buckets import MADE_SCHEMA, MakeEntities, MakeFacts
from discovery.snapshot.coverage import Replaced, observed_of, replaced_by
from discovery.snapshot.merge import merge_mentions
from discovery.snapshot.output import MANIFEST, REVISIONS, Snapshot, bucket_file
from discovery.snapshot.parse import ParseObservations
from discovery.sources import SourceConfig
from discovery.sources.observation import Skip
from infra.errors import StageError
from infra.execution.runner import Runner
from infra.files.digest import digest_of, table_digest
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import Shard, StageDir

SCHEMA = 3
NUM_BUCKETS = 16
"""For a small world; a large one has as many as keep a bucket's rows in memory, say 256. All
snapshots of a workspace have the same, else they could not be compared bucket by bucket."""
ROWS_PER_TASK = 500_000
"""Buckets are made together up to about as many rows."""
MENTIONS = "mentions.parquet"
KINDS = {"facts": ("facts", "groups", "mentions"), "entities": ("parts", "entities")}
"""What is made of a bucket at once."""
IDENTITY = ("facts", "parts", "entities")


@dataclass(frozen=True, kw_only=True)
class SnapshotInputs:
    """What a snapshot is made from."""

    crawl: Artifact
    sources: Sequence[SourceConfig]
    as_of: date
    previous: Snapshot | None = None
    """The snapshot that the crawl went on from; what the crawl does not replace stays."""
    num_buckets: int = NUM_BUCKETS
    """Of the first snapshot; later ones have as many as the one before."""


def snapshot(inputs: SnapshotInputs, out: StageDir, runner: Runner) -> dict[str, Any]:
    """Parse all observations, then merge and sort bucket by bucket, whatever their order.

    Raises StageError where `previous` is of another format.
    """
    observations, sources, previous = inputs.crawl, inputs.sources, inputs.previous
    num_buckets = inputs.num_buckets
    before = previous.manifest() if previous else None
    if before is not None:
        if before["schema"] != SCHEMA:
            raise StageError(
                f"{previous and previous.path} is of format {before['schema']}, this version reads "
                f"{SCHEMA}. Make the first snapshot again."
            )
        num_buckets = before["num_buckets"]
    asked = _parse(observations, sources, out, runner)
    parsed = asked + sorted((observations.path / PARSED).glob("*.parquet"))
    crawled = observations.json(CRAWL)["sources"]
    observed = observed_of(observations, crawled, WHOLE)
    faults = observed_of(observations, crawled, ("fault",))
    replaced = replaced_by(observations, sources, before, observed, parsed)
    step = _Step(previous, before, num_buckets, parsed, replaced, out, runner)
    files = step.facts()
    mentions = step.mentions(files)
    configured = [config.name for config in sources]
    files |= step.entities(configured, mentions)
    skipped = read_parsed(asked, "skip")[0].to_pylist()  # those of bulk sources the crawl counted
    skips, counts = count_skips([Skip(**row) for row in skipped])
    out.write_table(SKIPS, skips)
    out.write_table(REVISIONS, _revisions(previous, (observed, faults), configured))
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
        "gaps": {name: about["gaps"] for name, about in crawled.items() if about["gaps"]},
        "previous": before["snapshot_id"] if before else None,
        "num_buckets": num_buckets,
        "rows": rows,
        "files": files,
        "mentions": mentions,
        "snapshot_id": digest_of(identity),
    }
    out.write_json(MANIFEST, manifest)
    return {**rows, "skipped": counts}


def _parse(
    observations: Artifact, sources: Sequence[SourceConfig], out: StageDir, runner: Runner
) -> list[Path]:
    """Parsed tables of everything that was observed."""
    path = observations.path / OBSERVATIONS
    shards = [
        Shard(f"parsed-{n:07d}", n) for n in range(pq.ParquetFile(path).metadata.num_row_groups)
    ]
    return out.map_tables(runner, ParseObservations(tuple(sources), path), shards)


def _revisions(
    previous: Snapshot | None, found: Sequence[pa.Table], configured: Sequence[str]
) -> pa.Table:
    """The revisions of the snapshot before, with what was found since in their place: what was
    observed, then what could not be read, of which no revision is known, lest it stay unread."""
    keys, tables = ["source", "subject"], [*found]
    if previous is not None:
        earlier = pq.read_table(previous.path / REVISIONS)
        tables.append(earlier.filter(pc.is_in(earlier["source"], pa.array(configured))))
    table = tables[0]
    for older in tables[1:]:
        kept = older.join(table.select(keys), keys, join_type="left anti")
        table = pa.concat_tables([table, kept.cast(table.schema)])
    return table.sort_by([("source", "ascending"), ("subject", "ascending")])


@dataclass(frozen=True)
class _Step:
    """One snapshot being made on top of another, or of none."""

    previous: Snapshot | None
    before: dict[str, Any] | None
    num_buckets: int
    parsed: list[Path]
    replaced: Replaced
    out: StageDir
    runner: Runner

    def facts(self) -> dict[str, Any]:
        """Make or take over the files of facts; rows and digest of each."""
        found = count_parsed(self.parsed, "fact", self.num_buckets)
        touched = (found > 0) | self._replaced_in(
            "facts", (*self.replaced.statements, *self.replaced.entries)
        )
        worker = MakeFacts(self.out.path, self._path, self.parsed, self.num_buckets, self.replaced)
        return self._make("facts", worker, touched, found)

    def entities(self, order: Sequence[str], mentions: list[str]) -> dict[str, Any]:
        """Make or take over the files of entities; rows and digest of each."""
        found = count_parsed(self.parsed, "entity", self.num_buckets)
        touched = (found > 0) | self._replaced_in("parts", ())
        if self.before:
            touched |= np.array(mentions) != np.array(self.before["mentions"])
        worker = MakeEntities(
            self.out.path,
            self._path,
            self.parsed,
            self.num_buckets,
            self.replaced,
            {name: n for n, name in enumerate(order)},
            self.out.path / MENTIONS,
        )
        made = self._make("entities", worker, touched, found)
        (self.out.path / MENTIONS).unlink()
        return made

    def mentions(self, files: dict[str, Any]) -> list[str]:
        """Write which entities are spoken of at all, sorted by hash, for those that make the
        entities; return the digest of each bucket's."""
        names = [bucket_file("mentions", n) for n in range(self.num_buckets)]
        table = merge_mentions(pq.read_table(self.out.path / name) for name in names)
        self.out.write_table(MENTIONS, table)
        hashes = table["hash"].to_numpy()
        bounds = [hash_range(n, n, self.num_buckets)[0] for n in range(self.num_buckets)]
        cuts = [*np.searchsorted(hashes, bounds).tolist(), len(hashes)]
        return [table_digest(table.slice(a, b - a)) for a, b in pairwise(cuts)]

    @property
    def _path(self) -> Path | None:
        return self.previous.path if self.previous else None

    def _replaced_in(self, kind: str, statements: Any) -> np.ndarray:
        """In which buckets something of the snapshot before does not stay."""
        touched = np.full(self.num_buckets, self.before is None)
        for n in range(self.num_buckets if self.before else 0):
            assert self.before is not None
            held = self.before["files"][bucket_file(kind, n)]["sources"].keys()
            touched[n] = bool(held & self.replaced.whole) or bool(held & set(statements))
        for keys in self.replaced.subjects.values():
            for key in keys.to_pylist():
                touched[bucket_of(hash_of(key), self.num_buckets)] = True
        return touched

    def _make(
        self, kind: str, worker: Any, touched: np.ndarray, found: np.ndarray
    ) -> dict[str, Any]:
        """The files of all buckets, in tasks of neighbours that are touched."""
        files: dict[str, Any] = {}
        rows = found.copy()
        for n in range(self.num_buckets if self.before else 0):
            assert self.before is not None and self.previous is not None
            names = [bucket_file(name, n) for name in KINDS[kind]]
            rows[n] += self.before["files"][names[0]]["rows"]
            for name in names if not touched[n] else ():
                files[name] = self.before["files"][name]
                self.out.reuse(self.previous.path, name, digest=files[name]["digest"])
        shards = [Shard(f"{kind}-{a:05d}-{b:05d}", (a, b)) for a, b in _spans(touched, rows)]
        for path in self.out.map_tables(self.runner, worker, shards):
            for row in pq.read_table(path, schema=MADE_SCHEMA).to_pylist():
                name = row.pop("name")
                files[name] = {**row, "sources": json.loads(row["sources"])}
                self.out.digests[name] = row["digest"]
        return files


def _spans(touched: np.ndarray, rows: np.ndarray) -> list[tuple[int, int]]:
    """Runs of touched buckets, first and last, of about `ROWS_PER_TASK` rows."""
    spans: list[tuple[int, int]] = []
    held = 0
    for n in np.flatnonzero(touched).tolist():
        if spans and spans[-1][1] == n - 1 and held + rows[n] <= ROWS_PER_TASK:
            spans[-1] = (spans[-1][0], n)
            held += rows[n]
        else:
            spans.append((n, n))
            held = rows[n]
    return spans
