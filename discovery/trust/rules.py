"""The rules of trust, and what each of them can say about a change. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from discovery.trust.anomalies import ActorKind

State = Literal["rejected", "held", "cooling", "eligible"]
"""Of a change:

    rejected   never acted on
    held       waits for a person, or for better evidence
    cooling    waits for time to pass
    eligible   may be planned
"""
SEVERITY: tuple[State, ...] = ("rejected", "held", "cooling", "eligible")
"""States from the most severe to the least."""


class TrustRule(StrEnum):
    """The rules that a change is judged by, in the order in which they are applied.

    An arrow names the state that a rule asks for where it finds something against a change; a rule
    that finds nothing against it asks for `eligible` or says nothing. The values stand in the
    column `rules` of assessments and of held changes on disk.
    """

    LIVING_PERSON = "living person"
    """The relation is sensitive and the subject may be a living person -> rejected where the policy
    denies the relation, else held unless the source is the team's own."""
    CLOCK = "clock"
    """The time of the revision cannot be read or lies after the edition's day -> held."""
    COOL_DOWN = "cool-down"
    """The revision is younger than the cool-down, within which most vandalism is reverted
    -> cooling. A newer revision of the statement starts the cool-down again."""
    SOURCE = "source"
    """The source is in quarantine (a model extracts its facts, or its base trust is 0) -> held."""
    CONTRADICTION = "contradiction"
    """Several values are current at once and different sources state them -> held."""
    UNREADABLE = "unreadable"
    """A part of what is stated of the subject and relation cannot be read now -> held."""
    QUORUM = "quorum"
    """Fewer independent voices (`discovery.trust.evidence`) state the fact than the policy asks for
    -> held. Does not apply to the team's own sources."""
    REVERT_RISK = "revert risk"
    """The revision is likely to be reverted (`discovery.trust.revert_risk`) -> held."""
    BULK = "bulk"
    """The change is one of unusually many by the same user, domain or relation
    (`discovery.trust.anomalies`) -> held. A finding has the name of these changes added to the
    rule: `bulk user:NAME` (`bulk_rule`)."""
    APPROVAL = "approval"
    """A person approved the change -> eligible, unless it is rejected."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule says about a change."""

    state: State
    """The state that the rule asks for."""
    rule: str
    """A `TrustRule`, or a `bulk_rule`."""
    reason: str
    """One sentence for a person."""


def bulk_rule(actor: ActorKind, name: str) -> str:
    """`TrustRule.BULK` with the actor whose changes are held: `bulk user:NAME`."""
    return f"{TrustRule.BULK} {actor}:{name}"


def bulk_actor(rule: str) -> str | None:
    """The inverse of `bulk_rule`: `user:NAME`, the form in which a person approves the changes of
    an actor. None for another rule."""
    kind, _, actor = rule.partition(" ")
    return actor if kind == TrustRule.BULK else None


def lasts(rule: str, *, same_revision: bool) -> bool:
    """Whether a finding counts in later editions too, which do not have the data for it.

    A bulk anomaly does until a person approves it, the risk of a revision until there is a newer
    one.
    """
    return bulk_actor(rule) is not None or (rule == TrustRule.REVERT_RISK and same_revision)
