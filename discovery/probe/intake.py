"""The intake of an edition: the diff's changes together with those held from earlier editions.

Each change is judged by the trust policy and routed before the model is asked, since a question is
worth asking only about a change that may be planned. Files: `discovery.probe.output`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
from infra.http.limits.rate_limit import RateLimit
from infra.http.private import PrivateAddresses
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import StageDir


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What an edition needs to know of the editions before it."""

    held: Iterable[HeldChange] = ()
    """Changes that earlier editions held; read twice."""
    history: Sequence[Sequence[Activity]] = ()
    """Activity of each edition before, the oldest first."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The settings of an intake."""

    trust: TrustConfig
    """When a change may be acted on."""
    route: RouteConfig
    """Which changes go to the fact sheet."""
    standings: Mapping[str, Standing]
    """Source name -> how far the source itself is trusted."""
    max_asked: int
    """The model is asked about at most so many changes in one edition."""


@dataclass(frozen=True)
class Intake:
    """The changes of an edition, with the judgement of trust on each."""

    changes: list[Change]
    """The diff's changes and the held changes that are taken up again."""
    assessments: dict[str, Assessment]
    """Change id -> assessment, for changes that would teach the model something."""
    counted: list[Activity]
    """How many subjects each user, domain and relation changed in this edition."""
    rates: dict[str, float]
    """Relation -> share of its subjects that change in an edition."""
    since: dict[str, str]
    """Id of a change taken up again -> version of the edition that first held it."""
    dropped: list[HeldChange]
    """Held changes that are no longer held, with the reason."""
    asked: list[str]
    """Ids of the changes that the model is asked about, the most important first."""

    def trusted(self, change: Change) -> bool:
        """Whether a change may be acted on: trust finds it eligible, or did not have to assess
        it."""
        found = self.assessments.get(change.id)
        return found is None or found.state == "eligible"

    def write(self, out: StageDir) -> dict[str, Any]:
        """Write the files of the intake, and return counts for the record."""
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
        """The intake that `write` wrote.

        probed   output of the probe stage
        history  activity of each edition before, the oldest first
        """
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
    """Merge the changes with those held, judge each, and choose those to ask the model about.

    earlier    what earlier editions held, and their activity
    read       gives the later snapshot's facts and names of some subjects
    relations  relation id -> relation
    as_of      the day of the edition
    live       (subject, relation) of the edits in the model now; these are asked about first
    rate       gives the revert risk by revision, for the revisions of some changes

    Pure, except for `read` and `rate`.
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
    """Changes in the order in which the model is asked about them.

    Changes to facts with a live edit come first, then those most worth asking (`worth_asking`);
    among equals, changes of this edition come before those taken up again.

    live   (subject, relation) of the edits in the model now
    rates  relation -> share of its subjects that change in an edition
    since  ids of the changes that were taken up again
    """
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
"""Change rate of a relation that no edition has counted yet: (0 + 1) / (0 + 2)."""


def reader(snapshot: Snapshot, relations: Mapping[str, Relation]) -> Callable[[set[str]], Subjects]:
    """The function that reads some subjects from a snapshot (`take_in`)."""
    return partial(read_subjects, snapshot, functional=functional_of(relations))


def rater(
    trust: TrustConfig, standings: Mapping[str, Standing], rate_limit: RateLimit
) -> Callable[[Sequence[Change]], Mapping[int, float]]:
    """The function that gives the revert risk of changes by revision (`take_in`).

    It asks the service that the trust config names; without one it returns an empty mapping.
    """
    config = trust.revert_risk

    def rate(changes: Sequence[Change]) -> Mapping[int, float]:
        if config is None:
            return {}
        filled = config.filled("trust.revert_risk")
        with PoliteClient(
            source="revert risk",
            contact=config.contact,
            addresses=PrivateAddresses(filled.addresses, filled.scrubber),
            rate_limit=rate_limit,
            min_interval_s=config.min_interval_s,
        ) as client:
            return scores(to_rate(changes, standings, config), client, config)

    return rate
