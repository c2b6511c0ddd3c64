"""Stage 3, diff: two snapshots -> changes, each with the rule that decided and its evidence.

The rules (`discovery.diff.rules`) judge groups of facts with the same subject and relation, by the
values that are current in each snapshot (`discovery.facts.current_view`). The window of a subject
is (T_old, T_new]. T_old is the day of the subject's revision in the earlier snapshot, since later
events were not in it; without a revision it is the day of the earlier snapshot. Where the dates
leave open whether a value is current, or an event in the window, nothing is decided: precision
matters more than recall.

The stage has two steps. The first selects, bucket by bucket, the groups that have to be judged
(`discovery.diff.selection`) and reads their facts. The second judges them, in tasks of about
`ROWS_PER_TASK` facts, with the names of entities from all buckets.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
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
from discovery.diff.merge import merge_sorted
from discovery.diff.output import CHANGES
from discovery.diff.redirects import redirects_of, resolved_values
from discovery.facts.change import CHANGE_SCHEMA, Change
from discovery.facts.current_view import Functional, current
from discovery.facts.dates import to_iso
from discovery.facts.fact import FACT_SCHEMA, Entity, Fact, Interval
from discovery.facts.tables import from_table, to_table
from discovery.facts.words import unit_of
from discovery.relations.relation import Relation, functional_of
from discovery.snapshot.output import Snapshot
from infra.errors import StageError
from infra.execution.garbage import no_collection
from infra.execution.runner import Runner
from infra.storage.stage_dir import Shard, StageDir

MAX_KEPT = 1000
"""Unchanged groups kept of each relation: enough to measure the effect of an edit on facts that it
should not change."""


@dataclass(frozen=True, kw_only=True)
class DiffInputs:
    """Everything that a diff depends on."""

    old: Snapshot | None
    """The earlier snapshot. None: every current fact of `new` is to be learnt, by rule `first`."""
    new: Snapshot
    """The later snapshot."""
    relations: Mapping[str, Relation]
    """Relation id -> relation. A relation that is not here counts as multi-valued."""
    max_kept: int = MAX_KEPT
    """About how many unchanged groups of each functional relation are judged; the others are only
    counted."""


def diff(inputs: DiffInputs, out: StageDir, runner: Runner) -> dict[str, Any]:
    """Write the changes from `old` to `new`, and return counts for the record.

    Raises StageError where the snapshots have different numbers of buckets, or `old` is of a later
    day than `new`.
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
        runner,
        choose,
        [Shard(f"chosen-{n:05d}", n) for n in range(new.num_buckets)],
        phase="select",
    )
    unchanged = sum(int(pq.read_schema(path).metadata[UNCHANGED]) for path in chosen)
    judge = _Judge(old, new, functional, inverses, redirects)
    runs = [Shard(f"judged-{n:05d}", run) for n, run in enumerate(runs_of(chosen))]
    paths = out.map_tables(runner, judge, runs, phase="judge")
    kinds: Counter[str] = Counter()
    rules: Counter[str] = Counter()

    def counted() -> Iterator[pa.Table]:
        for table in merge_sorted(paths, CHANGE_SCHEMA, ORDER):
            kinds.update(table["kind"].to_pylist())
            rules.update(table["rule"].to_pylist())
            yield table

    out.write_tables(CHANGES, counted(), CHANGE_SCHEMA)
    return {
        "changes": kinds.total(),
        "unchanged": unchanged,
        "kinds": dict(kinds),
        "rules": dict(rules),
    }


@dataclass(frozen=True)
class _Judge:
    """Builds the function that judges the selected facts of some buckets."""

    old: Snapshot | None
    new: Snapshot
    functional: Functional
    inverses: Mapping[str, str]
    redirects: Mapping[str, str]

    def __call__(self) -> Callable[[list[Path]], pa.Table]:
        def run(paths: list[Path]) -> pa.Table:
            rows = pa.concat_tables([pq.read_table(path, schema=SELECTED_SCHEMA) for path in paths])
            with no_collection():
                changes = to_table(self._changes(rows), CHANGE_SCHEMA)
            return changes.sort_by([(key, "ascending") for key in ORDER])

        return run

    def _changes(self, rows: pa.Table) -> list[Change]:
        """The changes in some rows of `SELECTED_SCHEMA`."""
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
        """The changes of inverse relations that follow from some changes, about subjects of any
        bucket."""
        objects = {str(c.new_value) for c in changes if derivable(c, self.inverses)}
        table = self.new.rows("facts", objects)
        facts = grouped(from_table(resolved_values(table, self.redirects), Fact))

        def now(subject: str, relation: str) -> Mapping[str, Fact]:
            group = facts.get((subject, relation), ())
            return current(group, self.new.day, relation, self.functional)

        return derived(changes, self.inverses, self.functional, now, names)

    def _names(self, facts: pa.Table) -> dict[str, Entity]:
        """The entities that occur in facts, units of quantities too, by id: from the later
        snapshot, or else from the earlier one."""
        objects = facts.filter(pc.equal(facts["value_type"], "entity"))["value"]
        amounts = facts.filter(pc.equal(facts["value_type"], "quantity"))["value"]
        units = map(unit_of, amounts.to_pylist())
        wanted = {*facts["subject"].to_pylist(), *objects.to_pylist(), *units} - {""}
        sides = [self.old, self.new] if self.old else [self.new]
        return {entity.id: entity for side in sides for entity in side.entities(wanted)}
