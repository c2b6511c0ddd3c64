"""The bulk breaker: who changed how many subjects in an edition, and whether that is unusual."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import pyarrow as pa

from discovery.facts.change import Change
from discovery.trust.evidence import domains
from discovery.trust.policy import TrustConfig

MOVED = frozenset({"learn", "replace", "forget", "vacated", "conflict"})
"""Kinds of change in which the world moved, or is said to have."""
NUM_EDITIONS = 8
"""Earlier editions that the median is taken over."""


Kind = Literal["user", "domain", "relation"]
"""Of an actor: who or what a change can be part of."""


@dataclass(frozen=True, slots=True)
class Activity:
    """How much one user, domain or relation changed in one edition."""

    actor: Kind
    name: str
    subjects: int
    """Distinct subjects changed."""
    seen: int
    """Of a relation, distinct subjects of which it is known; else the same as `subjects`."""


ACTIVITY_SCHEMA = pa.schema(
    [
        pa.field("actor", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("subjects", pa.int64(), nullable=False),
        pa.field("seen", pa.int64(), nullable=False),
    ]
)


def actors(change: Change) -> list[tuple[Kind, str]]:
    """Who stands behind a change: its user, the domains of its references, its relation."""
    users: list[tuple[Kind, str]] = [("user", change.user)] if change.user else []
    return [
        *users,
        *(("domain", name) for name in sorted(domains(change.references))),
        ("relation", change.relation),
    ]


def activity(changes: Iterable[Change]) -> list[Activity]:
    """The counts of one edition, sorted. What was there in the first snapshot nobody changed."""
    moved: dict[tuple[Kind, str], set[str]] = {}
    seen: dict[tuple[Kind, str], set[str]] = {}
    for change in changes:
        if change.kind == "ignored" or change.rule == "first":
            continue
        seen.setdefault(("relation", change.relation), set()).add(change.subject)
        if change.kind in MOVED:
            for actor in actors(change):
                moved.setdefault(actor, set()).add(change.subject)
    keys = sorted(moved.keys() | seen.keys())
    return [
        Activity(
            actor=actor,
            name=name,
            subjects=len(moved.get((actor, name), ())),
            seen=len(seen.get((actor, name), moved.get((actor, name), ()))),
        )
        for actor, name in keys
    ]


def anomalies(
    now: Sequence[Activity], history: Sequence[Sequence[Activity]], config: TrustConfig
) -> dict[tuple[str, str], str]:
    """Who changed unusually many subjects, and the sentence that says so.

    history  the counts of earlier editions; one that does not name somebody counts as none
    """
    counted = [edition for edition in history if edition][-NUM_EDITIONS:]
    earlier: list[Mapping[tuple[str, str], int]] = [
        {(a.actor, a.name): a.subjects for a in edition} for edition in counted
    ]
    found = {}
    for a in now:
        key = (a.actor, a.name)
        if not earlier:
            limit, usual = float(config.bulk_first), "no earlier edition has been counted"
        else:
            middle = median(edition.get(key, 0) for edition in earlier)
            limit = max(float(config.bulk_floor), config.bulk_factor * middle)
            usual = f"the median of {len(earlier)} earlier editions is {middle:g}"
        if a.subjects > limit:
            found[key] = (
                f"{a.actor} {a.name} changed {a.subjects} subjects at once, more than {limit:g} "
                f"({usual}); a person may approve {a.actor}:{a.name}"
            )
    return found


def rates(editions: Sequence[Sequence[Activity]]) -> dict[str, float]:
    """Share of a relation's subjects that change in an edition, by relation, over some editions.

    With one change and one subject that stayed added to each (Laplace), so that a relation seen
    once is neither certain to change nor certain to stay.
    """
    changed: dict[str, int] = {}
    seen: dict[str, int] = {}
    for a in (a for edition in editions for a in edition if a.actor == "relation"):
        changed[a.name] = changed.get(a.name, 0) + a.subjects
        seen[a.name] = seen.get(a.name, 0) + a.seen
    return {name: (changed[name] + 1) / (seen[name] + 2) for name in seen}
