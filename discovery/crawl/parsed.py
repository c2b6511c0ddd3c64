"""Parsed tables: the facts, entities and skips in observations, sorted by the hashes of their ids.

A bucket of a snapshot is a range of hashes. So its rows are neighbours in a parsed table, and
Parquet reads only the few row groups that hold them. A parsed table does not depend on the number
of buckets.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.facts.fact import ENTITY_SCHEMA, FACT_SCHEMA, Entity
from discovery.facts.hashing import MAX_HASH, hash_range, hashes_of
from discovery.facts.tables import to_table
from discovery.sources.observation import SKIP_SCHEMA, Parsed, Skip, tally

PART_SCHEMA = ENTITY_SCHEMA.append(pa.field("whole", pa.bool_(), nullable=False))
"""One source's description of an entity. `whole` is true where the entity itself was observed,
false where it was only named in an observation of another entity."""
WHOLE = ("entity", "redirect")
"""Kinds of observations that contain everything the source states of their subject, and so replace
what the source stated of it before."""
KINDS = {"fact": FACT_SCHEMA, "entity": PART_SCHEMA, "skip": SKIP_SCHEMA}
"""Kind of row of a parsed table -> the schema of its content."""
PARSED_SCHEMA = pa.schema(
    [
        pa.field("hash", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        *((kind, pa.struct([f.with_nullable(True) for f in of])) for kind, of in KINDS.items()),
    ]
)
"""Columns of a parsed table. A row fills only the struct column that its `kind` names, and the
other two are null. Facts come first, by the hash of their subjects; then entities, by the hash of
their ids; then skips, whose hash is 0."""


def parsed_table(said: Iterable[tuple[Parsed, bool]]) -> pa.Table:
    """The parsed table of some observations; with each comes the value of `whole` for its
    entities."""
    facts, entities, skips = [], [], []
    for parsed, whole in said:
        facts += parsed.facts
        entities += [(_tidy(entity), whole) for entity in parsed.entities]
        skips += parsed.skips
    parts = to_table([entity for entity, _ in entities], ENTITY_SCHEMA)
    parts = parts.append_column(
        PART_SCHEMA.field("whole"), pa.array([w for _, w in entities], pa.bool_())
    )
    tables = {
        "fact": _by_hash(to_table(facts, FACT_SCHEMA), "subject"),
        "entity": _by_hash(parts.cast(PART_SCHEMA), "id"),
        "skip": (to_table(skips, SKIP_SCHEMA), np.zeros(len(skips), np.int64)),
    }
    return pa.concat_tables([_rows_of(kind, *of) for kind, of in tables.items()])


def _rows_of(kind: str, table: pa.Table, hashes: np.ndarray) -> pa.Table:
    """A table of one kind, with the hash of each row, as rows of `PARSED_SCHEMA` in the same
    order."""
    columns = {name: pa.nulls(len(hashes), PARSED_SCHEMA.field(name).type) for name in KINDS}
    rows = table.to_struct_array()
    rows = rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows
    columns[kind] = rows.cast(PARSED_SCHEMA.field(kind).type)
    names = pa.array([kind]).take(pa.array(np.zeros(len(hashes), np.int64)))
    return pa.table({"hash": hashes, "kind": names, **columns}, schema=PARSED_SCHEMA)


def read_parsed(
    paths: Sequence[Path], kind: str, low: int = 0, high: int = MAX_HASH
) -> tuple[pa.Table, np.ndarray]:
    """Rows of one kind (`fact`, `entity` or `skip`) in some files of parsed tables, sorted by hash,
    and their hashes.

    low, high  the first and last hash that is read

    Returns a table with the schema that `KINDS` gives, and an int64 array of as many hashes.
    """
    where = (pc.field("kind") == kind) & (pc.field("hash") >= low) & (pc.field("hash") <= high)
    columns = ["hash", kind]
    tables = [pq.read_table(path, columns=columns, filters=where) for path in paths]
    rows = pa.concat_tables([PARSED_SCHEMA.empty_table().select(columns), *tables])
    rows = rows.combine_chunks()
    table = pa.table(rows[kind].combine_chunks().flatten(), schema=KINDS[kind])
    hashes = rows["hash"].to_numpy()
    order = np.argsort(hashes, kind="stable")
    return table.take(order), hashes[order]


def merge_parsed(paths: Sequence[Path]) -> pa.Table:
    """One parsed table with the rows of several; skips of one source and reason are one row."""
    rows = pa.concat_tables([pq.read_table(path, schema=PARSED_SCHEMA) for path in paths])
    is_skip = pc.equal(rows["kind"], "skip")
    skips = pc.drop_null(rows["skip"].filter(is_skip)).to_pylist()
    rows = rows.filter(pc.invert(is_skip)).combine_chunks()
    is_entity = pc.equal(rows["kind"], "entity").to_numpy(zero_copy_only=False)
    rows = rows.take(np.lexsort((rows["hash"].to_numpy(), is_entity)))  # keeps the order of equals
    tallied = to_table(tally(Skip(**row) for row in skips), SKIP_SCHEMA)
    none = np.zeros(tallied.num_rows, np.int64)
    return pa.concat_tables([rows, _rows_of("skip", tallied, none)])


def count_parsed(paths: Sequence[Path], kind: str, num_buckets: int) -> np.ndarray:
    """Number of rows of a kind in each bucket, over all files. Shape [num_buckets], int64."""
    counts = np.zeros(num_buckets, np.int64)
    bounds = [hash_range(n, n, num_buckets)[0] for n in range(num_buckets)]
    for path in paths:
        table = pq.read_table(path, columns=["hash"], filters=pc.field("kind") == kind)
        buckets = np.searchsorted(bounds, table["hash"].to_numpy(), side="right") - 1
        counts += np.bincount(buckets, minlength=num_buckets)
    return counts


def _by_hash(table: pa.Table, key: str) -> tuple[pa.Table, np.ndarray]:
    """The table sorted by the hash of a column, and the hashes."""
    hashes = hashes_of(table[key])
    order = np.argsort(hashes, kind="stable")
    return table.take(order), hashes[order]


def _tidy(entity: Entity) -> Entity:
    """The entity with aliases and types sorted and free of duplicates, and without its label among
    the aliases."""
    aliases = tuple(sorted({*entity.aliases} - {entity.label}))
    types = tuple(sorted(set(entity.types)))
    if (aliases, types) == (entity.aliases, entity.types):
        return entity
    return replace(entity, aliases=aliases, types=types)
