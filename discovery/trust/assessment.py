"""Assessments: the state of each change by the rules of trust, with what every rule found. Pure.

The most severe finding decides the state; the others are listed too. What becomes of eligible
changes is decided by `plan` and `release`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa

from discovery.facts.change import Change, DiffRule
from discovery.relations.relation import Relation
from discovery.trust.anomalies import actors
from discovery.trust.evidence import voices
from discovery.trust.policy import Standing, TrustConfig, sensitive
from discovery.trust.rules import SEVERITY, Finding, State, TrustRule, bulk_actor, bulk_rule
from discovery.trust.subjects import Subjects

ASSESSED = frozenset({"learn", "replace", "conflict"})
"""Kinds of change that put something into the model or onto the fact sheet, so that they are
assessed."""
CLOCK_SLACK = timedelta(minutes=5)
"""How far a revision's time may lie after the edition's day: clocks differ."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """A change's state and the findings of all rules about it, the most severe first."""

    change_id: str
    state: State
    rules: tuple[str, ...] = ()
    """Rule of each finding: a `TrustRule`, or a `bulk_rule`."""
    states: tuple[State, ...] = ()
    """State that each finding asks for."""
    reasons: tuple[str, ...] = ()
    """Sentence of each finding."""
    weight: float = 1.0
    """Trust in the change, 0 to 1; a factor of its priority."""

    @property
    def decisive(self) -> list[tuple[str, str]]:
        """Rule and sentence of the findings that ask for the change's state."""
        rows = zip(self.rules, self.states, self.reasons, strict=True)
        return [(rule, reason) for rule, state, reason in rows if state == self.state]


ASSESSMENT_SCHEMA = pa.schema(
    [
        pa.field("change_id", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        ("rules", pa.list_(pa.string())),
        ("states", pa.list_(pa.string())),
        ("reasons", pa.list_(pa.string())),
        ("weight", pa.float64()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Assessor:
    """The rules of trust with everything that they look at."""

    config: TrustConfig
    now: datetime
    """The end of the edition's day; no clock is read."""
    subjects: Subjects
    standings: Mapping[str, Standing] = field(default_factory=dict)
    """By source, how far it is trusted; a source that is missing here is public."""
    relations: Mapping[str, Relation] = field(default_factory=dict)
    """By id."""
    anomalies: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """By kind and name of an actor with unusually many changes in this edition, the sentence that
    says so."""
    scores: Mapping[int, float] = field(default_factory=dict)
    """By revision that was rated, the probability that it is reverted, 0 to 1."""
    lasting: Mapping[str, Sequence[Finding]] = field(default_factory=dict)
    """By change id, findings of an earlier edition that still count."""

    def assess(self, change: Change, *, anew: bool = True) -> Assessment:
        """The state of one change of an `ASSESSED` kind.

        anew  whether the change is in this edition's diff. For one that is carried over from an
              earlier edition, bulk anomalies were found then
        """
        standing = self.standings.get(change.source, Standing())
        found = [
            *self._person(change, standing),
            *self._clock(change, standing),
            *self._sources(change, standing),
            *self._quorum(change, standing),
            *self._risk(change, standing),
            *self._bulk(change, anew),
        ]
        found = self._approved(change, found)
        found.sort(key=lambda finding: SEVERITY.index(finding.state))
        state = found[0].state if found else "eligible"
        return Assessment(
            change.id,
            state,
            tuple(f.rule for f in found),
            tuple(f.state for f in found),
            tuple(f.reason for f in found),
            self._weight(change, standing),
        )

    def _person(self, change: Change, standing: Standing) -> list[Finding]:
        """Whether the change is about a sensitive property of a living person."""
        rule = sensitive().get(change.relation)
        if rule is None or not self._living(change):
            return []
        about = f"{change.relation} ({rule.label}) of a living person is sensitive ({rule.group})"
        if rule.action == "deny":
            return [Finding("rejected", TrustRule.LIVING_PERSON, f"{about}: never edited")]
        if standing.own:
            reason = f"{about}; the source is the team's own"
            return [Finding("eligible", TrustRule.LIVING_PERSON, reason)]
        return [Finding("held", TrustRule.LIVING_PERSON, f"{about}: a person has to look at it")]

    def _clock(self, change: Change, standing: Standing) -> list[Finding]:
        """Whether the revision's time can be right, and whether it has cooled down."""
        if change.revision_time is None:
            return []
        at = parse_time(change.revision_time)
        if at is None:
            reason = f"the revision's time {change.revision_time[:40]!r} is no ISO 8601 time"
            return [Finding("held", TrustRule.CLOCK, reason)]
        if at > self.now + CLOCK_SLACK:
            reason = f"the revision is of {_text(at)}, after the edition's day ({_text(self.now)})"
            return [Finding("held", TrustRule.CLOCK, reason)]
        if standing.own:
            return []
        hours = self._setting(change, "cool_down_h", self.config.cool_down_h)
        ready = at + timedelta(hours=hours)
        if ready > self.now:
            reason = (
                f"revision {change.revision_new or change.revision_old} is of {_text(at)}; it "
                f"cools down for {hours:g} h, until {_text(ready)}"
            )
            return [Finding("cooling", TrustRule.COOL_DOWN, reason)]
        reason = f"the revision of {_text(at)} has stood for more than {hours:g} h"
        return [Finding("eligible", TrustRule.COOL_DOWN, reason)]

    def _sources(self, change: Change, standing: Standing) -> list[Finding]:
        """Whether the source is in quarantine, whether sources contradict each other, and whether
        all that they state can be read."""
        found = []
        if standing.quarantined:
            reason = f"source {change.source} is read by an extractor: a person has to look at it"
            if standing.base_trust == 0:
                reason = f"source {change.source} has no trust of its own: a person has to look"
            found.append(Finding("held", TrustRule.SOURCE, reason))
        elif standing.own:
            reason = f"source {change.source} is the team's own"
            found.append(Finding("eligible", TrustRule.SOURCE, reason))
        if change.kind == "conflict" and change.rule == DiffRule.SEVERAL_VALUES:
            where = [
                (label, self.subjects.sources_of(change.subject, change.relation, value))
                for value, label in zip(change.old_values, change.old_labels, strict=True)
            ]
            if len({name for _, names in where for name in names}) > 1:
                values = "; ".join(
                    f"{', '.join(names) or change.source}: {label}" for label, names in where
                )
                reason = f"sources disagree: {values}"
                found.append(Finding("held", TrustRule.CONTRADICTION, reason))
        if self.subjects.undecided(change.subject, change.relation):
            reason = "a part of what is stated of it cannot be read now"
            found.append(Finding("held", TrustRule.UNREADABLE, reason))
        return found

    def _quorum(self, change: Change, standing: Standing) -> list[Finding]:
        """Whether enough independent voices state the fact; of a conflict, each of its values."""
        if standing.own:
            return []
        living = self._living(change)
        wanted = int(self._setting(change, "quorum", self.config.quorum))
        if living:
            wanted = max(wanted, self.config.quorum_living)
        fewest = min(
            (sorted(self._voices(change, value)) for value in stated_values(change)), key=len
        )
        about = f"{len(fewest)} of {wanted} independent voices"
        about += f" ({', '.join(fewest)})" if fewest else ""
        about += ", for it is about a living person" if living else ""
        return [Finding("eligible" if len(fewest) >= wanted else "held", TrustRule.QUORUM, about)]

    def _voices(self, change: Change, value: str) -> frozenset[str]:
        """The independent voices that state a value."""
        agreeing = self.subjects.agreeing(change.subject, change.relation, value, change.source)
        if value == change.new_value:
            return voices(change.references, agreeing)
        group = self.subjects.facts.get((change.subject, change.relation), ())
        references = {text for f in group if f.value == value for text in f.references}
        return voices(references, agreeing)

    def _risk(self, change: Change, standing: Standing) -> list[Finding]:
        """Whether the revision is likely to be reverted; one that was not rated is not held."""
        if standing.own or self.config.revert_risk is None or change.revision_new is None:
            return []
        score = self.scores.get(change.revision_new)
        if score is None:
            earlier = [
                f for f in self.lasting.get(change.id, ()) if f.rule == TrustRule.REVERT_RISK
            ]
            if earlier:
                return earlier
            return [Finding("eligible", TrustRule.REVERT_RISK, "the revision was not rated")]
        limit = self.config.revert_risk.limit
        about = f"revision {change.revision_new} is reverted with probability {score:.2f}"
        if score > limit:
            return [Finding("held", TrustRule.REVERT_RISK, f"{about}, more than {limit:g}")]
        return [Finding("eligible", TrustRule.REVERT_RISK, about)]

    def _bulk(self, change: Change, anew: bool) -> list[Finding]:
        """A finding for each actor of the change with unusually many changes. Each needs its own
        approval: approving a user does not approve the relation."""
        if anew:
            named = [actor for actor in actors(change) if actor in self.anomalies]
            found = [Finding("held", bulk_rule(*actor), self.anomalies[actor]) for actor in named]
        else:
            found = [f for f in self.lasting.get(change.id, ()) if bulk_actor(f.rule) is not None]
        return [
            Finding("eligible", f.rule, f"a person approved it: {f.reason}")
            if bulk_actor(f.rule) in self.config.approve
            else f
            for f in found
        ]

    def _approved(self, change: Change, found: list[Finding]) -> list[Finding]:
        """The findings as they count after a person's approval of the change itself, which lifts
        all but a rejection."""
        if change.id not in self.config.approve:
            return found
        waived = [
            Finding("eligible", f.rule, f"waived by a person: {f.reason}")
            if f.state in ("held", "cooling")
            else f
            for f in found
        ]
        return [*waived, Finding("eligible", TrustRule.APPROVAL, "a person approved this change")]

    def _living(self, change: Change) -> bool:
        """Whether the subject of the change may be a living person."""
        relation = self.relations.get(change.relation)
        person = relation is not None and relation.subject_type == "person"
        years = self.config.living_years
        return self.subjects.living(change.subject, person=person, years=years)

    def _setting(self, change: Change, name: str, usual: float) -> float:
        """A setting of the relation, else of the source, else the general one."""
        for given in (
            self.config.relations.get(change.relation),
            self.config.sources.get(change.source),
        ):
            if given is not None and getattr(given, name) is not None:
                return getattr(given, name)
        return usual

    def _weight(self, change: Change, standing: Standing) -> float:
        """Base trust of the source, times the probability that the revision is not reverted. A
        revision without a score counts as one at the limit."""
        if standing.own or self.config.revert_risk is None:
            return standing.base_trust
        risk = self.scores.get(change.revision_new or -1, self.config.revert_risk.limit)
        return standing.base_trust * (1 - risk)


def stated_values(change: Change) -> tuple[str, ...]:
    """The values that are current by a change: the new one, or all of a conflict."""
    return change.old_values if change.new_value is None else (change.new_value,)


def end_of(day: date) -> datetime:
    """The time that counts as now in an edition: the first moment after its day, UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def parse_time(text: str) -> datetime | None:
    """An ISO 8601 time, taken as UTC where it names no zone; None where the text is no time."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
