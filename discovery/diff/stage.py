"""Stage 3, diff: two snapshots -> changes, each with the rule that decided and its evidence.

What happened is judged by `discovery.diff.rules` on (subject, relation) groups, out of the current
views of `discovery.facts.current_view`. The window is (T_old, T_new], where T_old is the day of the
subject's earlier revision if it has one, for what happened after that day was not in the earlier
snapshot; else the earlier snapshot's day. Where the dates leave it open whether something is
current or in the window, nothing is decided: precision outranks recall.

First the groups that have to be judged are chosen, bucket by bucket (`discovery.diff.selection`),
and their facts read; then they are judged, so many at a time, by names that lie in any bucket.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.diff.compare import ORDER, diff_facts, grouped
from discovery.diff.derived import derivable, derived
from discovery.diff.inputs import (
    SELECTED_SCHEMA,
    UNCHANGED,
    Before,
    ReadSelected,
    runs_of,
    wanted_of,
)
from discovery.diff.output import CHANGES
from discovery.diff.redirects import redirects_of, resolved_values
from discovery.facts.change import CHANGE_SCHEMA, Change
from discovery.facts.current_view import Functional, current
from discovery.facts.dates import days
from discovery.facts.fact import FACT_SCHEMA, Entity, Fact
from discovery.facts.tables import from_table, to_table
from discovery.relations.relation import Relation, functional_of
from discovery.snapshot.output import MANIFEST, read_rows
from infra.errors import StageError
from infra.execution.garbage import no_collection
from infra.execution.runner import Runner
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import Shard, StageDir

MAX_KEPT = 1000
"""Enough unchanged facts of each relation to measure what an edit does to its neighbours."""


def diff(
    old: Artifact | None,
    new: Artifact,
    relations: Mapping[str, Relation],
    *,
    max_kept: int = MAX_KEPT,
    out: StageDir,
    runner: Runner,
) -> dict:
    """Changes from `old` to `new`; without `old`, every current fact is to `learn`, by rule
    `first`.

    max_kept  unchanged groups of each functional relation that are judged, about; the others are
              only counted

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
    functional = functional_of(relations)
    inverses = {key: relation.inverse for key, relation in relations.items() if relation.inverse}
    num_buckets = manifests[-1]["num_buckets"]
    before = None if old is None else Before(old.path, days(dates[0]))
    wanted = [] if old is None else wanted_of(new.path, num_buckets, functional, max_kept)
    redirects = redirects_of(new.path)
    choose = ReadSelected(before, new.path, wanted, num_buckets, redirects)
    chosen = out.map_tables(
        runner, choose, [Shard(f"chosen-{n:05d}", n) for n in range(num_buckets)]
    )
    unchanged = sum(int(pq.read_schema(path).metadata[UNCHANGED]) for path in chosen)
    day = days(dates[-1])
    judge = _Judge(before, new.path, day, functional, inverses, num_buckets, redirects)
    runs = [Shard(f"judged-{n:05d}", run) for n, run in enumerate(runs_of(chosen))]
    paths = out.map_tables(runner, judge, runs)
    table = pa.concat_tables([pq.read_table(path, schema=CHANGE_SCHEMA) for path in paths])
    out.write_table(CHANGES, table.sort_by([(key, "ascending") for key in ORDER]))
    kinds = Counter(table["kind"].to_pylist())
    rules = Counter(table["rule"].to_pylist())
    return {
        "changes": table.num_rows,
        "unchanged": unchanged,
        "kinds": dict(kinds),
        "rules": dict(rules),
    }


@dataclass(frozen=True)
class _Judge:
    """Builds the function that judges what was chosen of some buckets."""

    before: Before | None
    new: Path
    new_day: int
    functional: Functional
    inverses: Mapping[str, str]
    num_buckets: int
    redirects: Mapping[str, str]

    def __call__(self) -> Callable[[list[Path]], pa.Table]:
        def run(paths: list[Path]) -> pa.Table:
            rows = pa.concat_tables([pq.read_table(path, schema=SELECTED_SCHEMA) for path in paths])
            with no_collection():
                return to_table(self._changes(rows), CHANGE_SCHEMA)

        return run

    def _changes(self, rows: pa.Table) -> list[Change]:
        facts = rows.select(FACT_SCHEMA.names)
        since = rows.group_by("subject").aggregate([("since", "min")])
        names = self._names(facts)
        changes = diff_facts(
            None if self.before is None else from_table(facts.filter(rows["is_old"]), Fact),
            from_table(facts.filter(pc.invert(rows["is_old"])), Fact),
            old_day=self.before.day if self.before else None,
            new_day=self.new_day,
            functional=self.functional,
            entities=names,
            since=dict(zip(*(column.to_pylist() for column in since.columns), strict=True)),
            known=set(rows.filter(rows["known"])["subject"].to_pylist()),
        )
        return changes + self._derived(changes, names)

    def _derived(self, changes: list[Change], names: Mapping[str, Entity]) -> list[Change]:
        """What follows from changes about subjects of any bucket."""
        objects = {str(c.new_value) for c in changes if derivable(c, self.inverses)}
        table = read_rows(self.new, "facts", objects, self.num_buckets)
        facts = grouped(from_table(resolved_values(table, self.redirects), Fact))

        def now(subject: str, relation: str) -> Mapping[str, Fact]:
            group = facts.get((subject, relation), ())
            return current(group, self.new_day, relation, self.functional)

        return derived(changes, self.inverses, self.functional, now, names)

    def _names(self, facts: pa.Table) -> dict[str, Entity]:
        """The entities that facts speak of, as they are called now, else as they were."""
        objects = facts.filter(pc.equal(facts["value_type"], "entity"))["value"]
        wanted = {*facts["subject"].to_pylist(), *objects.to_pylist()} - {""}
        sides = ([self.before.path] if self.before else []) + [self.new]
        return {
            entity.id: entity
            for path in sides
            for entity in from_table(read_rows(path, "entities", wanted, self.num_buckets), Entity)
        }
