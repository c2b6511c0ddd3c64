"""A snapshot's files, for the stages behind it: names of its files, and rows of some ids."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.facts.fact import ENTITY_SCHEMA, FACT_SCHEMA
from discovery.facts.hashing import bucket_of, hash_of


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


def read_rows(
    snapshot: Path, kind: Literal["facts", "entities"], ids: Collection[str], num_buckets: int
) -> pa.Table:
    """The rows of some ids, out of the buckets where they fall."""
    column, schema = KEYS[kind]
    by_bucket: dict[int, list[str]] = {}
    for key in sorted(ids):
        by_bucket.setdefault(bucket_of(hash_of(key), num_buckets), []).append(key)
    tables = [schema.empty_table()]
    for bucket, keys in sorted(by_bucket.items()):
        path = snapshot / bucket_file(kind, bucket)
        known = pq.ParquetFile(path, memory_map=True).read([column])[column]
        marked = pc.is_in(known, pa.array(keys, pa.string())).to_numpy()
        if marked.any():
            tables.append(read_marked(path, marked, schema))
    return pa.concat_tables(tables)


REVISIONS = "revisions.parquet"
"""Of a snapshot: source, subject, and the revision that it holds."""


MANIFEST = "manifest.json"
