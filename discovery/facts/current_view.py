"""The current view: which values of one subject and relation hold on one day. Pure.

Only statements of best rank count: the preferred ones of a source if it has any, else the normal
ones, never deprecated ones. They also need a value, a start that is not after their end, and no
qualifier that restricts or contests them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from discovery.facts.dates import Holds, holds
from discovery.facts.fact import Fact, Interval

RESTRICTIVE = frozenset({"P518", "P642", "P1001", "P3005", "P1264"})
"""Qualifiers that restrict a statement to a part, place or time (class Q61719275), so that it need
not be true without them: applies to part, of, applies to jurisdiction, valid in place, valid in
period."""
CONTESTED = frozenset({"P1310", "P5102"})
"""Qualifiers that contest a statement: disputed by; nature of statement (hedged)."""

Functional = Mapping[str, tuple[str, ...]]
"""Relations that have at most one object at a time, each with its separators (P4155): qualifiers by
which a source tells several such facts of one subject apart."""


@dataclass(frozen=True, slots=True)
class CurrentView:
    """The facts of one subject and relation, sorted by whether they hold on one day."""

    current: dict[str, Fact] = field(default_factory=dict)
    """By value, the fact that holds; of several statements of one value, the first."""
    undecided: tuple[Fact, ...] = ()
    """Facts whose dates are too imprecise to say whether they hold."""
    former: tuple[Fact, ...] = ()
    """Facts that held before and no longer do: ended, or superseded by a later observation."""


def view(facts: Iterable[Fact], day: int, *, functional: bool) -> CurrentView:
    """The current view of the facts of one subject and relation on a day.

    A fact with a point in time and neither start nor end is an observation: it held on that day.
    The latest observation of a source is current. Earlier ones are former where the relation is
    functional, and undecided where it is not.

    day         days since 1970-01-01
    functional  whether at most one value is expected at a time
    """
    current: list[Fact] = []
    undecided: list[Fact] = []
    former: list[Fact] = []
    for fact in best_rank(facts):
        if (
            fact.snaktype != "value"
            or has_qualifier(fact, RESTRICTIVE | CONTESTED)
            or incoherent(fact)
        ):
            continue
        state = holds_on(fact, day)
        if state == "yes":
            current.append(fact)
        elif state == "maybe":
            undecided.append(fact)
        elif has_ended(fact, day):
            former.append(fact)
    latest: dict[str, int] = defaultdict(lambda: -(2**63))
    for fact in current:
        latest[fact.source] = max(latest[fact.source], _observed_by(fact, default=-(2**63)))
    by_value: dict[str, Fact] = {}
    for fact in current:
        if _observed_by(fact, default=latest[fact.source]) < latest[fact.source]:
            (former if functional else undecided).append(fact)
        else:
            by_value.setdefault(fact.value, fact)
    return CurrentView(
        by_value,
        tuple(fact for fact in undecided if fact.value not in by_value),
        tuple(fact for fact in former if fact.value not in by_value),
    )


def scoped(facts: Iterable[Fact], separators: tuple[str, ...]) -> dict[str, list[Fact]]:
    """Facts by their scope: the values of their separators as canonical JSON, `[]` for a fact
    without any. All are under `[]` where the relation has no separators."""
    if not separators:
        return {"[]": list(facts)}
    found: dict[str, list[Fact]] = {}
    for fact in facts:
        pairs = [pair for pair in json.loads(fact.qualifiers) if pair[0] in separators]
        key = json.dumps(pairs, ensure_ascii=False, separators=(",", ":"))
        found.setdefault(key, []).append(fact)
    return found


def current(
    facts: Iterable[Fact], day: int, relation: str, functional: Functional
) -> dict[str, Fact]:
    """By value, the facts of one subject and relation that hold on a day, of all scopes."""
    is_functional = relation in functional
    return {
        value: fact
        for _, group in sorted(scoped(facts, functional.get(relation, ())).items())
        for value, fact in view(group, day, functional=is_functional).current.items()
    }


def best_rank(facts: Iterable[Fact]) -> list[Fact]:
    """The statements of best rank of each source."""
    by_source: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.rank != "deprecated":
            by_source[fact.source].append(fact)
    best = []
    for _, found in sorted(by_source.items()):
        preferred = [fact for fact in found if fact.rank == "preferred"]
        best += preferred or found
    return best


def holds_on(fact: Fact, day: int) -> Holds:
    """Whether a fact holds on a day by its dates. An observation holds from the last day on which
    it may have been made."""
    return holds(began_at(fact), fact.end, day)


def began_at(fact: Fact) -> Interval | None:
    """When a fact began to hold: its start, or the last possible day of an observation; None where
    the source gives neither."""
    if fact.start is None and fact.end is None and fact.point is not None:
        return Interval(fact.point.latest - 1, fact.point.latest)
    return fact.start


def has_ended(fact: Fact, day: int) -> bool:
    """Whether a fact has certainly ended before a day."""
    return fact.end is not None and fact.end.latest <= day


def incoherent(fact: Fact) -> bool:
    """Whether a fact certainly starts after it ends."""
    return (
        fact.start is not None and fact.end is not None and fact.start.earliest >= fact.end.latest
    )


def has_qualifier(fact: Fact, properties: frozenset[str]) -> bool:
    """Whether a fact has a qualifier of one of the properties."""
    return fact.qualifiers != "[]" and any(
        name in properties for name, _ in json.loads(fact.qualifiers)
    )


def _observed_by(fact: Fact, *, default: int) -> int:
    """The day after the last possible day of an observation; `default` for another fact."""
    if fact.start is None and fact.end is None and fact.point is not None:
        return fact.point.latest
    return default
