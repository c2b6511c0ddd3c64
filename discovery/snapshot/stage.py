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

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
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
from discovery.snapshot.coverage import Replaced, observed_of, other_sources, replaced_by
from discovery.snapshot.merge import merge_mentions
from discovery.snapshot.output import MANIFEST, REVISIONS, Snapshot, bucket_file
from discovery.snapshot.parse import ParseObservations
from discovery.snapshot.wave import Vanished, held_by_source
from discovery.sources import SourceConfig
from discovery.sources.observation import Skip
from infra.errors import StageError
from infra.execution.runner import Runner
from infra.files.digest import digest_of, table_digest
from infra.storage.artifact import Artifact
from infra.storage.integrity import whole_file
from infra.storage.stage_dir import Shard, StageDir

SCHEMA = 3
"""Version of the format, in the manifest."""
NUM_BUCKETS = 16
"""Enough for small sources. For large ones choose so many that a bucket's rows fit into memory, for
example 256. All snapshots of a workspace have the same number: a diff compares bucket by bucket."""
ROWS_PER_TASK = 500_000
"""Neighbouring buckets of together about so many rows are one task."""
MENTIONS = "mentions.parquet"
"""Temporary file of all mentions, read while the entities are written."""
KINDS = {"facts": ("facts", "groups", "mentions"), "entities": ("parts", "entities")}
"""Kind of task -> the kinds of files that it writes for each bucket."""
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
    step = _Step(previous, before, num_buckets, parsed, replaced, out, runner)
    files = step.facts()
    configured = [config.name for config in sources]
    if before:
        held = held_by_source(before, configured)
        step.vanished.refuse_wave(held, limit=inputs.max_vanished, approved=inputs.may_vanish)
    mentions = step.mentions(files)
    files |= step.entities(configured, mentions)
    skipped = read_parsed(asked, "skip")[0].to_pylist()  # bulk sources: counted by the crawl
    skips, counts = count_skips([Skip(**row) for row in skipped])
    out.write_table(SKIPS, skips)
    same = [name for name in configured if name not in other_sources(before, crawled)]
    out.write_table(REVISIONS, _revisions(previous, (observed, faults), same))
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


def _revisions(
    previous: Snapshot | None, found: Sequence[pa.Table], same: Sequence[str]
) -> pa.Table:
    """The revisions of the earlier snapshot, updated with those that were found now.

    found       tables of source, subject and revision: the observed subjects, then those that could
                not be read; where a subject is in both, the first counts. An unreadable subject has
                no revision, so that the next crawl fetches it again
    same        names of the sources that are configured as before; the revisions of others are left
                out
    """
    keys, tables = ["source", "subject"], [*found]
    if previous is not None:
        earlier = pq.read_table(whole_file(previous.path, REVISIONS))
        tables.append(earlier.filter(pc.is_in(earlier["source"], pa.array(same, pa.string()))))
    table = tables[0]
    for older in tables[1:]:
        kept = older.join(table.select(keys), keys, join_type="left anti")
        table = pa.concat_tables([table, kept.cast(table.schema)])
    return table.sort_by([("source", "ascending"), ("subject", "ascending")])


@dataclass(frozen=True)
class _Step:
    """The work on one snapshot, which continues an earlier one or begins with nothing."""

    previous: Snapshot | None
    before: dict[str, Any] | None
    num_buckets: int
    parsed: list[Path]
    replaced: Replaced
    out: StageDir
    runner: Runner
    vanished: Vanished = field(default_factory=Vanished)
    """What is gone of each source; `facts` fills it."""

    def facts(self) -> dict[str, Any]:
        """Write the files of facts, groups and mentions, or take over the earlier ones.

        Returns file name -> its number of rows, digest, and rows by source.
        """
        found = count_parsed(self.parsed, "fact", self.num_buckets)
        touched = (found > 0) | self._replaced_in(
            "facts", (*self.replaced.statements, *self.replaced.entries)
        )
        worker = MakeFacts(**self._common)
        return self._make("facts", worker, touched, found)

    def entities(self, order: Sequence[str], mentions: list[str]) -> dict[str, Any]:
        """Write the files of parts and entities, or take over the earlier ones.

        order     names of the sources, the first with a label naming an entity
        mentions  digests of the mentioned ids by bucket, as `mentions` returns them

        Returns file name -> its number of rows, digest, and rows by source.
        """
        found = count_parsed(self.parsed, "entity", self.num_buckets)
        touched = (found > 0) | self._replaced_in("parts", ())
        if self.before:
            touched |= np.array(mentions) != np.array(self.before["mentions"])
        worker = MakeEntities(
            **self._common,
            order={name: n for n, name in enumerate(order)},
            mentions=self.out.path / MENTIONS,
        )
        made = self._make("entities", worker, touched, found)
        (self.out.path / MENTIONS).unlink()
        return made

    def mentions(self, files: dict[str, Any]) -> list[str]:
        """Write the temporary file of all mentions, sorted by hash, which `entities` reads.

        Returns for each bucket the digest of the mentioned ids that fall into it. Where it differs
        from the earlier snapshot's, the bucket's entities are written anew.
        """
        names = [bucket_file("mentions", n) for n in range(self.num_buckets)]
        table = merge_mentions(pq.read_table(self.out.path / name) for name in names)
        self.out.write_table(MENTIONS, table)
        hashes = table["hash"].to_numpy()
        bounds = [hash_range(n, n, self.num_buckets)[0] for n in range(self.num_buckets)]
        cuts = [*np.searchsorted(hashes, bounds).tolist(), len(hashes)]
        return [table_digest(table.slice(a, b - a)) for a, b in pairwise(cuts)]

    @property
    def _common(self) -> dict[str, Any]:
        """The fields that the workers of both kinds of task have."""
        return {
            "out": self.out.path,
            "previous": self.previous.path if self.previous else None,
            "day": self.previous.day if self.previous else None,
            "parsed": self.parsed,
            "num_buckets": self.num_buckets,
            "replaced": self.replaced,
        }

    def _replaced_in(self, kind: str, statements: Any) -> np.ndarray:
        """Whether each bucket has rows of the earlier snapshot that may be replaced. Shape
        [num_buckets], booleans.

        kind        kind of file that is looked at
        statements  sources whose statements or entries are replaced, in whichever bucket they are
        """
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
        """Write the files of the touched buckets and take over those of the others.

        kind     a key of `KINDS`
        worker   writes the files of neighbouring buckets
        touched  whether each bucket is written anew. Shape [num_buckets]
        found    number of parsed rows of each bucket. Shape [num_buckets]

        Returns file name -> its number of rows, digest, and rows by source.
        """
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
        for path in self.out.map_tables(self.runner, worker, shards, phase=kind):
            for row in pq.read_table(path, schema=MADE_SCHEMA).to_pylist():
                name = row.pop("name")
                self.vanished.add(json.loads(row.pop("vanished")))
                files[name] = {**row, "sources": json.loads(row["sources"])}
                self.out.digests[name] = row["digest"]
        return files


def _spans(touched: np.ndarray, rows: np.ndarray) -> list[tuple[int, int]]:
    """First and last bucket of each task: neighbouring touched buckets, of at most
    `ROWS_PER_TASK` rows unless a single bucket has more."""
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
