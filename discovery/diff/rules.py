"""The facts of one subject and relation in two snapshots -> what happened, and by which rule. Pure.

`discovery.facts.change.DiffRule` says what each rule means. Some rules judge a statement by itself
(`_judge`), the others the group: whether several values of a functional relation are current at
once, whether one value succeeds another, and else value by value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter

from discovery.diff.fact_group import DATES_OF_DEATH, FactGroup
from discovery.facts.change import ChangeKind, DiffRule
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
from discovery.facts.dates import within
from discovery.facts.fact import Fact, Interval
from discovery.facts.refinement import refined

_content = attrgetter(
    *(f.name for f in fields(Fact) if f.name not in ("revision", "revision_time", "user", "quote"))
)
"""Of a fact, all that it states, without the revision it was read from."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one rule says about some facts of a group."""

    kind: ChangeKind
    rule: DiffRule
    reason: str
    """One sentence for a person."""
    old: tuple[Fact, ...] = ()
    """The facts before the change. Of a `learn` of a functional relation: those that the source
    says held at some earlier time. Of a conflict of several values: all of them."""
    new: Fact | None = None
    """The fact after the change, or the one that the decision is about."""


def unreadable(facts: Sequence[Fact], separators: Sequence[str] = ()) -> list[Decision]:
    """The decision on the facts of one subject and relation of which a part cannot be read; none
    where all of them can.

    separators  qualifiers that tell several such facts apart, so that they have to be read too
    """
    unread = [
        fact
        for fact in facts
        if fact.snaktype == "unreadable"
        or any(f'["{name}","unreadable"]' in fact.qualifiers for name in separators)
    ]
    if not unread:
        return []
    reason = f"a part of what {unread[0].source} states cannot be read"
    return [Decision("ignored", DiffRule.UNREADABLE, reason, (), unread[0])]


def decide(group: FactGroup) -> list[Decision]:
    """All decisions on a group: of its changed statements, then of its values. There is none for
    facts that neither changed nor are current."""
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
        return [*decisions, Decision(kind, DiffRule.SEVERAL_VALUES, reason, facts)]
    if group.old_day is None:
        former = new.former if group.functional else ()
        reason = "current in the first snapshot"
        return decisions + [
            Decision("learn", DiffRule.FIRST_SNAPSHOT, reason, former, fact)
            for fact in new.current.values()
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
    """A value that is none of those before."""
    before = tuple(old.current.values())
    first = before[0]
    if len(before) > 1:
        reason = "which of several values was replaced is open"
        return Decision("ignored", DiffRule.UNDECIDED, reason, before, after)
    if group.same_label(first, after):
        reason = "old and new value have the same label"
        return Decision("ignored", DiffRule.SAME_LABEL, reason, before, after)
    if refined(first, after):
        return Decision("keep", DiffRule.REFINED, "the value became more precise", before, after)
    evidence = group.began_in_window(after)
    if evidence == "yes":
        reason = "the new value began after the earlier snapshot"
        return Decision("replace", DiffRule.SUCCESSION, reason, before, after)
    if evidence == "maybe" and not group.promoted(after):
        reason = "whether the new value began after the earlier snapshot is open"
        return Decision("ignored", DiffRule.UNDECIDED, reason, before, after)
    reason = "the source changed the value without a date for it: a correction, to be reviewed"
    return Decision("replace", DiffRule.CORRECTION, reason, before, after)


def _values(group: FactGroup, old: CurrentView, new: CurrentView) -> list[Decision]:
    """A group of any number of values, or a functional one that was or became empty."""
    decisions = [_kept(group, f) for value, f in new.current.items() if value in old.current]
    gone = [fact for value, fact in old.current.items() if value not in new.current]
    for value, fact in new.current.items():
        if value in old.current:
            continue
        namesake = next((before for before in gone if group.same_label(before, fact)), None)
        if namesake is None:
            decisions.append(_added(group, fact, new))
            continue
        gone.remove(namesake)
        reason = "old and new value have the same label"
        decisions.append(Decision("ignored", DiffRule.SAME_LABEL, reason, (namesake,), fact))
    return decisions + [_gone(group, fact, new) for fact in gone]


def _added(group: FactGroup, fact: Fact, new: CurrentView) -> Decision:
    """A value that is current now and was not before."""
    evidence = group.began_in_window(fact)
    if group.new_subject and evidence != "maybe":
        former = new.former if group.functional else ()
        reason = "the subject is new, and began after the earlier snapshot"
        return Decision("learn", DiffRule.NEW_SUBJECT, reason, former, fact)
    if group.relation in DATES_OF_DEATH:
        if evidence == "yes" and len(new.current) == 1:
            return Decision(
                "learn", DiffRule.DATE_OF_DEATH, "died after the earlier snapshot", (), fact
            )
        reason = "a date of death that is not the only one or not after the earlier snapshot"
        return Decision("ignored", DiffRule.DATE_OF_DEATH, reason, (), fact)
    if evidence == "yes":
        former = new.former if group.functional else ()
        return Decision("learn", DiffRule.ADDED, "began after the earlier snapshot", former, fact)
    if evidence == "maybe":
        reason = "whether it began after the earlier snapshot is open"
        return Decision("ignored", DiffRule.UNDECIDED, reason, (), fact)
    if began_at(fact) is not None:
        reason = "recorded since, but held before the earlier snapshot and still holds"
        return Decision("keep", DiffRule.STILL_HOLDS, reason, (), fact)
    return Decision("ignored", DiffRule.UNEXPLAINED, "added without a date", (), fact)


def _gone(group: FactGroup, fact: Fact, new: CurrentView) -> Decision:
    """A value that was current before and is not now."""
    facts, now = (fact,), group.in_new(fact)
    if now in new.undecided:
        return Decision("ignored", DiffRule.UNDECIDED, "whether it still holds is open", facts)
    if now is not None and now.end is not None and has_ended(now, group.new_day):
        return _ended(group, now.end, facts, new)
    if not new.current:
        snaktypes = {other.snaktype for other in best_rank(group.new)}
        if "novalue" in snaktypes:
            reason = "the source says that there is none now"
            return Decision("vacated", DiffRule.VACATED, reason, facts)
        if "somevalue" in snaktypes:
            reason = "the source says that the value is unknown now"
            return Decision("ignored", DiffRule.UNKNOWN_VALUE, reason, facts)
    if now is None:
        reason = "the statement was removed without an end date"
        return Decision("forget", DiffRule.RETRACTED, reason, facts)
    if now.rank == "deprecated":
        return Decision("forget", DiffRule.RETRACTED, "the statement was deprecated", facts)
    reason = "no longer in the current view, for no stated reason"
    return Decision("ignored", DiffRule.UNEXPLAINED, reason, facts)


def _ended(group: FactGroup, end: Interval, facts: tuple[Fact], new: CurrentView) -> Decision:
    """A value that has ended by the later snapshot's day."""
    since = group.new_day if group.since is None else group.since
    in_window = within(end, since, group.new_day)
    if in_window == "no":
        reason = "ended before the earlier snapshot"
        return Decision("ignored", DiffRule.HISTORICAL, reason, facts)
    if in_window == "maybe":
        reason = "whether it ended since or before is open"
        return Decision("ignored", DiffRule.UNDECIDED, reason, facts)
    if not new.current:
        reason = "ended, and nothing has taken its place"
        return Decision("vacated", DiffRule.VACATED, reason, facts)
    return Decision("forget", DiffRule.ENDED, "ended, while others remain", facts)


def _kept(group: FactGroup, fact: Fact) -> Decision:
    """A value that was current before and is now."""
    before = group.in_old(fact)
    if before is None or _content(before) == _content(fact):
        return Decision("keep", DiffRule.STILL_HOLDS, "held before and still holds", (), fact)
    if (before.start, before.end, before.point) != (fact.start, fact.end, fact.point):
        reason = "dates were refined; the value holds as before"
        return Decision("keep", DiffRule.REFINED, reason, (), fact)
    if before.bounds != fact.bounds:
        reason = "bounds were refined; the value holds as before"
        return Decision("keep", DiffRule.REFINED, reason, (), fact)
    reason = "only rank, references or qualifiers changed"
    return Decision("keep", DiffRule.METADATA_CHANGED, reason, (), fact)


def _judge_statements(group: FactGroup) -> list[Decision]:
    """Decisions on statements of best rank that are new or altered, and decided by themselves."""
    known = {_content(fact) for fact in group.old}
    changed = [
        f for f in best_rank(group.new) if f.snaktype == "value" and _content(f) not in known
    ]
    return [judged for fact in changed if (judged := _judge(group, fact)) is not None]


def _judge(group: FactGroup, fact: Fact) -> Decision | None:
    """The decision on one statement by itself, or None where the group decides."""
    if incoherent(fact):
        return Decision("conflict", DiffRule.STARTS_AFTER_END, "starts after it ends", (), fact)
    if has_qualifier(fact, CONTESTED):
        reason = "the source says that it is disputed or hedged"
        return Decision("conflict", DiffRule.CONTESTED, reason, (), fact)
    if fact.start is not None and fact.start.earliest > group.new_day:
        return Decision("ignored", DiffRule.SCHEDULED, "starts in the future", (), fact)
    before = group.in_old(fact)
    if (
        group.old_day is not None
        and before is not None
        and holds_on(before, group.old_day) == "yes"
    ):
        return None
    if has_ended(fact, group.new_day):
        if group.began_in_window(fact) == "yes":
            reason = "began and ended after the earlier snapshot"
            return Decision("ignored", DiffRule.TRANSIENT, reason, (), fact)
        if group.since is None or has_ended(fact, group.since + 1):
            reason = "ended before the earlier snapshot"
            return Decision("ignored", DiffRule.HISTORICAL, reason, (), fact)
        reason = "ended since, but was not recorded before"
        return Decision("ignored", DiffRule.UNEXPLAINED, reason, (), fact)
    if holds_on(fact, group.new_day) == "maybe":
        return Decision("ignored", DiffRule.UNDECIDED, "whether it holds is open", (), fact)
    return None
