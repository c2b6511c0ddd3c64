"""Observations -> what they say, as tables whose rows lie in the order of their ids' hashes.

A snapshot's buckets are equal ranges of the hash, so a bucket's rows of a parsed table are a few
row groups of it, which the reader finds by their bounds; and the tables do not depend on how many
buckets there will be.
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
"""What one source says of an entity; `whole` where it was observed itself, and not only named
beside another."""
WHOLE = ("entity", "redirect")
"""Kinds of observations that say all there is of their subject, and take the place of what was
said before."""
KINDS = {"fact": FACT_SCHEMA, "entity": PART_SCHEMA, "skip": SKIP_SCHEMA}
PARSED_SCHEMA = pa.schema(
    [
        pa.field("hash", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        *((kind, pa.struct([f.with_nullable(True) for f in of])) for kind, of in KINDS.items()),
    ]
)
"""Of the last three columns a row has that of its `kind`. Facts come first, by the hash of their
subjects, then entities, by that of their ids, then skips."""


def parsed_table(said: Iterable[tuple[Parsed, bool]]) -> pa.Table:
    """What observations say; with each, whether its entities were observed themselves."""
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
    """Rows of one kind, in the order in which they are given."""
    columns = {name: pa.nulls(len(hashes), PARSED_SCHEMA.field(name).type) for name in KINDS}
    rows = table.to_struct_array()
    rows = rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows
    columns[kind] = rows.cast(PARSED_SCHEMA.field(kind).type)
    names = pa.array([kind]).take(pa.array(np.zeros(len(hashes), np.int64)))
    return pa.table({"hash": hashes, "kind": names, **columns}, schema=PARSED_SCHEMA)


def read_parsed(
    paths: Sequence[Path], kind: str, low: int = 0, high: int = MAX_HASH
) -> tuple[pa.Table, np.ndarray]:
    """Rows of parsed tables that are a `fact`, `entity` or `skip`, of a range of hashes, and their
    hashes, in the order of these."""
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
    """One parsed table of several, its skips tallied."""
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
    """Rows of a kind in each bucket."""
    counts = np.zeros(num_buckets, np.int64)
    bounds = [hash_range(n, n, num_buckets)[0] for n in range(num_buckets)]
    for path in paths:
        table = pq.read_table(path, columns=["hash"], filters=pc.field("kind") == kind)
        buckets = np.searchsorted(bounds, table["hash"].to_numpy(), side="right") - 1
        counts += np.bincount(buckets, minlength=num_buckets)
    return counts


def _by_hash(table: pa.Table, key: str) -> tuple[pa.Table, np.ndarray]:
    hashes = hashes_of(table[key])
    order = np.argsort(hashes, kind="stable")
    return table.take(order), hashes[order]


def _tidy(entity: Entity) -> Entity:
    """Aliases and types once each and sorted, the label not among its aliases."""
    aliases = tuple(sorted({*entity.aliases} - {entity.label}))
    types = tuple(sorted(set(entity.types)))
    if (aliases, types) == (entity.aliases, entity.types):
        return entity
    return replace(entity, aliases=aliases, types=types)
