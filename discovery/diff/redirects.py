"""Entities that a source merged into others: puts the facts of both snapshots under present ids.

A source that merges two entities moves the statements of one to the other, and leaves a redirect.
Without this module, a diff would find that the one lost all its facts and the other gained them.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from discovery.facts.fact import ENTITY_SCHEMA, FACT_SCHEMA
from discovery.facts.hashing import bucket_of, hash_of
from discovery.snapshot.output import Snapshot


def redirects_of(snapshot: Snapshot) -> dict[str, str]:
    """Id of each merged entity -> id of the entity at the end of its redirects.

    Entities whose redirects lead into a circle are left out.
    """
    paths = [str(snapshot.bucket("entities", number)) for number in range(snapshot.num_buckets)]
    entities = ds.dataset(paths, schema=ENTITY_SCHEMA, format="parquet")
    table = entities.to_table(columns=["id", "redirect"], filter=pc.field("redirect").is_valid())
    step = dict(zip(table["id"].to_pylist(), table["redirect"].to_pylist(), strict=True))
    found = {}
    for key in step:
        seen, target = {key}, step[key]
        while target in step and target not in seen:
            seen.add(target)
            target = step[target]
        if target not in seen:
            found[key] = target
    return found


def resolved_values(facts: pa.Table, redirects: Mapping[str, str]) -> pa.Table:
    """The facts, with each value that is a merged entity replaced by the entity that it is now."""
    values = facts["value"].combine_chunks()
    places = pc.index_in(values, pa.array(list(redirects), pa.string()))
    merged = pc.and_(pc.is_valid(places), pc.equal(facts["value_type"], "entity").combine_chunks())
    if not pc.any(merged).as_py():
        return facts
    targets = pa.array(list(redirects.values()), pa.string()).take(places)
    column = pc.if_else(merged, targets, values)
    return facts.set_column(
        facts.schema.get_field_index("value"), FACT_SCHEMA.field("value"), column
    )


def merged_into(bucket: int, num_buckets: int, redirects: Mapping[str, str]) -> dict[str, str]:
    """The redirects whose target falls into a bucket."""
    return {
        key: target
        for key, target in redirects.items()
        if bucket_of(hash_of(target), num_buckets) == bucket
    }


def moved_facts(snapshot: Snapshot, bucket: int, redirects: Mapping[str, str]) -> pa.Table:
    """The facts of the earlier snapshot about entities that were merged into entities of a bucket,
    with the latter as subjects."""
    into = merged_into(bucket, snapshot.num_buckets, redirects)
    moved = snapshot.rows("facts", into.keys())
    said = pa.array([into[key] for key in moved["subject"].to_pylist()], pa.string())
    place = FACT_SCHEMA.get_field_index("subject")
    return moved.set_column(place, FACT_SCHEMA.field("subject"), said)
