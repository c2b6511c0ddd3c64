"""Observations -> what they say, as tables whose rows lie in the order of their ids' hashes.

A snapshot's buckets are equal ranges of the hash, so a bucket's rows of a parsed table are a few
row groups of it, which the reader finds by their bounds; and the tables do not depend on how many
buckets there will be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.fact import ENTITY_SCHEMA, FACT_SCHEMA, Entity, to_table
from discovery.sources import SourceConfig, make_source
from discovery.sources.observation import SKIP_SCHEMA, Observation, Parsed

HASH_BITS = 63
MAX_HASH = (1 << HASH_BITS) - 1
PART_SCHEMA = ENTITY_SCHEMA.append(pa.field("whole", pa.bool_(), nullable=False))
"""What one source says of an entity; `whole` where it was observed itself, and not only named
beside another."""
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


def hash_of(key: str) -> int:
    """63 bits of an id; the same in every process and for ever."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> 1


def hashes_of(keys: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """`hash_of` of many ids, int64; equal ids are hashed once."""
    if isinstance(keys, pa.ChunkedArray):
        keys = keys.combine_chunks()
    encoded = keys.dictionary_encode()
    unique = np.fromiter((hash_of(key) for key in encoded.dictionary.to_pylist()), np.int64)
    return unique[encoded.indices.to_numpy(zero_copy_only=False)]


def bucket_of(hashed: int, num_buckets: int) -> int:
    """The bucket of a hash: buckets are equal ranges of it."""
    return hashed * num_buckets >> HASH_BITS


def hash_range(first: int, last: int, num_buckets: int) -> tuple[int, int]:
    """Lowest and highest hash of the buckets `first` to `last`, both included."""
    low = -(-(first << HASH_BITS) // num_buckets)
    return low, -(-((last + 1) << HASH_BITS) // num_buckets) - 1


def parsed_table(said: Iterable[tuple[Parsed, bool]]) -> pa.Table:
    """What observations say; with each, whether its entities were observed themselves."""
    facts, entities, skips = [], [], []
    for parsed, whole in said:
        facts += parsed.facts
        entities += [(_tidy(entity), whole) for entity in parsed.entities]
        skips += parsed.skips
    parts = to_table([entity for entity, _ in entities], ENTITY_SCHEMA)
    observed = pa.array([whole for _, whole in entities], pa.bool_())
    parts = parts.append_column(PART_SCHEMA.field("whole"), observed)
    tables = {
        "fact": _by_hash(to_table(facts, FACT_SCHEMA), "subject"),
        "entity": _by_hash(parts.cast(PART_SCHEMA), "id"),
        "skip": (to_table(skips, SKIP_SCHEMA), np.zeros(len(skips), np.int64)),
    }
    pieces = []
    for kind, (table, hashes) in tables.items():
        columns = {name: pa.nulls(len(hashes), PARSED_SCHEMA.field(name).type) for name in KINDS}
        columns[kind] = table.to_struct_array().combine_chunks()
        columns[kind] = columns[kind].cast(PARSED_SCHEMA.field(kind).type)
        names = pa.array([kind]).take(pa.array(np.zeros(len(hashes), np.int64)))
        pieces.append(pa.table({"hash": hashes, "kind": names, **columns}, schema=PARSED_SCHEMA))
    return pa.concat_tables(pieces)


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


def count_parsed(paths: Sequence[Path], kind: str, num_buckets: int) -> np.ndarray:
    """Rows of a kind in each bucket."""
    counts = np.zeros(num_buckets, np.int64)
    bounds = [hash_range(n, n, num_buckets)[0] for n in range(num_buckets)]
    for path in paths:
        table = pq.read_table(path, columns=["hash"], filters=pc.field("kind") == kind)
        buckets = np.searchsorted(bounds, table["hash"].to_numpy(), side="right") - 1
        counts += np.bincount(buckets, minlength=num_buckets)
    return counts


@dataclass(frozen=True)
class ParseObservations:
    """Builds the function that parses one row group of the observations."""

    sources: tuple[SourceConfig, ...]
    path: Path

    def __call__(self) -> Callable[[int], pa.Table]:
        sources = {config.name: make_source(config) for config in self.sources}

        def run(row_group: int) -> pa.Table:
            rows = pq.ParquetFile(self.path).read_row_group(row_group).to_pylist()
            observations = [Observation(**row, fetched_at="") for row in rows]
            return parsed_table(
                (sources[o.source].parse(o), o.kind == "entity") for o in observations
            )

        return run


def _by_hash(table: pa.Table, key: str) -> tuple[pa.Table, np.ndarray]:
    hashes = hashes_of(table[key])
    order = np.argsort(hashes, kind="stable")
    return table.take(order), hashes[order]


def _tidy(entity: Entity) -> Entity:
    """Aliases and types once each and sorted, the label not among its aliases."""
    aliases: Sequence[str] = sorted({*entity.aliases} - {entity.label})
    return replace(entity, aliases=tuple(aliases), types=tuple(sorted(set(entity.types))))
