"""The workers that write the files of a snapshot's buckets."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.crawl.parsed import PART_SCHEMA, read_parsed
from discovery.facts.fact import FACT_SCHEMA
from discovery.facts.hashing import hash_range
from discovery.snapshot.coverage import Replaced
from discovery.snapshot.group_digests import groups_of
from discovery.snapshot.merge import (
    MENTION_SCHEMA,
    gather_facts,
    gather_parts,
    mentions_of,
    merge_parts,
)
from discovery.snapshot.output import bucket_file
from discovery.snapshot.wave import vanished
from infra.files.atomic import write_table
from infra.files.digest import table_digest
from infra.storage.integrity import whole_file

MADE_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
        pa.field("sources", pa.string(), nullable=False),
        pa.field("vanished", pa.string(), nullable=False),
    ]
)
"""One row for each file written: its name, its number of rows, the digest of its rows, the number
of rows by source as JSON, and by source what has vanished from it (`vanished`), as JSON."""


DISTINCT = {"facts": ("statement_id",), "groups": ("subject", "content")}
"""Kind of file -> columns whose values rarely repeat, which are written without a dictionary."""
ROWS_PER_GROUP = 1 << 13
"""Rows in a row group of a bucket's file, which is the least that is read to get one row."""


def write_bucket(root: Path, kind: str, bucket: int, table: pa.Table) -> str:
    """Write the file of a bucket below `root`, and return its path relative to `root`."""
    name = bucket_file(kind, bucket)
    distinct = DISTINCT.get(kind, ())
    write_table(root / name, table, rows_per_group=ROWS_PER_GROUP, distinct=distinct)
    return name


@dataclass(frozen=True)
class _Make:
    """The common part of the workers that write the files of neighbouring buckets."""

    out: Path
    """Directory of the new snapshot."""
    previous: Path | None
    """Directory of the earlier snapshot; None for a first snapshot."""
    parsed: Sequence[Path]
    """Files of parsed tables, those of bulk sources included."""
    num_buckets: int
    """Buckets of the snapshot."""
    replaced: Replaced
    """The rows of the earlier snapshot that are left out."""
    day: int | None
    """Day of the earlier snapshot, counted from 1970-01-01; None for a first snapshot."""

    def _found(self, kind: str, first: int, last: int) -> Iterator[tuple[int, pa.Table]]:
        """Each bucket from first to last, with its rows of a kind in the parsed tables."""
        table, hashes = read_parsed(self.parsed, kind, *hash_range(first, last, self.num_buckets))
        for bucket in range(first, last + 1):
            low, high = hash_range(bucket, bucket, self.num_buckets)
            start, stop = np.searchsorted(hashes, [low, high + 1])
            yield bucket, table.slice(start, stop - start)

    def _earlier(self, kind: str, bucket: int, schema: pa.Schema) -> pa.Table:
        """The earlier snapshot's rows of a bucket."""
        if self.previous is None:
            return schema.empty_table()
        return pq.read_table(whole_file(self.previous, bucket_file(kind, bucket)), schema=schema)

    def _write(
        self,
        kind: str,
        bucket: int,
        table: pa.Table,
        gone: Mapping[str, tuple[int, int]] = MappingProxyType({}),
    ) -> dict[str, object]:
        """Write the file of a bucket, and return its row of `MADE_SCHEMA`."""
        name = write_bucket(self.out, kind, bucket, table)
        by_source = "source" in table.column_names and table.num_rows
        held = pc.value_counts(table["source"]) if by_source else []
        sources = {str(row["values"]): row["counts"].as_py() for row in held}
        return {
            "name": name,
            "rows": table.num_rows,
            "digest": table_digest(table),
            "sources": json.dumps(sources, sort_keys=True),
            "vanished": json.dumps(dict(gone), sort_keys=True),
        }


@dataclass(frozen=True)
class MakeFacts(_Make):
    """Builds the function that writes facts, groups and mentions of some neighbouring buckets.

    The function takes the first and the last bucket, and returns a table of `MADE_SCHEMA`.
    """

    def __call__(self) -> Callable[[tuple[int, int]], pa.Table]:
        def run(span: tuple[int, int]) -> pa.Table:
            made = []
            for bucket, found in self._found("fact", *span):
                earlier = self._earlier("facts", bucket, FACT_SCHEMA)
                facts = gather_facts(earlier, found, self.replaced, self.day)
                made.append(self._write("facts", bucket, facts, vanished(earlier, facts)))
                made.append(self._write("groups", bucket, groups_of(facts)))
                made.append(
                    self._write("mentions", bucket, mentions_of(facts, self.replaced.observed))
                )
            return pa.Table.from_pylist(made, schema=MADE_SCHEMA)

        return run


@dataclass(frozen=True)
class MakeEntities(_Make):
    """Builds the function that writes parts and entities of some neighbouring buckets.

    The function takes the first and the last bucket, and returns a table of `MADE_SCHEMA`.
    """

    order: Mapping[str, int]
    """Source name -> rank. The label of an entity is that of its lowest-ranked source with one."""
    mentions: Path
    """File of `MENTION_SCHEMA`: the entities that occur in the snapshot's facts."""

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
