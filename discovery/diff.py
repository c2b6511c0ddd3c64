"""Stage 3, diff: two snapshots -> changes, each with the rule that decided and its evidence.

What happened is judged by `discovery.rules` on (subject, relation) groups, out of the current views
of `discovery.view`. The window is (T_old, T_new], where T_old is the day of the subject's earlier
revision if it has one, for what happened after that day was not in the earlier snapshot; else the
earlier snapshot's day. Where the dates leave it open whether something is current or in the window,
nothing is decided: precision outranks recall.

First the groups that have to be judged are chosen, bucket by bucket (`discovery.unchanged`), and
their facts read; then they are judged, so many at a time, by names that lie in any bucket.
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

from discovery.buckets import read_rows
from discovery.chosen import (
    CHOSEN_SCHEMA,
    UNCHANGED,
    Before,
    Choose,
    runs_of,
    wanted_of,
    window_begins,
)
from discovery.dates import days
from discovery.fact import CHANGE_SCHEMA, FACT_SCHEMA, Change, Entity, Fact, from_table, to_table
from discovery.merged import redirects_of
from discovery.rules import Decision, Group, decide
from discovery.snapshot import MANIFEST
from discovery.verbalise import Relation
from infra.digest import digest_of
from infra.errors import StageError
from infra.garbage import no_collection
from infra.runner import Runner
from infra.storage import Artifact, Shard, StageDir

CHANGES = "changes.parquet"
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
    functional = frozenset(key for key, relation in relations.items() if relation.functional)
    num_buckets = manifests[-1]["num_buckets"]
    before = None if old is None else Before(old.path, days(dates[0]))
    wanted = [] if old is None else wanted_of(new.path, num_buckets, functional, max_kept)
    choose = Choose(before, new.path, wanted, num_buckets, redirects_of(new.path))
    chosen = out.map_tables(
        runner, choose, [Shard(f"chosen-{n:05d}", n) for n in range(num_buckets)]
    )
    unchanged = sum(int(pq.read_schema(path).metadata[UNCHANGED]) for path in chosen)
    judge = _Judge(before, new.path, days(dates[-1]), functional, num_buckets)
    runs = [Shard(f"judged-{n:05d}", run) for n, run in enumerate(runs_of(chosen))]
    paths = out.map_tables(runner, judge, runs)
    table = pa.concat_tables([pq.read_table(path, schema=CHANGE_SCHEMA) for path in paths])
    out.write_table(CHANGES, table.sort_by([(key, "ascending") for key in _ORDER]))
    kinds = Counter(table["kind"].to_pylist())
    rules = Counter(table["rule"].to_pylist())
    return {
        "changes": table.num_rows,
        "unchanged": unchanged,
        "kinds": dict(kinds),
        "rules": dict(rules),
    }


_ORDER = ("subject", "relation", "kind", "id")


def diff_facts(
    old: list[Fact] | None,
    new: list[Fact],
    *,
    old_day: int | None,
    new_day: int,
    functional: frozenset[str] = frozenset(),
    entities: Mapping[str, Entity] | None = None,
    since: Mapping[str, int] | None = None,
) -> list[Change]:
    """The diff of two lists of facts, sorted; pure. `old` None: there is no earlier snapshot.

    entities  names; rule 6 and all labels come from it
    since     by subject, the day from which its changes count; unset is worked out of `old`
    """
    names = entities or {}
    keys = sorted({(f.subject, f.relation) for f in (*(old or ()), *new)})
    before, after = _grouped(old or []), _grouped(new)
    begun = since if since is not None else window_begins(old or (), old_day)
    changes = []
    for subject, relation in keys:
        group = Group(
            relation=relation,
            old=tuple(before.get((subject, relation), ())),
            new=tuple(after.get((subject, relation), ())),
            old_day=begun.get(subject, old_day) if old_day is not None else None,
            new_day=new_day,
            functional=relation in functional,
            label=lambda key: names[key].label if key in names else None,
        )
        changes += [_change(subject, relation, decision, names) for decision in decide(group)]
    return sorted(changes, key=lambda c: tuple(getattr(c, name) for name in _ORDER))


def _grouped(facts: list[Fact]) -> dict[tuple[str, str], list[Fact]]:
    """Facts by (subject, relation), in an order that does not depend on that of the input."""
    groups: dict[tuple[str, str], list[Fact]] = {}
    for fact in sorted(facts, key=lambda f: (f.statement_id, f.source, f.value)):
        groups.setdefault((fact.subject, fact.relation), []).append(fact)
    return groups


def _change(subject: str, relation: str, decision: Decision, names: Mapping[str, Entity]) -> Change:
    """A decision with names and evidence."""
    old, new = decision.old, decision.new
    entity = names.get(subject)
    shown = new or old[0]
    named = names.get(new.value) if new and new.value_type == "entity" else None
    identity = [
        subject,
        relation,
        decision.kind,
        [[f.value, f.snaktype] for f in old],
        [new.value, new.snaktype] if new else None,
        []
        if decision.kind != "ignored"
        else [f.statement_id for f in (*old, *([new] if new else []))],
    ]
    return Change(
        id=digest_of(identity)[:16],
        kind=decision.kind,
        rule=decision.rule,
        reason=decision.reason,
        subject=subject,
        subject_label=entity.label if entity else None,
        subject_aliases=entity.aliases if entity else (),
        popularity=entity.num_sitelinks if entity else 0,
        relation=relation,
        value_type=shown.value_type,
        old_values=tuple(f.value for f in old),
        old_labels=tuple(_label(f, names) or f.value for f in old),
        old_starts=tuple(f.start or f.point for f in old),
        old_ends=tuple(f.end for f in old),
        new_value=new.value if new else None,
        new_label=_label(new, names) if new else None,
        new_aliases=named.aliases if named else (),
        source=shown.source,
        old_statements=tuple(f.statement_id for f in old),
        new_statement=new.statement_id if new else None,
        revision_old=max((f.revision for f in old if f.revision is not None), default=None),
        revision_new=new.revision if new else None,
        revision_time=shown.revision_time,
        user=shown.user,
        since=(new.start or new.point) if new else None,
        references=new.references if new else (),
        quote=new.quote if new else None,
    )


def _label(fact: Fact, names: Mapping[str, Entity]) -> str | None:
    """How a value is said: an entity's label if it has one, a number without its plus, text as it
    is."""
    if fact.value_type == "entity":
        return names[fact.value].label if fact.value in names else None
    if fact.value_type == "quantity":
        return (
            None if " " in fact.value else fact.value.removeprefix("+")
        )  # the unit has no name here
    return fact.value or None


@dataclass(frozen=True)
class _Judge:
    """Builds the function that judges what was chosen of some buckets."""

    before: Before | None
    new: Path
    new_day: int
    functional: frozenset[str]
    num_buckets: int

    def __call__(self) -> Callable[[list[Path]], pa.Table]:
        def run(paths: list[Path]) -> pa.Table:
            rows = pa.concat_tables([pq.read_table(path, schema=CHOSEN_SCHEMA) for path in paths])
            with no_collection():
                return to_table(self._changes(rows), CHANGE_SCHEMA)

        return run

    def _changes(self, rows: pa.Table) -> list[Change]:
        facts = rows.select(FACT_SCHEMA.names)
        since = rows.group_by("subject").aggregate([("since", "min")])
        return diff_facts(
            None if self.before is None else from_table(facts.filter(rows["is_old"]), Fact),
            from_table(facts.filter(pc.invert(rows["is_old"])), Fact),
            old_day=self.before.day if self.before else None,
            new_day=self.new_day,
            functional=self.functional,
            entities=self._names(facts),
            since=dict(zip(*(column.to_pylist() for column in since.columns), strict=True)),
        )

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
