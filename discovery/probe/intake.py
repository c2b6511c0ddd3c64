"""What an edition takes in: the diff's changes and those held from earlier, each judged by trust
and sent on its way, before the model is asked about any of them.

Only what may be planned is worth asking about. Files: `discovery.probe.output`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import pyarrow as pa

from discovery.facts.change import CHANGE_SCHEMA, Change, DiffRule
from discovery.facts.tables import from_table, to_table
from discovery.probe.output import (
    ACTIVITY,
    ASKED,
    ASSESSMENTS,
    CHANGES,
    DROPPED,
    TAKEN_UP,
    TAKEN_UP_SCHEMA,
)
from discovery.probe.route import RouteConfig, route_change, worth_asking
from discovery.relations.relation import Relation, functional_of
from discovery.snapshot.output import Snapshot
from discovery.trust.anomalies import ACTIVITY_SCHEMA, Activity, activity, anomalies, rates
from discovery.trust.assessment import ASSESSED, ASSESSMENT_SCHEMA, Assessment, Assessor, end_of
from discovery.trust.backlog import HeldChange, carry_over, held_table, read_held
from discovery.trust.policy import Standing, TrustConfig
from discovery.trust.revert_risk import scores, to_rate
from discovery.trust.subjects import Subjects, read_subjects
from infra.http.client import PoliteClient
from infra.http.rate_limit import RateLimit
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import StageDir


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What earlier editions left behind."""

    held: Sequence[HeldChange] = ()
    history: Sequence[Sequence[Activity]] = ()
    """Counts of the editions before, oldest first."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The settings that the intake goes by."""

    trust: TrustConfig
    route: RouteConfig
    standings: Mapping[str, Standing]
    max_asked: int
    """Changes that may be put to the model in one edition."""


@dataclass(frozen=True)
class Intake:
    """An edition's changes, judged."""

    changes: list[Change]
    assessments: dict[str, Assessment]
    """By change id, of the kinds that would put something into the model."""
    counted: list[Activity]
    rates: dict[str, float]
    """Share of a relation's subjects that change in an edition."""
    since: dict[str, str]
    """By id, of changes taken up, the version that first held them."""
    dropped: list[HeldChange]
    asked: list[str]
    """Ids, the most worth asking first."""

    def trusted(self, change: Change) -> bool:
        """Whether nothing speaks against acting on a change."""
        found = self.assessments.get(change.id)
        return found is None or found.state == "eligible"

    def write(self, out: StageDir) -> dict[str, Any]:
        """All tables but the verdicts; counts."""
        out.write_table(CHANGES, to_table(self.changes, CHANGE_SCHEMA))
        rows = [self.assessments[c.id] for c in self.changes if c.id in self.assessments]
        out.write_table(ASSESSMENTS, to_table(rows, ASSESSMENT_SCHEMA))
        out.write_table(ACTIVITY, to_table(self.counted, ACTIVITY_SCHEMA))
        taken = [{"change_id": key, "since": at} for key, at in sorted(self.since.items())]
        out.write_table(TAKEN_UP, pa.Table.from_pylist(taken, schema=TAKEN_UP_SCHEMA))
        out.write_table(DROPPED, held_table(self.dropped))
        out.write_json(ASKED, self.asked)
        return {
            "states": Counter(row.state for row in rows),
            "taken_up": len(self.since),
            "dropped": len(self.dropped),
        }

    @classmethod
    def read(cls, probed: Artifact, history: Sequence[Sequence[Activity]]) -> Intake:
        """What `write` wrote."""
        taken = probed.table(TAKEN_UP).to_pylist()
        counted = from_table(probed.table(ACTIVITY), Activity)
        judged = from_table(probed.table(ASSESSMENTS), Assessment)
        return cls(
            changes=from_table(probed.table(CHANGES), Change),
            assessments={row.change_id: row for row in judged},
            counted=counted,
            rates=rates([*history, counted]),
            since={row["change_id"]: row["since"] for row in taken},
            dropped=read_held(probed.table(DROPPED)),
            asked=probed.json(ASKED),
        )


def take_in(
    changes: Sequence[Change],
    earlier: Earlier,
    read: Callable[[set[str]], Subjects],
    relations: Mapping[str, Relation],
    *,
    as_of: date,
    live: frozenset[tuple[str, str]],
    policy: Policy,
    rate: Callable[[Sequence[Change]], Mapping[int, float]] = lambda changes: {},
) -> Intake:
    """Merge, judge and choose; pure but for `read` and `rate`.

    read  the new snapshot's facts and names of some subjects
    live  (subject, relation) of the edits that are in the model now: they are asked about first
    rate  the revert risk of the revisions of some changes
    """
    subjects = read(
        {h.change.subject for h in earlier.held}
        | {c.subject for c in changes if c.kind in ASSESSED}
    )
    merged = carry_over(earlier.held, changes, subjects)
    counted = activity([c for c in changes if c.rule != DiffRule.DERIVED])
    judged = [c for c in merged.changes if c.kind in ASSESSED and c.rule != DiffRule.DERIVED]
    assessor = Assessor(
        config=policy.trust,
        now=end_of(as_of),
        subjects=subjects,
        standings=policy.standings,
        relations=relations,
        anomalies=anomalies(counted, earlier.history, policy.trust),
        scores=rate(judged),
        lasting=merged.lasting,
    )
    assessments = {c.id: assessor.assess(c, anew=c.id not in merged.since) for c in judged}
    shares = rates([*earlier.history, counted])
    eligible = [
        c
        for c in judged
        if assessments[c.id].state == "eligible"
        and route_change(c, relations, policy.route).to == "weights"
    ]
    eligible = in_order(eligible, live, shares, merged.since)
    return Intake(
        merged.changes,
        assessments,
        counted,
        shares,
        merged.since,
        merged.dropped,
        [c.id for c in eligible[: policy.max_asked]],
    )


def in_order(
    eligible: Sequence[Change],
    live: Collection[tuple[str, str]],
    rates: Mapping[str, float],
    since: Collection[str],
) -> list[Change]:
    """Changes, the first to be asked about first: those of live edits, then by what they are worth,
    those of this edition before those of earlier ones (`since`)."""
    return sorted(
        eligible,
        key=lambda c: (
            (c.subject, c.relation) not in live,
            -worth_asking(c, rates.get(c.relation, NEVER_SEEN)),
            c.id in since,
            c.id,
        ),
    )


NEVER_SEEN = 0.5
"""Change rate of a relation of which no edition has been counted: (0 + 1) / (0 + 2)."""


def reader(snapshot: Snapshot, relations: Mapping[str, Relation]) -> Callable[[set[str]], Subjects]:
    """Reads some subjects out of a snapshot."""
    return partial(read_subjects, snapshot, functional=functional_of(relations))


def rater(
    trust: TrustConfig, standings: Mapping[str, Standing], rate_limit: RateLimit
) -> Callable[[Sequence[Change]], Mapping[int, float]]:
    """Asks the service of the config about revisions; nothing where there is none."""
    config = trust.revert_risk

    def rate(changes: Sequence[Change]) -> Mapping[int, float]:
        if config is None:
            return {}
        with PoliteClient(
            source="revert risk",
            contact=config.contact,
            rate_limit=rate_limit,
            min_interval_s=config.min_interval_s,
        ) as client:
            return scores(to_rate(changes, standings, config), client, config)

    return rate
