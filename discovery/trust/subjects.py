"""The facts that a snapshot has about some subjects, for the rules that judge changes to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from discovery.facts.current_view import Functional, current, has_ended
from discovery.facts.dates import iso_interval
from discovery.facts.fact import EVERY_RELATION, Entity, Fact
from discovery.snapshot.output import Snapshot

HUMAN = "Q5"
"""Wikidata's id of the class of human beings."""
BORN, DIED = "P569", "P570"
"""Wikidata's ids of the properties date of birth and date of death."""
DAYS_PER_YEAR = 365.2425
"""Mean days in a Gregorian year."""


@dataclass(frozen=True)
class Subjects:
    """Facts and names of some subjects on one day."""

    day: int
    """Days since 1970-01-01."""
    facts: Mapping[tuple[str, str], tuple[Fact, ...]] = field(default_factory=dict)
    """(subject, relation) -> the facts."""
    entities: Mapping[str, Entity] = field(default_factory=dict)
    """Id -> the entity, with its names and types."""
    sources: frozenset[str] = frozenset()
    """Names of all sources of the snapshot."""
    functional: Functional = field(default_factory=dict)
    """The relations that have one object at a time (`discovery.facts.current_view`)."""

    @classmethod
    def of(
        cls,
        facts: Iterable[Fact],
        entities: Iterable[Entity] = (),
        *,
        day: int,
        functional: Functional = MappingProxyType({}),
        sources: Collection[str] = (),
    ) -> Subjects:
        """The value with some facts and entities, given in any order.

        day         days since 1970-01-01
        functional  the relations that have one object at a time
        sources     names of the snapshot's sources; those of the facts are added
        """
        groups: dict[tuple[str, str], list[Fact]] = {}
        for fact in facts:
            groups.setdefault((fact.subject, fact.relation), []).append(fact)
        return cls(
            day,
            {key: tuple(group) for key, group in groups.items()},
            {entity.id: entity for entity in entities},
            frozenset(sources) | {f.source for group in groups.values() for f in group},
            functional,
        )

    def current(self, subject: str, relation: str) -> Mapping[str, Fact]:
        """Value -> the fact that states it, for the values that are current on the day."""
        facts = self.facts.get((subject, relation), ())
        return current(facts, self.day, relation, self.functional)

    def undecided(self, subject: str, relation: str) -> bool:
        """Whether a part of what the sources state cannot be read, so that nothing follows from
        the rest."""
        return any(
            fact.snaktype == "unreadable"
            for key in (relation, EVERY_RELATION)
            for fact in self.facts.get((subject, key), ())
        )

    def agreeing(self, subject: str, relation: str, value: str, source: str) -> frozenset[str]:
        """Names of the sources other than `source` in which the value is current on the day."""
        others: dict[str, list[Fact]] = {}
        for fact in self.facts.get((subject, relation), ()):
            if fact.source != source:
                others.setdefault(fact.source, []).append(fact)
        return frozenset(
            name
            for name, facts in others.items()
            if value in current(facts, self.day, relation, self.functional)
        )

    def sources_of(self, subject: str, relation: str, value: str) -> list[str]:
        """Names of the sources that state a value, sorted."""
        facts = self.facts.get((subject, relation), ())
        return sorted({f.source for f in facts if f.value == value and f.rank != "deprecated"})

    def living(self, subject: str, *, person: bool, years: int) -> bool:
        """Whether the subject may be a living person.

        person  whether the relation is one of persons; decides where the subject has no types
        years   a person without a date of death may live for so many years after birth
        """
        types = self.entities[subject].types if subject in self.entities else ()
        if HUMAN not in types if types else not person:
            return False
        if self.facts.get((subject, DIED)):
            return False
        born = [latest for f in self.facts.get((subject, BORN), ()) if (latest := _latest(f.value))]
        return not born or max(born) > self.day - years * DAYS_PER_YEAR

    def taken_back(
        self, subject: str, relation: str, value: str, statement: str | None
    ) -> str | None:
        """Why a source has withdrawn a fact, as a phrase for a person; None where it has not.

        statement  id of the fact's statement

        A fact is withdrawn where its statement was removed, was deprecated or has ended. It is not
        withdrawn where the statement has another value now, or another statement is preferred: then
        the diff has a change of the value, which the trust policy judges.
        """
        if value in self.current(subject, relation) or self.undecided(subject, relation):
            return None
        group = self.facts.get((subject, relation), ())
        same = [fact for fact in group if fact.value == value and fact.snaktype == "value"]
        if not same:
            if any(fact.statement_id == statement for fact in group):
                return None
            return f"statement {statement or 'without id'} was removed"
        first = max(same, key=lambda fact: fact.revision or -1)
        by = f"statement {first.statement_id}" + (
            f", revision {first.revision}" if first.revision is not None else ""
        )
        if all(fact.rank == "deprecated" for fact in same):
            return f"{by}, was deprecated"
        if all(fact.rank == "deprecated" or has_ended(fact, self.day) for fact in same):
            return f"{by}, has an end date that has passed"
        return None


def read_subjects(snapshot: Snapshot, wanted: Collection[str], functional: Functional) -> Subjects:
    """Read the facts and entities of the wanted subjects from a snapshot's files.

    functional  the relations that have one object at a time
    """
    return Subjects.of(
        snapshot.facts(wanted),
        snapshot.entities(wanted),
        day=snapshot.day,
        functional=functional,
        sources=snapshot.sources,
    )


@lru_cache(maxsize=4096)
def _latest(value: str) -> int | None:
    """The last day that a date may mean, counted from 1970-01-01; None where it is no date."""
    try:
        return iso_interval(value).latest
    except ValueError:
        return None
