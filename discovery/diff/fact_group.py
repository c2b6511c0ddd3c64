"""The facts of one subject and relation in two snapshots, and what rules ask of them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from discovery.facts.current_view import began_at
from discovery.facts.dates import Holds, within
from discovery.facts.fact import Fact, Interval
from discovery.facts.refinement import time_of

DATES_OF_DEATH = frozenset({"P570", "P4602"})
"""Date of death, date of burial: the value itself is the date that decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactGroup:
    """The facts of one subject and relation in the two snapshots, and the window between them."""

    relation: str
    old: tuple[Fact, ...]
    """The facts in the earlier snapshot."""
    new: tuple[Fact, ...]
    """The facts in the later snapshot."""
    old_day: int | None
    """Day of the earlier snapshot, in days since 1970-01-01; None where there is none."""
    since: int | None
    """The window is (since, new_day]. It begins with the revision of the subject that the earlier
    snapshot holds, which may be older than the snapshot; None where there is no earlier snapshot.
    """
    new_day: int
    """Day of the later snapshot."""
    functional: bool
    """Whether at most one value is expected at a time."""
    new_subject: bool = False
    """Whether the subject is not in the earlier snapshot, and began after it."""
    label: Callable[[str], str | None]
    """Gives the label of an entity id, None where it has none."""

    def in_old(self, fact: Fact) -> Fact | None:
        """The same statement in the earlier snapshot, None where there is none."""
        return _same_statement(fact, self.old)

    def in_new(self, fact: Fact) -> Fact | None:
        """The same statement in the later snapshot, None where there is none."""
        return _same_statement(fact, self.new)

    def began_in_window(self, fact: Fact) -> Holds:
        """Whether the source dates the beginning of a fact into the window; `no` without a date."""
        began: Interval | None = began_at(fact)
        if self.relation in DATES_OF_DEATH:
            began = time_of(fact)
        if self.since is None or began is None:
            return "no"
        return within(began, self.since, self.new_day)

    def same_label(self, before: Fact, after: Fact) -> bool:
        """Whether two values are written with the same words, upper and lower case aside."""
        labels = [
            self.label(f.value) if f.value_type == "entity" else f.value for f in (before, after)
        ]
        return None not in labels and len({label.casefold() for label in labels if label}) == 1

    def promoted(self, fact: Fact) -> bool:
        """Whether a statement is of preferred rank now and was not in the earlier snapshot."""
        before = self.in_old(fact)
        return fact.rank == "preferred" and (before is None or before.rank != "preferred")


def _same_statement(fact: Fact, others: tuple[Fact, ...]) -> Fact | None:
    """The statement of the same source with the same id; else with the same value and qualifiers;
    else with the same value, since bots delete a statement and create it again."""
    same = [f for f in others if f.source == fact.source]
    by_id = [f for f in same if f.statement_id == fact.statement_id]
    by_value = [f for f in same if (f.value, f.snaktype) == (fact.value, fact.snaktype)]
    by_qualifiers = [f for f in by_value if f.qualifiers == fact.qualifiers]
    return next(iter([*by_id, *by_qualifiers, *by_value]), None)
