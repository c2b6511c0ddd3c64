"""What later stages know of a snapshot: the names of its files, and a reader of facts and entities
by id."""

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
from infra.storage.integrity import whole_file

MANIFEST = "manifest.json"
REVISIONS = "revisions.parquet"
"""File with the columns source, subject and revision: the revision that the snapshot contains."""


def bucket_file(kind: str, bucket: int) -> str:
    """Path of a bucket's file, relative to the snapshot.

    kind  `facts`, `entities`, `groups`, `parts` or `mentions`
    """
    return f"{kind}/bucket-{bucket:03d}.parquet"


def read_marked(path: Path, marked: np.ndarray, schema: pa.Schema) -> pa.Table:
    """Those rows of a Parquet file that `marked` says; row groups without any are not read.

    marked  booleans, one for each row of the file
    """
    file = pq.ParquetFile(path, memory_map=True)
    sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    starts = np.cumsum([0, *sizes])
    wanted = [n for n in range(len(sizes)) if marked[starts[n] : starts[n + 1]].any()]
    if not wanted:
        return schema.empty_table()
    read = np.concatenate([marked[starts[n] : starts[n + 1]] for n in wanted])
    return file.read_row_groups(wanted).cast(schema).filter(pa.array(read))


KEYS = {"facts": ("subject", FACT_SCHEMA), "entities": ("id", ENTITY_SCHEMA)}
"""Kind of file -> the column of ids that rows are looked up by, and the schema."""


@dataclass(frozen=True)
class Snapshot:
    """A finished snapshot. The value holds no rows: it is small and picklable, and its methods read
    the files."""

    path: Path
    """Directory of the snapshot."""
    day: int
    """The day at whose end the facts were observed, counted from 1970-01-01."""
    num_buckets: int
    """Files of each kind, over which the ids are distributed by hash."""
    sources: tuple[str, ...]
    """Names of the configured sources, in their order."""
    snapshot_id: str
    """Digest of its facts and entities; the same however many crawls they were found in."""
    digest: str
    """Digest of all files of the output."""

    @classmethod
    def of(cls, made: Artifact) -> Snapshot:
        """The snapshot in a finished output of the snapshot stage."""
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
        """The content of `manifest.json`."""
        return json.loads(whole_file(self.path, MANIFEST).read_text(encoding="utf-8"))

    def bucket(self, kind: str, number: int) -> Path:
        """Path of a bucket's file, after a check; `kind` is `facts`, `entities`, `groups`, `parts`
        or `mentions`. Raises StageError where it is missing or damaged."""
        return whole_file(self.path, bucket_file(kind, number))

    def rows(self, kind: Literal["facts", "entities"], ids: Collection[str]) -> pa.Table:
        """The facts of some subjects, or some entities, as a table; `ids` are ids of entities.

        Ids that the snapshot does not have give no rows.
        """
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
        """Some entities; ids that the snapshot does not have are left out."""
        return from_table(self.rows("entities", ids), Entity)

    def since(self, source: str) -> Since:
        """What was found of one source, from which the next crawl continues."""
        manifest = self.manifest()
        table = pq.read_table(
            whole_file(self.path, REVISIONS), filters=pc.field("source") == source
        )
        columns = table["subject"].to_pylist(), table["revision"].to_pylist()
        return Since(
            cursor=manifest["cursors"].get(source),
            revisions=dict(zip(*columns, strict=True)),
            settings=manifest["settings"].get(source),
        )
