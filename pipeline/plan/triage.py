"""Decide for each change whether it is edited, held, refused, or put on the fact sheet.

A held change may be on the fact sheet while it waits. Changes of kind `keep` need no decision.
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
from infra.lm.normal_form import normalise
from pipeline.plan.edits import Refusal


@dataclass
class Triage:
    """Lists of changes by what is done with them; `sort_out` fills them."""

    intake: Intake
    """The edition's changes, and what trust says of each."""
    verdicts: Mapping[str, Verdict]
    """Change id -> verdict of the model, for the changes it was asked about."""
    relations: Mapping[str, Relation]
    config: RouteConfig
    """Settings that decide which kinds of facts are edited."""
    version: str
    """Version of the release to be planned."""
    wanted: list[Change] = field(default_factory=list)
    """Changes to be edited."""
    held: list[HeldChange] = field(default_factory=list)
    """Changes that wait for a later edition."""
    refusals: list[Refusal] = field(default_factory=list)
    """Changes about which nothing is done, now or later."""
    for_sheet: list[tuple[Change, Route]] = field(default_factory=list)
    """Changes whose values go on the fact sheet, for good or while they wait, with their routes."""
    routed: dict[str, str] = field(default_factory=dict)
    """Change id -> rule, of changes that are put on the fact sheet for good."""

    def sort_out(
        self,
        *,
        teach_unknown: bool,
        approve: Collection[str],
        knows_without: Collection[str],
    ) -> None:
        """Put every change into its list.

        teach_unknown  whether facts that the model does not know are edited
        approve        ids of changes that a person has approved
        knows_without  ids of changes whose value the model gives once an outdated edit is removed
        """
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
        """The wanted changes without contradictions.

        Changes with the same subject name and relation but different objects would be written for
        the same prompt; all of them are refused.
        """
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
        """Keep a change for a later edition.

        state  the state that trust gave it, or `scheduled` or `undecided`
        why    the rules that make it wait, each with a sentence
        route  where it goes meanwhile: `fact sheet`, `scheduled` or `none`
        """
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
        """Record that nothing is done about a change, now or later."""
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
        """The route of a change that could be edited; None if it is held, which is done here."""
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
        """Put a change into the list that its route names."""
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
    """Held changes in the form of refusals, for the page's list of changes that were not edited.

    The reason is the rule's name, so that changes can be counted by it; the sentences differ.
    """
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
