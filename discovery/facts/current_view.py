"""The current view: what the statements of one subject and relation say on one day.

Statements of best rank count (all preferred of a source if there are any, else all normal, never
deprecated), with a value, coherent dates, and no qualifier that narrows or contests them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from discovery.facts.dates import Holds, holds
from discovery.facts.fact import Fact, Interval

RESTRICTIVE = frozenset({"P518", "P642", "P1001", "P3005", "P1264"})
"""Qualifiers that narrow a statement to a part, place or time (class Q61719275), so that it no
longer says what it seems to: applies to part, of, applies to jurisdiction, valid in place, valid in
period."""
CONTESTED = frozenset({"P1310", "P5102"})
"""Disputed by; nature of statement (hedged)."""


Functional = Mapping[str, tuple[str, ...]]
"""Relations that have at most one object at a time, with the qualifiers (`separators`, P4155) by
which a source tells several such facts of one subject apart."""


@dataclass(frozen=True, slots=True)
class CurrentView:
    """What a group says on one day."""

    current: dict[str, Fact] = field(default_factory=dict)
    """By value; of several statements of one value, the first."""
    undecided: tuple[Fact, ...] = ()
    """Statements whose dates leave open whether they hold."""
    former: tuple[Fact, ...] = ()
    """Statements that held and no longer do: ended, or superseded by a later dated observation."""


def view(facts: Iterable[Fact], day: int, *, functional: bool) -> CurrentView:
    """The current view of a group on a day.

    A dated observation (a point in time, no start or end) says what held by then. The latest of a
    source is current; an earlier one is superseded in a functional group, and undecided in another.
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
        latest[fact.source] = max(latest[fact.source], _seen_on(fact, default=-(2**63)))
    by_value: dict[str, Fact] = {}
    for fact in current:
        if _seen_on(fact, default=latest[fact.source]) < latest[fact.source]:
            (former if functional else undecided).append(fact)
        else:
            by_value.setdefault(fact.value, fact)
    return CurrentView(
        by_value,
        tuple(fact for fact in undecided if fact.value not in by_value),
        tuple(fact for fact in former if fact.value not in by_value),
    )


def scoped(facts: Iterable[Fact], separators: tuple[str, ...]) -> dict[str, list[Fact]]:
    """Facts by the values of their separators: canonical JSON, `[]` without; all under `[]` where
    the relation has none."""
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
    """What holds on a day, by value: of each group that separators tell apart."""
    is_functional = relation in functional
    return {
        value: fact
        for _, group in sorted(scoped(facts, functional.get(relation, ())).items())
        for value, fact in view(group, day, functional=is_functional).current.items()
    }


def best_rank(facts: Iterable[Fact]) -> list[Fact]:
    """Statements of best rank of each source."""
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
    """Whether a fact holds on a day by its dates; an observation does from its last possible day
    on."""
    return holds(began_at(fact), fact.end, day)


def began_at(fact: Fact) -> Interval | None:
    """When a fact began, as far as its source says."""
    if fact.start is None and fact.end is None and fact.point is not None:
        return Interval(fact.point.latest - 1, fact.point.latest)
    return fact.start


def has_ended(fact: Fact, day: int) -> bool:
    """Whether a fact had certainly ended by a day."""
    return fact.end is not None and fact.end.latest <= day


def incoherent(fact: Fact) -> bool:
    """Whether a fact certainly starts after it ends."""
    return (
        fact.start is not None and fact.end is not None and fact.start.earliest >= fact.end.latest
    )


def has_qualifier(fact: Fact, properties: frozenset[str]) -> bool:
    return fact.qualifiers != "[]" and any(
        name in properties for name, _ in json.loads(fact.qualifiers)
    )


def _seen_on(fact: Fact, *, default: int) -> int:
    """The day after an observation's last possible day; `default` for what is no observation."""
    if fact.start is None and fact.end is None and fact.point is not None:
        return fact.point.latest
    return default
