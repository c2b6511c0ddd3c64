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
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.diff.compare import ORDER, diff_facts, grouped
from discovery.diff.derived import derivable, derived
from discovery.diff.inputs import (
    SELECTED_SCHEMA,
    UNCHANGED,
    ReadSelected,
    runs_of,
    wanted_of,
)
from discovery.diff.output import CHANGES
from discovery.diff.redirects import redirects_of, resolved_values
from discovery.facts.change import CHANGE_SCHEMA, Change
from discovery.facts.current_view import Functional, current
from discovery.facts.dates import to_iso
from discovery.facts.fact import FACT_SCHEMA, Entity, Fact, Interval
from discovery.facts.tables import from_table, to_table
from discovery.relations.relation import Relation, functional_of
from discovery.snapshot.output import Snapshot
from infra.errors import StageError
from infra.execution.garbage import no_collection
from infra.execution.runner import Runner
from infra.storage.stage_dir import Shard, StageDir

MAX_KEPT = 1000
"""Enough unchanged facts of each relation to measure what an edit does to its neighbours."""


@dataclass(frozen=True, kw_only=True)
class DiffInputs:
    """What a diff is made from."""

    old: Snapshot | None
    """None: every current fact of `new` is to be learnt, by rule `first`."""
    new: Snapshot
    relations: Mapping[str, Relation]
    """A relation that is not among them is taken as multi-valued."""
    max_kept: int = MAX_KEPT
    """Unchanged groups of each functional relation that are judged, about; the others are only
    counted."""


def diff(inputs: DiffInputs, out: StageDir, runner: Runner) -> dict[str, Any]:
    """Write the changes from `old` to `new`; return counts.

    Raises StageError where the snapshots have different buckets or the later one is first.
    """
    old, new, relations = inputs.old, inputs.new, inputs.relations
    if old is not None and old.num_buckets != new.num_buckets:
        raise StageError("the snapshots have different numbers of buckets. Make both again.")
    if old is not None and old.day > new.day:
        earlier, later = (to_iso(Interval(side.day, side.day + 1)) for side in (old, new))
        raise StageError(f"the earlier snapshot is of {earlier}, the later of {later}. Swap them.")
    functional = functional_of(relations)
    inverses = {key: relation.inverse for key, relation in relations.items() if relation.inverse}
    wanted = [] if old is None else wanted_of(new, functional, inputs.max_kept)
    redirects = redirects_of(new)
    choose = ReadSelected(old, new, wanted, redirects)
    chosen = out.map_tables(
        runner, choose, [Shard(f"chosen-{n:05d}", n) for n in range(new.num_buckets)]
    )
    unchanged = sum(int(pq.read_schema(path).metadata[UNCHANGED]) for path in chosen)
    judge = _Judge(old, new, functional, inverses, redirects)
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

    old: Snapshot | None
    new: Snapshot
    functional: Functional
    inverses: Mapping[str, str]
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
            None if self.old is None else from_table(facts.filter(rows["is_old"]), Fact),
            from_table(facts.filter(pc.invert(rows["is_old"])), Fact),
            old_day=self.old.day if self.old else None,
            new_day=self.new.day,
            functional=self.functional,
            entities=names,
            since=dict(zip(*(column.to_pylist() for column in since.columns), strict=True)),
            known=set(rows.filter(rows["known"])["subject"].to_pylist()),
        )
        return changes + self._derived(changes, names)

    def _derived(self, changes: list[Change], names: Mapping[str, Entity]) -> list[Change]:
        """What follows from changes about subjects of any bucket."""
        objects = {str(c.new_value) for c in changes if derivable(c, self.inverses)}
        table = self.new.rows("facts", objects)
        facts = grouped(from_table(resolved_values(table, self.redirects), Fact))

        def now(subject: str, relation: str) -> Mapping[str, Fact]:
            group = facts.get((subject, relation), ())
            return current(group, self.new.day, relation, self.functional)

        return derived(changes, self.inverses, self.functional, now, names)

    def _names(self, facts: pa.Table) -> dict[str, Entity]:
        """The entities that facts speak of, as they are called now, else as they were."""
        objects = facts.filter(pc.equal(facts["value_type"], "entity"))["value"]
        wanted = {*facts["subject"].to_pylist(), *objects.to_pylist()} - {""}
        sides = [self.old, self.new] if self.old else [self.new]
        return {entity.id: entity for side in sides for entity in side.entities(wanted)}
