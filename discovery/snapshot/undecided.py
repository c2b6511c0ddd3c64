"""Groups of facts of which a part cannot be read, and what a snapshot keeps of them. Pure.

A group is the facts of one subject and relation from one source. What a source says of it can only
be judged as a whole: if one statement is unreadable, the others may be the former ones, or not all
of them. So the group stays as it was when it could be read last, with the unreadable fact beside
it, and the diff concludes nothing from it (`DiffRule.UNREADABLE`).
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from discovery.facts.fact import EVERY_RELATION, FACT_SCHEMA, Fact, Interval
from discovery.facts.group import group_keys, subject_keys
from discovery.facts.tables import from_table, to_table


def keep_undecided(
    earlier: pa.Table,
    found: pa.Table,
    stays: pa.Array,
    *,
    by_statement: Collection[str],
    day: int | None,
) -> tuple[pa.Table, pa.Array]:
    """The facts that count of those found, and which earlier facts stay.

    Of an undecided group the earlier readable facts stay, and of the found ones only those that are
    unreadable count, each with the day on which its group could be read last.

    earlier       the bucket's facts in the earlier snapshot
    found         the bucket's facts in the parsed tables
    stays         whether each earlier fact stays: booleans
    by_statement  sources that give each statement by itself, such as the rows that changed. What
                  they say of other statements of the group counts
    day           day of the earlier snapshot, counted from 1970-01-01; None where there is none
    """
    marks = _unreadable(found)
    if not pc.any(marks, min_count=0).as_py():
        return found, stays
    alone = pc.is_in(found["source"], pa.array(sorted(by_statement), pa.string()))
    partial = pc.and_(_is_in_groups_of(found, found.filter(marks)), pc.invert(pc.or_(marks, alone)))
    unreadable = _dated(found.filter(marks), earlier, day)
    readable = found.filter(pc.invert(pc.or_(marks, partial)))
    whole = found.filter(pc.and_(marks, pc.invert(alone)))
    held = pc.and_(_is_in_groups_of(earlier, whole), pc.invert(_unreadable(earlier)))
    return pa.concat_tables([readable, unreadable]), pc.or_(stays, held)


def _is_in_groups_of(facts: pa.Table, unreadable: pa.Table) -> pa.Array:
    """Whether each fact is of the group of an unreadable one, or of a subject for all of whose
    relations an unreadable one stands (`EVERY_RELATION`)."""
    every = pc.equal(unreadable["relation"], EVERY_RELATION)
    return pc.or_(
        pc.is_in(group_keys(facts), pc.unique(group_keys(unreadable))),
        pc.is_in(subject_keys(facts), pc.unique(subject_keys(unreadable.filter(every)))),
    )


def _dated(unreadable: pa.Table, earlier: pa.Table, day: int | None) -> pa.Table:
    """Unreadable facts with the day on which the group of each could be read last: that of the
    earlier snapshot, or of an earlier one if it could not be read there either."""
    known: dict[tuple[str, str, str], Interval | None] = {}
    for fact in from_table(earlier.filter(_is_in_groups_of(earlier, unreadable)), Fact):
        key = (fact.subject, fact.relation, fact.source)
        if fact.snaktype == "unreadable":
            known[key] = fact.point
        elif day is not None:
            for relation in (fact.relation, EVERY_RELATION):
                known.setdefault((fact.subject, relation, fact.source), Interval(day, day + 1))
    facts = from_table(unreadable, Fact)
    return to_table(
        [replace(f, point=known.get((f.subject, f.relation, f.source))) for f in facts], FACT_SCHEMA
    )


def with_unreadable(facts: pa.Table) -> pa.Table:
    """The facts with a further column `unreadable`: whether the value of each is."""
    return facts.append_column("unreadable", _unreadable(facts))


def _unreadable(facts: pa.Table) -> pa.Array:
    """Whether each fact's value is something that its reader does not understand."""
    return pc.equal(facts["snaktype"], "unreadable")
