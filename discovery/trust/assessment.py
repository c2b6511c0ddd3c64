"""Each change's state, with every rule that had a say in it.

    rejected   never acted on: a denied property of a living person
    held       waits for a person, or for better evidence
    cooling    waits for time to pass
    eligible   may be planned

The worst finding decides; the others are told all the same. `plan` and `release` go on from there
(planned, applied, reverted).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import pyarrow as pa

from discovery.facts.change import Change
from discovery.relations.relation import Relation
from discovery.trust.anomalies import actors
from discovery.trust.evidence import voices
from discovery.trust.policy import Standing, TrustConfig, sensitive
from discovery.trust.subjects import Subjects

State = Literal["rejected", "held", "cooling", "eligible"]
SEVERITY: tuple[State, ...] = ("rejected", "held", "cooling", "eligible")
ASSESSED = frozenset({"learn", "replace", "conflict"})
"""Kinds of change that would put something into the model or the fact sheet."""
RISK = "revert risk"
BULK = "bulk "
"""The rule of a set that the breaker holds goes on with its name: `bulk user:NAME`."""
CLOCK_SLACK = timedelta(minutes=5)
"""Clocks that differ by so little are right."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule says of a change."""

    state: State
    rule: str
    reason: str
    """One sentence for a person."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """A change's state and all reasons for it."""

    change_id: str
    state: State
    rules: tuple[str, ...] = ()
    """Those that had a say; the worst finding first."""
    states: tuple[State, ...] = ()
    """What each of them asks for."""
    reasons: tuple[str, ...] = ()
    """A sentence of each."""
    weight: float = 1.0
    """Trust as a factor of the priority, 0 to 1."""

    @property
    def decisive(self) -> list[tuple[str, str]]:
        """Rule and sentence of the findings that put the change into its state."""
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
    """Everything that a change is judged by."""

    config: TrustConfig
    now: datetime
    """The end of the edition's day; no clock is read."""
    subjects: Subjects
    standings: Mapping[str, Standing] = field(default_factory=dict)
    """By source; one that is not here is public."""
    relations: Mapping[str, Relation] = field(default_factory=dict)
    anomalies: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """In this edition's diff: who, and the sentence."""
    scores: Mapping[int, float] = field(default_factory=dict)
    """Probability that a revision is reverted, of those that were rated."""
    lasting: Mapping[str, Sequence[Finding]] = field(default_factory=dict)
    """By change id, findings of an earlier edition that stand."""

    def assess(self, change: Change, *, anew: bool = True) -> Assessment:
        """The state of one change that would put something into the model.

        anew  whether it is of this edition's diff; of one taken up the breaker has judged before
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
        rule = sensitive().get(change.relation)
        if rule is None or not self._living(change):
            return []
        about = f"{change.relation} ({rule.label}) of a living person is sensitive ({rule.group})"
        if rule.action == "deny":
            return [Finding("rejected", "living person", f"{about}: never edited")]
        if standing.own:
            return [Finding("eligible", "living person", f"{about}; the source is the team's own")]
        return [Finding("held", "living person", f"{about}: a person has to look at it")]

    def _clock(self, change: Change, standing: Standing) -> list[Finding]:
        """Cool-down, and revisions from the future."""
        if change.revision_time is None:
            return []
        at = parse_time(change.revision_time)
        if at is None:
            reason = f"the revision's time {change.revision_time[:40]!r} is no ISO 8601 time"
            return [Finding("held", "clock", reason)]
        if at > self.now + CLOCK_SLACK:
            reason = f"the revision is of {_text(at)}, after the edition's day ({_text(self.now)})"
            return [Finding("held", "clock", reason)]
        if standing.own:
            return []
        hours = self._setting(change, "cool_down_h", self.config.cool_down_h)
        ready = at + timedelta(hours=hours)
        if ready > self.now:
            reason = (
                f"revision {change.revision_new or change.revision_old} is of {_text(at)}; it "
                f"cools down for {hours:g} h, until {_text(ready)}"
            )
            return [Finding("cooling", "cool-down", reason)]
        reason = f"the revision of {_text(at)} has stood for more than {hours:g} h"
        return [Finding("eligible", "cool-down", reason)]

    def _sources(self, change: Change, standing: Standing) -> list[Finding]:
        """Quarantined sources, and sources that contradict one another."""
        found = []
        if standing.quarantined:
            reason = f"source {change.source} is read by an extractor: a person has to look at it"
            if standing.base_trust == 0:
                reason = f"source {change.source} has no trust of its own: a person has to look"
            found.append(Finding("held", "source", reason))
        elif standing.own:
            found.append(Finding("eligible", "source", f"source {change.source} is the team's own"))
        if change.kind == "conflict" and change.rule == "2":
            where = [
                (label, self.subjects.sources_of(change.subject, change.relation, value))
                for value, label in zip(change.old_values, change.old_labels, strict=True)
            ]
            if len({name for _, names in where for name in names}) > 1:
                said = "; ".join(
                    f"{', '.join(names) or change.source}: {label}" for label, names in where
                )
                found.append(Finding("held", "contradiction", f"sources disagree: {said}"))
        return found

    def _quorum(self, change: Change, standing: Standing) -> list[Finding]:
        if standing.own:
            return []
        living = self._living(change)
        wanted = int(self._setting(change, "quorum", self.config.quorum))
        if living:
            wanted = max(wanted, self.config.quorum_living)
        heard = min(
            (sorted(self._voices(change, value)) for value in stated_values(change)), key=len
        )
        about = f"{len(heard)} of {wanted} independent voices"
        about += f" ({', '.join(heard)})" if heard else ""
        about += ", for it is about a living person" if living else ""
        return [Finding("eligible" if len(heard) >= wanted else "held", "quorum", about)]

    def _voices(self, change: Change, value: str) -> frozenset[str]:
        """Who says that the value holds."""
        agreeing = self.subjects.agreeing(change.subject, change.relation, value, change.source)
        if value == change.new_value:
            return voices(change.references, agreeing)
        group = self.subjects.facts.get((change.subject, change.relation), ())
        references = {text for f in group if f.value == value for text in f.references}
        return voices(references, agreeing)

    def _risk(self, change: Change, standing: Standing) -> list[Finding]:
        """A revision that was not rated is neither safe nor suspect."""
        if standing.own or self.config.revert_risk is None or change.revision_new is None:
            return []
        score = self.scores.get(change.revision_new)
        if score is None:
            earlier = [f for f in self.lasting.get(change.id, ()) if f.rule == RISK]
            if earlier:
                return earlier
            return [Finding("eligible", RISK, "the revision was not rated")]
        limit = self.config.revert_risk.limit
        about = f"revision {change.revision_new} is reverted with probability {score:.2f}"
        if score > limit:
            return [Finding("held", RISK, f"{about}, more than {limit:g}")]
        return [Finding("eligible", RISK, about)]

    def _bulk(self, change: Change, anew: bool) -> list[Finding]:
        """Each set that the change belongs to by itself: approving one lifts no other."""
        if anew:
            named = [actor for actor in actors(change) if actor in self.anomalies]
            rows = [(f"{BULK}{kind}:{name}", self.anomalies[kind, name]) for kind, name in named]
            found = [Finding("held", rule, reason) for rule, reason in rows]
        else:
            found = [f for f in self.lasting.get(change.id, ()) if f.rule.startswith(BULK)]
        return [
            Finding("eligible", f.rule, f"a person approved it: {f.reason}")
            if f.rule.removeprefix(BULK) in self.config.approve
            else f
            for f in found
        ]

    def _approved(self, change: Change, found: list[Finding]) -> list[Finding]:
        """A change that a person has looked at; what is denied stays denied."""
        if change.id not in self.config.approve:
            return found
        waived = [
            Finding("eligible", f.rule, f"waived by a person: {f.reason}")
            if f.state in ("held", "cooling")
            else f
            for f in found
        ]
        return [*waived, Finding("eligible", "approval", "a person approved this change")]

    def _living(self, change: Change) -> bool:
        relation = self.relations.get(change.relation)
        person = relation is not None and relation.subject_type == "person"
        years = self.config.living_years
        return self.subjects.living(change.subject, person=person, years=years)

    def _setting(self, change: Change, name: str, usual: float) -> float:
        """A setting of the relation, else of the source, else of all."""
        for given in (
            self.config.relations.get(change.relation),
            self.config.sources.get(change.source),
        ):
            if given is not None and getattr(given, name) is not None:
                return getattr(given, name)
        return usual

    def _weight(self, change: Change, standing: Standing) -> float:
        """Trust of the source; less the risk, where an unrated revision counts as the worst that is
        allowed."""
        if standing.own or self.config.revert_risk is None:
            return standing.base_trust
        risk = self.scores.get(change.revision_new or -1, self.config.revert_risk.limit)
        return standing.base_trust * (1 - risk)


def lasts(rule: str, *, same_revision: bool) -> bool:
    """Whether a finding stands in later editions, which cannot see what it was found by: of a bulk
    anomaly until a person lifts it, of a revision's risk until there is a newer one."""
    return rule.startswith(BULK) or (rule == RISK and same_revision)


def stated_values(change: Change) -> tuple[str, ...]:
    """The values that a change says hold now: of a conflict, all of them."""
    return change.old_values if change.new_value is None else (change.new_value,)


def end_of(day: date) -> datetime:
    """The clock of an edition: the first moment after its day, UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def parse_time(text: str) -> datetime | None:
    """An ISO 8601 time, in UTC where it names no zone; None where it is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
