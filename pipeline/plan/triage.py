"""What becomes of each change: wanted as an edit, held, refused, or put on the fact sheet.

Every change but a `keep` is in exactly one of these lists.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from discovery.facts.change import Change
from discovery.probe.intake import Intake
from discovery.probe.output import Verdict
from discovery.probe.route import Route, RouteConfig, route_change, route_verdict
from discovery.relations.relation import Relation
from discovery.trust.backlog import HeldChange
from infra.lm.matching import normalise
from pipeline.plan.edits import Refusal


@dataclass
class Triage:
    """The lists, as they are filled."""

    intake: Intake
    verdicts: Mapping[str, Verdict]
    relations: Mapping[str, Relation]
    config: RouteConfig
    version: str
    wanted: list[Change] = field(default_factory=list)
    held: list[HeldChange] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    for_sheet: list[tuple[Change, Route]] = field(default_factory=list)
    """What retrieval serves: changes routed there, and those that do while they wait."""
    routed: dict[str, str] = field(default_factory=dict)
    """By id of the changes put on the fact sheet for good, the rule."""

    def sort_out(
        self,
        *,
        teach_unknown: bool,
        approve: Collection[str],
        knows_without: Collection[str],
    ) -> None:
        """Put every change where it belongs."""
        for change in self.intake.changes:
            found = self.intake.assessments.get(change.id)
            if found is not None and found.state == "rejected":
                rule, reason = found.decisive[0]
                self.refuse(change, rule, reason, state="rejected")
            elif found is not None and found.state != "eligible":
                self.hold(change, found.state, found.decisive)
            elif change.kind != "keep":
                route = route_change(change, self.relations, self.config)
                if route.to == "weights":
                    route = self._asked(change, teach_unknown, approve, knows_without)
                if route is not None:
                    self._send(change, route)

    def without_conflicts(self) -> list[Change]:
        """The wanted changes, less those that would write different objects behind the same words:
        all of these are refused."""
        objects: dict[tuple[str, str], set[str]] = {}
        for change in self.wanted:
            objects.setdefault(_words(change), set()).add(normalise(change.new_label or ""))
        kept = []
        for change in self.wanted:
            if len(objects[_words(change)]) > 1:
                reason = f"conflict: {change.subject_label!r} has several objects in this batch"
                self.refuse(change, "homonym", reason)
            else:
                kept.append(change)
        return kept

    def hold(
        self, change: Change, state: str, why: Sequence[tuple[str, str]], route: str = "none"
    ) -> None:
        """Keep a change for a later edition; `why` are rules and sentences."""
        verdict = self.verdicts.get(change.id)
        self.held.append(
            HeldChange(
                change=change,
                state=state,
                rules=tuple(rule for rule, _ in why),
                reasons=tuple(reason for _, reason in why),
                route=route,
                verdict=verdict.verdict if verdict else None,
                since=self.intake.since.get(change.id, self.version),
            )
        )
        if route == "fact sheet":
            self.for_sheet.append((change, Route("fact sheet", why[0][0], why[0][1])))

    def refuse(self, change: Change, rule: str, reason: str, state: str = "eligible") -> None:
        """Nothing is done about a change, now or later."""
        verdict = self.verdicts.get(change.id)
        self.refusals.append(
            Refusal(
                change_id=change.id,
                subject=change.subject,
                subject_label=change.subject_label,
                relation=change.relation,
                verdict=verdict.verdict if verdict else None,
                reason=reason,
                rule=rule,
                state=state,
            )
        )

    def _asked(
        self,
        change: Change,
        teach_unknown: bool,
        approve: Collection[str],
        knows_without: Collection[str],
    ) -> Route | None:
        """The route of a change that could be edited; None where it is dealt with."""
        verdict = self.verdicts.get(change.id)
        if verdict is None:
            over = f"over the probe budget of {len(self.intake.asked)} changes"
            self.hold(change, "eligible", [("probe budget", over)], route="fact sheet")
            return None
        if change.id in knows_without:
            reason = "without the edit that is taken out the model knows it"
            return Route("none", "knows", reason)
        route = route_verdict(change, verdict, self.config, teach_unknown=teach_unknown)
        if route.rule == "inconsistent" and change.id not in approve:
            self.hold(change, "held", [("review", route.reason)])
            return None
        return route

    def _send(self, change: Change, route: Route) -> None:
        """Carry out a route."""
        if route.to == "weights":
            self.wanted.append(change)
        elif route.to == "fact sheet":
            self.routed[change.id] = route.rule
            self.for_sheet.append((change, route))
        elif route.to == "scheduled":
            self.hold(change, "scheduled", [(route.rule, route.reason)], route="scheduled")
        elif route.rule == "undecided" and change.new_value is not None:
            self.hold(change, "undecided", [(route.rule, route.reason)])
        else:
            self.refuse(change, route.rule, route.reason)


def as_refusals(held: Sequence[HeldChange]) -> list[Refusal]:
    """Changes that wait, as a page lists them among those that were not edited: by rule, for the
    sentences differ in hours and names."""
    return [
        Refusal(
            change_id=h.change.id,
            subject=h.change.subject,
            subject_label=h.change.subject_label,
            relation=h.change.relation,
            verdict=h.verdict,
            reason=f"waits ({h.state}): {h.rules[0]}",
            rule=h.rules[0],
            state=h.state,
        )
        for h in held
    ]


def _words(change: Change) -> tuple[str, str]:
    return normalise(change.subject_label or ""), change.relation
