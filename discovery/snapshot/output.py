"""A snapshot's files, for the stages behind it: names of its files, and rows of some ids."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.facts.dates import days
from discovery.facts.fact import ENTITY_SCHEMA, FACT_SCHEMA, Entity, Fact
from discovery.facts.hashing import bucket_of, hash_of
from discovery.facts.tables import from_table
from discovery.sources.observation import Since
from infra.storage.artifact import Artifact

MANIFEST = "manifest.json"
REVISIONS = "revisions.parquet"
"""Source, subject, and the revision of it that the snapshot holds."""


def bucket_file(kind: str, bucket: int) -> str:
    """Path of a bucket's file in the snapshot; `kind` is `facts`, `entities`, ..."""
    return f"{kind}/bucket-{bucket:03d}.parquet"


def read_marked(path: Path, marked: np.ndarray, schema: pa.Schema) -> pa.Table:
    """The marked rows of a file, of which no row group without any is read."""
    file = pq.ParquetFile(path, memory_map=True)
    sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    starts = np.cumsum([0, *sizes])
    wanted = [n for n in range(len(sizes)) if marked[starts[n] : starts[n + 1]].any()]
    if not wanted:
        return schema.empty_table()
    read = np.concatenate([marked[starts[n] : starts[n + 1]] for n in wanted])
    return file.read_row_groups(wanted).cast(schema).filter(pa.array(read))


KEYS = {"facts": ("subject", FACT_SCHEMA), "entities": ("id", ENTITY_SCHEMA)}


@dataclass(frozen=True)
class Snapshot:
    """A finished snapshot; small, and picklable for workers."""

    path: Path
    day: int
    """The day whose end it shows, counted from 1970-01-01."""
    num_buckets: int
    sources: tuple[str, ...]
    """Names of the configured sources, in their order."""
    snapshot_id: str
    """Identity of its facts and entities, made in however many steps."""
    digest: str
    """Identity of the output."""

    @classmethod
    def of(cls, made: Artifact) -> Snapshot:
        """The snapshot of a stage's output."""
        manifest = made.json(MANIFEST)
        return cls(
            path=made.path,
            day=days(date.fromisoformat(manifest["as_of"])),
            num_buckets=manifest["num_buckets"],
            sources=tuple(manifest["sources"]),
            snapshot_id=manifest["snapshot_id"],
            digest=made.digest,
        )

    def manifest(self) -> dict[str, Any]:
        """What `manifest.json` says."""
        return json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))

    def bucket(self, kind: str, number: int) -> Path:
        """The file of a bucket; `kind` is `facts`, `entities`, `groups`, `parts`, `mentions`."""
        return self.path / bucket_file(kind, number)

    def rows(self, kind: Literal["facts", "entities"], ids: Collection[str]) -> pa.Table:
        """The rows of some ids, subjects of facts or entities, out of the buckets they fall in."""
        column, schema = KEYS[kind]
        by_bucket: dict[int, list[str]] = {}
        for key in sorted(ids):
            by_bucket.setdefault(bucket_of(hash_of(key), self.num_buckets), []).append(key)
        tables = [schema.empty_table()]
        for bucket, keys in sorted(by_bucket.items()):
            path = self.bucket(kind, bucket)
            known = pq.ParquetFile(path, memory_map=True).read([column])[column]
            marked = pc.is_in(known, pa.array(keys, pa.string())).to_numpy()
            if marked.any():
                tables.append(read_marked(path, marked, schema))
        return pa.concat_tables(tables)

    def facts(self, subjects: Collection[str]) -> list[Fact]:
        """All facts of some subjects."""
        return from_table(self.rows("facts", subjects), Fact)

    def entities(self, ids: Collection[str]) -> list[Entity]:
        """Names of some entities, those that the snapshot has."""
        return from_table(self.rows("entities", ids), Entity)

    def since(self, source: str) -> Since:
        """What is known of one source, for the next crawl to go on from."""
        manifest = self.manifest()
        table = pq.read_table(self.path / REVISIONS, filters=pc.field("source") == source)
        columns = table["subject"].to_pylist(), table["revision"].to_pylist()
        return Since(
            cursor=manifest["cursors"].get(source),
            revisions=dict(zip(*columns, strict=True)),
            settings=manifest["settings"].get(source),
        )
