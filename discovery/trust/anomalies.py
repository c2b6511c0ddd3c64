"""Bulk anomalies: users, domains and relations that changed unusually many subjects at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import pyarrow as pa

from discovery.facts.change import ACTIVE_KINDS, Change, DiffRule
from discovery.trust.evidence import domains
from discovery.trust.policy import TrustConfig

NUM_EDITIONS = 8
"""Number of earlier editions that the median is taken over."""

ActorKind = Literal["user", "domain", "relation"]
"""Who or what changes are counted by: the user who made the revision, a domain of the references,
or the relation."""


@dataclass(frozen=True, slots=True)
class Activity:
    """How much one user, domain or relation changed in one edition."""

    actor: ActorKind
    name: str
    subjects: int
    """Distinct subjects changed."""
    seen: int
    """Of a relation, distinct subjects that the diff has of it, unchanged ones included; of other
    actors the same as `subjects`."""


ACTIVITY_SCHEMA = pa.schema(
    [
        pa.field("actor", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("subjects", pa.int64(), nullable=False),
        pa.field("seen", pa.int64(), nullable=False),
    ]
)


def actors(change: Change) -> list[tuple[ActorKind, str]]:
    """The actors that a change counts for, as kind and name: its user, the domains of its
    references, its relation."""
    users: list[tuple[ActorKind, str]] = [("user", change.user)] if change.user else []
    return [
        *users,
        *(("domain", name) for name in sorted(domains(change.references))),
        ("relation", change.relation),
    ]


def activity(changes: Iterable[Change]) -> list[Activity]:
    """The counts of one edition, sorted by kind and name.

    Facts of a first snapshot do not count: nobody changed them.
    """
    changed: dict[tuple[ActorKind, str], set[str]] = {}
    seen: dict[tuple[ActorKind, str], set[str]] = {}
    for change in changes:
        if change.kind == "ignored" or change.rule == DiffRule.FIRST_SNAPSHOT:
            continue
        seen.setdefault(("relation", change.relation), set()).add(change.subject)
        if change.kind in ACTIVE_KINDS:
            for actor in actors(change):
                changed.setdefault(actor, set()).add(change.subject)
    keys = sorted(changed.keys() | seen.keys())
    return [
        Activity(
            actor=actor,
            name=name,
            subjects=len(changed.get((actor, name), ())),
            seen=len(seen.get((actor, name), changed.get((actor, name), ()))),
        )
        for actor, name in keys
    ]


def anomalies(
    now: Sequence[Activity], history: Sequence[Sequence[Activity]], config: TrustConfig
) -> dict[tuple[str, str], str]:
    """The actors that changed unusually many subjects, each with the sentence that says so.

    now      counts of this edition
    history  counts of earlier editions, oldest first; an actor that is missing from one has 0 there
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
    """By relation, the share of its subjects that change in an edition, estimated from some.

    One subject that changed and one that did not are added to the counts (Laplace's rule of
    succession), so that no rate is 0 or 1.
    """
    changed: dict[str, int] = {}
    seen: dict[str, int] = {}
    for a in (a for edition in editions for a in edition if a.actor == "relation"):
        changed[a.name] = changed.get(a.name, 0) + a.subjects
        seen[a.name] = seen.get(a.name, 0) + a.seen
    return {name: (changed[name] + 1) / (seen[name] + 2) for name in seen}
