"""One (subject, relation) in two snapshots -> what happened to it, and by which rule. Pure.

1  starts after it ends                            conflict
2  several values of a functional group            conflict (ignored while it stays the same)
3  disputed or hedged                              conflict
4  only rank, references or qualifiers changed     keep
5  a date, a time value or a quantity was refined  keep
6  old and new value have the same label           ignored
7  starts in the future                            ignored
8  began and ended in the window                   ignored
9  ended before the window                         ignored
10 a deciding date is open                         ignored
11 functional, another value began in the window   replace
12 functional, another value without such a date   replace (a correction, for review)
13 removed or deprecated without an end            forget
14 ended or `novalue`, nothing in its place        vacated
15 became `somevalue`                              ignored
16 follows from another change (discovery.diff.derived) learn
17 of a new subject that began in the window       learn
18 began in the window                             learn
19 ended while others remain                       forget
20 a date of death                                 learn if the only one and in the window
21 held before and still holds                     keep
22 anything else                                   ignored
first  there is no earlier snapshot                learn
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter

from discovery.facts.change import ChangeKind
from discovery.facts.current_view import (
    CONTESTED,
    CurrentView,
    began_at,
    best_rank,
    has_ended,
    has_qualifier,
    holds_on,
    incoherent,
    view,
)
from discovery.facts.dates import Holds, within
from discovery.facts.fact import Fact, Interval
from discovery.facts.refinement import refined, time_of

_content = attrgetter(
    *(f.name for f in fields(Fact) if f.name not in ("revision", "revision_time", "user", "quote"))
)
"""What a fact says, without the revision it was read from."""

DEATH = frozenset({"P570", "P4602"})
"""Dates of death and burial: their own value is the date that decides."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rule says of some facts of a group."""

    kind: ChangeKind
    rule: str
    reason: str
    """One sentence for a person."""
    old: tuple[Fact, ...] = ()
    """What it was; of a functional `learn`, what the source says it was before; of a conflict, all.
    """
    new: Fact | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FactGroup:
    """The facts of one subject and relation in the two snapshots."""

    relation: str
    old: tuple[Fact, ...]
    new: tuple[Fact, ...]
    old_day: int | None
    """The earlier snapshot's; None: there is none."""
    since: int | None
    """The window is (since, new_day]. What a source has changed counts from the revision that the
    earlier snapshot has of the subject; what it has not, as time goes by."""
    new_day: int
    functional: bool
    """At most one value at a time is expected."""
    newborn: bool = False
    """The subject was not in the earlier snapshot, and began after it."""
    label: Callable[[str], str | None]
    """Label of an entity."""


def decide(group: FactGroup) -> list[Decision]:
    """All decisions on a group. Facts that neither changed nor hold are passed over."""
    decisions = _judge_statements(group)
    new = view(group.new, group.new_day, functional=group.functional)
    if group.old_day is None:
        old = CurrentView()
    else:
        old = view(group.old, group.old_day, functional=group.functional)
    if group.functional and len(new.current) > 1:
        facts = tuple(new.current.values())
        reason = f"{len(facts)} values hold at once where one is expected"
        kind: ChangeKind = "ignored" if new.current.keys() == old.current.keys() else "conflict"
        return [*decisions, Decision(kind, "2", reason, facts)]
    if group.old_day is None:
        former = new.former if group.functional else ()
        reason = "current in the first snapshot"
        return decisions + [
            Decision("learn", "first", reason, former, fact) for fact in new.current.values()
        ]
    if group.functional and old.current and new.current:
        return [*decisions, *_succession(group, old, new)]
    return decisions + _values(group, old, new)


def _succession(group: FactGroup, old: CurrentView, new: CurrentView) -> list[Decision]:
    """A functional group with values before and exactly one now."""
    ((value, after),) = new.current.items()
    if value in old.current:
        gone = [fact for other, fact in old.current.items() if other != value]
        return [_kept(group, after), *(_gone(group, fact, new) for fact in gone)]
    return [_successor(group, old, after)]


def _successor(group: FactGroup, old: CurrentView, after: Fact) -> Decision:
    """Another value than those before."""
    before = tuple(old.current.values())
    first = before[0]
    if len(before) > 1:
        return Decision(
            "ignored", "10", "which of several values was replaced is open", before, after
        )
    if _same_label(group, first, after):
        return Decision("ignored", "6", "old and new value have the same label", before, after)
    if refined(first, after):
        return Decision("keep", "5", "the value became more precise", before, after)
    evidence = _in_window(group, after)
    if evidence == "yes":
        return Decision(
            "replace", "11", "the new value began after the earlier snapshot", before, after
        )
    if evidence == "maybe" and not _promoted(group, after):
        reason = "whether the new value began after the earlier snapshot is open"
        return Decision("ignored", "10", reason, before, after)
    reason = "the source changed the value without a date for it: a correction, to be reviewed"
    return Decision("replace", "12", reason, before, after)


def _values(group: FactGroup, old: CurrentView, new: CurrentView) -> list[Decision]:
    """A group of any number of values, or a functional one that was or became empty."""
    decisions = [_kept(group, f) for value, f in new.current.items() if value in old.current]
    gone = [fact for value, fact in old.current.items() if value not in new.current]
    for value, fact in new.current.items():
        if value in old.current:
            continue
        twin = next((before for before in gone if _same_label(group, before, fact)), None)
        if twin is None:
            decisions.append(_added(group, fact, new))
            continue
        gone.remove(twin)
        reason = "old and new value have the same label"
        decisions.append(Decision("ignored", "6", reason, (twin,), fact))
    return decisions + [_gone(group, fact, new) for fact in gone]


def _added(group: FactGroup, fact: Fact, new: CurrentView) -> Decision:
    """A value that holds now and did not before."""
    evidence = _in_window(group, fact)
    if group.newborn and evidence != "maybe":
        former = new.former if group.functional else ()
        reason = "the subject is new, and began after the earlier snapshot"
        return Decision("learn", "17", reason, former, fact)
    if group.relation in DEATH:
        if evidence == "yes" and len(new.current) == 1:
            return Decision("learn", "20", "died after the earlier snapshot", (), fact)
        reason = "a date of death that is not the only one or not after the earlier snapshot"
        return Decision("ignored", "20", reason, (), fact)
    if evidence == "yes":
        former = new.former if group.functional else ()
        return Decision("learn", "18", "began after the earlier snapshot", former, fact)
    if evidence == "maybe":
        reason = "whether it began after the earlier snapshot is open"
        return Decision("ignored", "10", reason, (), fact)
    if began_at(fact) is not None:
        reason = "recorded since, but held before the earlier snapshot and still holds"
        return Decision("keep", "21", reason, (), fact)
    return Decision("ignored", "22", "added without a date", (), fact)


def _gone(group: FactGroup, fact: Fact, new: CurrentView) -> Decision:
    """A value that held before and does not now."""
    facts, now = (fact,), _match(fact, group.new)
    if now in new.undecided:
        return Decision("ignored", "10", "whether it still holds is open", facts)
    if now is not None and now.end is not None and has_ended(now, group.new_day):
        since = group.new_day if group.since is None else group.since
        ended = within(now.end, since, group.new_day)
        if ended == "no":
            return Decision("ignored", "9", "ended before the earlier snapshot", facts)
        if ended == "maybe":
            return Decision("ignored", "10", "whether it ended since or before is open", facts)
        if not new.current:
            return Decision("vacated", "14", "ended, and nothing has taken its place", facts)
        return Decision("forget", "19", "ended, while others remain", facts)
    if not new.current:
        snaktypes = {other.snaktype for other in best_rank(group.new)}
        if "novalue" in snaktypes:
            return Decision("vacated", "14", "the source says that there is none now", facts)
        if "somevalue" in snaktypes:
            return Decision("ignored", "15", "the source says that the value is unknown now", facts)
    if now is None:
        return Decision("forget", "13", "the statement was removed without an end date", facts)
    if now.rank == "deprecated":
        return Decision("forget", "13", "the statement was deprecated", facts)
    return Decision("ignored", "22", "no longer in the current view, for no stated reason", facts)


def _kept(group: FactGroup, fact: Fact) -> Decision:
    """A value that held before and holds now."""
    before = _match(fact, group.old)
    if before is None or _content(before) == _content(fact):
        return Decision("keep", "21", "held before and still holds", (), fact)
    if (before.start, before.end, before.point) != (fact.start, fact.end, fact.point):
        return Decision("keep", "5", "dates were refined; the value holds as before", (), fact)
    if before.bounds != fact.bounds:
        return Decision("keep", "5", "bounds were refined; the value holds as before", (), fact)
    return Decision("keep", "4", "only rank, references or qualifiers changed", (), fact)


def _judge_statements(group: FactGroup) -> list[Decision]:
    """Statements of best rank that are new or altered, and decided by themselves."""
    known = {_content(fact) for fact in group.old}
    changed = [
        f for f in best_rank(group.new) if f.snaktype == "value" and _content(f) not in known
    ]
    return [judged for fact in changed if (judged := _judge(group, fact)) is not None]


def _judge(group: FactGroup, fact: Fact) -> Decision | None:
    """The rule for one statement by itself, or None where the group decides."""
    if incoherent(fact):
        return Decision("conflict", "1", "starts after it ends", (), fact)
    if has_qualifier(fact, CONTESTED):
        return Decision("conflict", "3", "the source says that it is disputed or hedged", (), fact)
    if fact.start is not None and fact.start.earliest > group.new_day:
        return Decision("ignored", "7", "starts in the future", (), fact)
    before = _match(fact, group.old)
    if (
        group.old_day is not None
        and before is not None
        and holds_on(before, group.old_day) == "yes"
    ):
        return None
    if has_ended(fact, group.new_day):
        if _in_window(group, fact) == "yes":
            return Decision("ignored", "8", "began and ended after the earlier snapshot", (), fact)
        if group.since is None or has_ended(fact, group.since + 1):
            return Decision("ignored", "9", "ended before the earlier snapshot", (), fact)
        return Decision("ignored", "22", "ended since, but was not recorded before", (), fact)
    if holds_on(fact, group.new_day) == "maybe":
        return Decision("ignored", "10", "whether it holds is open", (), fact)
    return None


def _match(fact: Fact, others: tuple[Fact, ...]) -> Fact | None:
    """The same statement in the other snapshot: by id, else by value and qualifiers, else by value,
    since bots delete a statement and create it again."""
    same = [f for f in others if f.source == fact.source]
    by_id = [f for f in same if f.statement_id == fact.statement_id]
    by_value = [f for f in same if (f.value, f.snaktype) == (fact.value, fact.snaktype)]
    by_qualifiers = [f for f in by_value if f.qualifiers == fact.qualifiers]
    return next(iter([*by_id, *by_qualifiers, *by_value]), None)


def _in_window(group: FactGroup, fact: Fact) -> Holds:
    """Whether the source dates the beginning of a fact into the window."""
    began: Interval | None = began_at(fact)
    if group.relation in DEATH:
        began = time_of(fact)
    if group.since is None or began is None:
        return "no"
    return within(began, group.since, group.new_day)


def _same_label(group: FactGroup, before: Fact, after: Fact) -> bool:
    labels = [
        group.label(f.value) if f.value_type == "entity" else f.value for f in (before, after)
    ]
    return None not in labels and len({label.casefold() for label in labels if label}) == 1


def _promoted(group: FactGroup, fact: Fact) -> bool:
    """The rank of the statement rose between the snapshots, or it came as preferred."""
    before = _match(fact, group.old)
    return fact.rank == "preferred" and (before is None or before.rank != "preferred")
