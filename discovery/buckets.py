"""Workers that make the files of a run of a snapshot's buckets, and say what they made."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.fact import FACT_SCHEMA
from discovery.gather import (
    MENTION_SCHEMA,
    Replaced,
    gather_facts,
    gather_parts,
    mentions_of,
    merge_parts,
)
from discovery.parsed import PART_SCHEMA, hash_range, read_parsed
from infra.digest import table_digest
from infra.files import write_table

MADE_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
        pa.field("sources", pa.string(), nullable=False),
    ]
)
"""A file, its rows and their digest; `sources` is JSON: rows by source."""


def bucket_file(kind: str, bucket: int) -> str:
    """Path of a bucket's file in the snapshot; `kind` is `facts`, `entities`, ..."""
    return f"{kind}/bucket-{bucket:03d}.parquet"


@dataclass(frozen=True)
class _Make:
    """What makes the files of a run of buckets."""

    out: Path
    previous: Path | None
    parsed: Sequence[Path]
    """Tables of what was found; a source that parses as it crawls adds its own here."""
    num_buckets: int
    replaced: Replaced

    def _found(self, kind: str, first: int, last: int) -> Iterator[tuple[int, pa.Table]]:
        """What was found of every bucket from first to last."""
        table, hashes = read_parsed(self.parsed, kind, *hash_range(first, last, self.num_buckets))
        for bucket in range(first, last + 1):
            low, high = hash_range(bucket, bucket, self.num_buckets)
            start, stop = np.searchsorted(hashes, [low, high + 1])
            yield bucket, table.slice(start, stop - start)

    def _earlier(self, kind: str, bucket: int, schema: pa.Schema) -> pa.Table:
        if self.previous is None:
            return schema.empty_table()
        return pq.read_table(self.previous / bucket_file(kind, bucket), schema=schema)

    def _write(self, kind: str, bucket: int, table: pa.Table) -> dict[str, object]:
        name = bucket_file(kind, bucket)
        write_table(self.out / name, table)
        held = pc.value_counts(table["source"]) if table.num_rows else []
        sources = {str(row["values"]): row["counts"].as_py() for row in held}
        return {
            "name": name,
            "rows": table.num_rows,
            "digest": table_digest(table),
            "sources": json.dumps(sources, sort_keys=True),
        }


@dataclass(frozen=True)
class MakeFacts(_Make):
    """Builds the function that makes the facts of the buckets from `first` to `last`."""

    def __call__(self) -> Callable[[tuple[int, int]], pa.Table]:
        def run(span: tuple[int, int]) -> pa.Table:
            made = []
            for bucket, found in self._found("fact", *span):
                earlier = self._earlier("facts", bucket, FACT_SCHEMA)
                facts = gather_facts(earlier, found, self.replaced)
                made.append(self._write("facts", bucket, facts))
                made.append(self._write("mentions", bucket, mentions_of(facts)))
            return pa.Table.from_pylist(made, schema=MADE_SCHEMA)

        return run


@dataclass(frozen=True)
class MakeEntities(_Make):
    """Builds the function that makes the entities of the buckets from `first` to `last`."""

    order: Mapping[str, int]
    """Ranks the sources: the first that has a label names an entity."""
    mentions: Path
    """Which entities the facts of the snapshot speak of, sorted by hash."""

    def __call__(self) -> Callable[[tuple[int, int]], pa.Table]:
        def run(span: tuple[int, int]) -> pa.Table:
            made = []
            low, high = hash_range(*span, self.num_buckets)
            within = (pc.field("hash") >= low) & (pc.field("hash") <= high)
            mentions = pq.read_table(self.mentions, schema=MENTION_SCHEMA, filters=within)
            for bucket, found in self._found("entity", *span):
                earlier = self._earlier("parts", bucket, PART_SCHEMA)
                parts = gather_parts(earlier, found, self.replaced, mentions)
                made.append(self._write("parts", bucket, parts))
                made.append(self._write("entities", bucket, merge_parts(parts, self.order)))
            return pa.Table.from_pylist(made, schema=MADE_SCHEMA)

        return run
