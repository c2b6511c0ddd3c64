"""Stage 5: changes and verdicts, under a policy, become the edits of the next release.

The one place where discovery's words (facts, changes, verdicts) meet the editors' (prompts,
targets). A plan is the whole composition of a release: edits carried over from the parent, minus
those the world has superseded, plus new ones within the budget. Every other change is refused,
held for a later edition, or put on the fact sheet, with the reason; `keep` is none of these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from discovery.facts.change import Change
from discovery.probe.intake import NEVER_SEEN, Intake, reader
from discovery.probe.output import UNEDITED, VERDICTS, Verdict, read_verdicts
from discovery.probe.route import RouteConfig, priority
from discovery.relations.relation import Relation
from discovery.snapshot.output import Snapshot
from discovery.trust.anomalies import Activity
from discovery.trust.assessment import ASSESSED
from discovery.trust.subjects import Subjects
from infra.execution.runner import Runner
from infra.models.loading import ModelRef
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import StageDir
from pipeline.plan.config import PlanConfig
from pipeline.plan.edits import (
    PlannedEdit,
    Removal,
    edit_id,
)
from pipeline.plan.fact_sheet import SheetRow, fact_sheet
from pipeline.plan.neighbours import choose_neighbours, other_facts, prompt_of
from pipeline.plan.output import Plan
from pipeline.plan.removals import removals
from pipeline.plan.triage import Triage


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What an edition's plan is made from."""

    intake: Intake
    verdicts: Mapping[str, Verdict]
    """By id, of the changes that the model was asked about, as it is served now."""
    unedited: Mapping[str, Verdict] = field(default_factory=dict)
    """The base model's, of changes to facts that the model was edited for."""
    live: Sequence[PlannedEdit] = ()
    aside: Sequence[PlannedEdit] = ()
    """Edits that the parent had to set aside: their facts are no change any more, and they are
    tried again."""
    sheet: Sequence[SheetRow] = ()
    """The parent's fact sheet."""
    subjects: Subjects
    """The new snapshot's facts of all subjects concerned (`concerned`)."""
    relations: Mapping[str, Relation]

    @property
    def changes(self) -> list[Change]:
        return self.intake.changes


@dataclass(frozen=True, kw_only=True)
class PlanInputs:
    """What a plan is made from."""

    version: str
    line: str
    """Name of the model line."""
    base: ModelRef
    parent: Artifact | None
    """The release that the new one follows."""
    diff: Artifact
    probe: Artifact
    snapshot: Snapshot
    relations: Mapping[str, Relation]
    history: Sequence[Sequence[Activity]]
    """How much changed in each of the editions before, oldest first."""
    live: Sequence[PlannedEdit]
    """Edits of the parent."""
    aside: Sequence[PlannedEdit]
    """Edits that the parent had to set aside."""
    sheet: Sequence[SheetRow]
    """The parent's fact sheet."""
    config: PlanConfig
    route: RouteConfig
    approve: frozenset[str]
    """Ids of changes that a person has looked at."""

    def situation(self) -> Situation:
        """All of it read, with the facts of the subjects concerned."""
        intake = Intake.read(self.probe, self.history)
        wanted = {row.subject for row in (*self.live, *self.aside, *self.sheet)}
        wanted |= {c.subject for c in intake.changes if c.kind in ASSESSED}
        return Situation(
            intake=intake,
            verdicts=read_verdicts(self.probe, VERDICTS),
            unedited=read_verdicts(self.probe, f"{UNEDITED}/{VERDICTS}"),
            live=self.live,
            aside=self.aside,
            sheet=self.sheet,
            subjects=reader(self.snapshot, self.relations)(wanted),
            relations=self.relations,
        )


def plan(inputs: PlanInputs, out: StageDir, runner: Runner) -> dict[str, Any]:
    """Write the plan with its hash (`pipeline.plan.output`); return counts. Needs no worker."""
    made = make_plan(
        inputs.situation(),
        version=inputs.version,
        line=inputs.line,
        config=inputs.config,
        route=inputs.route,
        approve=inputs.approve,
    )
    plan_hash = made.write(
        out,
        policy={**inputs.config.model_dump(), "route": inputs.route.model_dump()},
        inputs={
            "base": inputs.base.digest,
            "parent": inputs.parent.digest if inputs.parent else "",
            "diff": inputs.diff.digest,
            "probe": inputs.probe.digest,
        },
    )
    return {
        "plan_hash": plan_hash,
        "actions": Counter(edit.action for edit in made.edits),
        "removed": len(made.removals),
        "refused": len(made.refusals),
        "refusals": Counter(refusal.reason for refusal in made.refusals),
        "held": Counter(f"{h.state}: {h.rules[0]}" for h in made.held),
        "sheet": len(made.sheet),
        "routed": Counter(made.routed.values()),
        "neighbours": len(made.neighbours),
        "preserved": len(made.preserved),
    }


def make_plan(
    situation: Situation,
    *,
    version: str,
    line: str,
    config: PlanConfig,
    route: RouteConfig,
    approve: frozenset[str] = frozenset(),
) -> Plan:
    """The plan as a value; pure.

    approve  ids of changes that a person has looked at: edited even where the model's answers are
             inconsistent
    """
    s, relations = situation, situation.relations
    gone = removals(s.live, s.changes, s.subjects, s.intake.trusted)
    triage = Triage(s.intake, s.verdicts, relations, route, version)
    triage.sort_out(
        teach_unknown=config.teach_unknown,
        approve=approve,
        knows_without=_knows_without(s, gone),
    )
    wanted = triage.without_conflicts()
    priorities = {c.id: _priority(c, s) for c in wanted}
    wanted.sort(key=lambda c: (s.verdicts[c.id].verdict != "stale", -priorities[c.id], c.id))
    over = f"over the budget of {config.max_edits} edits"
    for change in wanted[config.max_edits :]:
        triage.hold(change, "eligible", [("edit budget", over)], route="fact sheet")
    new = [
        _edit(c, s.verdicts[c.id], relations[c.relation], version, line, priorities[c.id])
        for c in wanted[: config.max_edits]
    ]
    new += _again(s, new, version)[: config.max_edits - len(new)]
    left = {removal.id for removal in gone} | {edit.id for edit in new}
    carried = [replace(edit, action="carry") for edit in s.live if edit.id not in left]
    edits = sorted([*carried, *new], key=lambda edit: edit.id)
    others = other_facts([c for c in s.changes if s.intake.trusted(c)], edits, relations)
    return Plan(
        edits,
        gone,
        triage.refusals,
        triage.held,
        fact_sheet(s.sheet, triage.for_sheet, edits, s.subjects, relations, version=version),
        choose_neighbours(others[: config.max_neighbours], edits, relations),
        [
            f"{prompt_of(change, relations)} {change.new_label}."
            for change in others[config.max_neighbours :][: config.max_preserved]
        ],
        triage.routed,
    )


def _knows_without(s: Situation, gone: Sequence[Removal]) -> frozenset[str]:
    """Changes whose new value the model says by itself once the edit that goes is gone."""
    freed = {(removal.subject, removal.relation) for removal in gone}
    return frozenset(
        c.id
        for c in s.changes
        if (c.subject, c.relation) in freed
        and c.id in s.unedited
        and s.unedited[c.id].verdict == "knows"
    )


def _priority(change: Change, s: Situation) -> float:
    found = s.intake.assessments.get(change.id)
    rate = s.intake.rates.get(change.relation, NEVER_SEEN)
    return priority(change, s.verdicts[change.id], rate, found.weight if found else 1.0)


def _edit(
    change: Change, verdict: Verdict, relation: Relation, version: str, line: str, priority: float
) -> PlannedEdit:
    label, target, value = change.subject_label, change.new_label, change.new_value
    assert label is not None and target is not None and value is not None  # screened by the route
    prompt = relation.prompt(relation.statements[0], label)
    return PlannedEdit(
        id=edit_id(change.subject, change.relation, value, line),
        action="teach" if verdict.verdict == "unknown" else "correct",
        subject=change.subject,
        subject_label=label,
        relation=change.relation,
        prompt=prompt.text,
        subject_start=prompt.subject_span[0],
        subject_end=prompt.subject_span[1],
        target=target,
        target_value=value,
        accepted=(target, *change.new_aliases),
        old_targets=change.old_labels,
        held_out=tuple(relation.prompt(t, label).text for t in relation.held_out),
        unrelated=tuple(relation.prompt(t, label).text for t in relation.unrelated),
        since=version,
        priority=priority,
        reason=f"{verdict.verdict}: {verdict.reason}",
        change_id=change.id,
        source=change.source,
        statement=change.new_statement,
        revision=change.revision_new,
        revision_time=change.revision_time,
        references=change.references,
    )


def _again(s: Situation, new: Sequence[PlannedEdit], version: str) -> list[PlannedEdit]:
    """Edits that were set aside, as new ones, unless the world has moved on."""
    taken = {(edit.subject, edit.relation) for edit in new}
    moved = {r.id for r in removals(s.aside, s.changes, s.subjects, lambda change: True)}
    return [
        replace(
            edit,
            action="correct" if edit.old_targets else "teach",
            since=version,
            reason=f"set aside in {edit.since}, tried again; {edit.reason}",
        )
        for edit in s.aside
        if edit.id not in moved and (edit.subject, edit.relation) not in taken
    ]
