"""Stage 3, diff: two snapshots -> changes, each with the rule that decided and its evidence.

What happened is judged by `discovery.rules` on (subject, relation) groups, out of the current views
of `discovery.view`. The window is (T_old, T_new], where T_old is the day of the subject's earlier
revision if it has one, for what happened after that day was not in the earlier snapshot; else the
earlier snapshot's day. Where the dates leave it open whether something is current or in the window,
nothing is decided: precision outranks recall.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from discovery.buckets import bucket_file
from discovery.dates import days, iso_interval
from discovery.fact import CHANGE_SCHEMA, ENTITY_SCHEMA, Change, Entity, Fact, from_table, to_table
from discovery.rules import Decision, Group, decide
from discovery.snapshot import MANIFEST
from discovery.verbalise import Relation
from infra.errors import StageError
from infra.runner import Runner
from infra.storage import Artifact, Shard, StageDir, digest_of

CHANGES = "changes.parquet"


def diff(
    old: Artifact | None,
    new: Artifact,
    relations: Mapping[str, Relation],
    *,
    out: StageDir,
    runner: Runner,
) -> dict:
    """Changes from `old` to `new`; without `old`, every current fact is to `learn`, by rule
    `first`.

    A relation that is not in `relations` is taken as multi-valued. Raises StageError where the
    snapshots have different buckets or the later one is first.
    """
    manifests = [artifact.json(MANIFEST) for artifact in (old, new) if artifact is not None]
    if len({manifest["num_buckets"] for manifest in manifests}) > 1:
        raise StageError("the snapshots have different numbers of buckets. Make both again.")
    dates = [date.fromisoformat(manifest["as_of"]) for manifest in manifests]
    if dates != sorted(dates):
        raise StageError(
            f"the earlier snapshot is of {dates[0]}, the later of {dates[-1]}. Swap them."
        )
    functional = frozenset(key for key, relation in relations.items() if relation.functional)
    worker = _DiffBucket(
        None if old is None else old.path,
        new.path,
        None if old is None else days(dates[0]),
        days(dates[-1]),
        functional,
    )
    shards = [Shard(f"bucket-{n:03d}", n) for n in range(manifests[-1]["num_buckets"])]
    paths = out.map_tables(runner, worker, shards)
    table = pa.concat_tables([pq.read_table(path, schema=CHANGE_SCHEMA) for path in paths])
    out.write_table(CHANGES, table.sort_by([(key, "ascending") for key in _ORDER]))
    kinds = Counter(table["kind"].to_pylist())
    rules = Counter(table["rule"].to_pylist())
    return {"changes": table.num_rows, "kinds": dict(kinds), "rules": dict(rules)}


@dataclass(frozen=True)
class _DiffBucket:
    """Builds the function that diffs one bucket."""

    old: Path | None
    new: Path
    old_day: int | None
    new_day: int
    functional: frozenset[str]

    def __call__(self) -> Callable[[int], pa.Table]:
        def run(bucket: int) -> pa.Table:
            name = bucket_file("facts", bucket)
            new = from_table(pq.read_table(self.new / name), Fact)
            old = None if self.old is None else from_table(pq.read_table(self.old / name), Fact)
            wanted = {key for f in (*(old or ()), *new) for key in (f.subject, f.value) if key}
            entities = _entities(self.old, wanted) | _entities(self.new, wanted)
            changes = diff_facts(
                old,
                new,
                old_day=self.old_day,
                new_day=self.new_day,
                functional=self.functional,
                entities=entities,
            )
            return to_table(changes, CHANGE_SCHEMA)

        return run


def _entities(snapshot: Path | None, wanted: set[str]) -> dict[str, Entity]:
    """Names of the wanted ids, which fall in any bucket."""
    if snapshot is None:
        return {}
    everything = ds.dataset(snapshot / "entities", schema=ENTITY_SCHEMA, format="parquet")
    table = everything.to_table(filter=pc.field("id").isin(pa.array(sorted(wanted), pa.string())))
    return {entity.id: entity for entity in from_table(table, Entity)}
