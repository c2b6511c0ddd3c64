"""Stage 5: changes and verdicts, under a policy, become the edits of the next release.

Here discovery's records (facts, changes, verdicts) are turned into the editors' records (prompts,
targets). A plan has all edits of a release: those of the parent, without those that the sources
have superseded, and new ones within the budget. Every other change is refused, held for a later
edition, or put on the fact sheet, with the reason; a change of kind `keep` needs no decision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
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
from pipeline.plan.lanes import UNBOUNDED, WEIGHTS_FULL, Lanes, divide
from pipeline.plan.neighbours import choose_neighbours, other_facts, prompt_of
from pipeline.plan.output import Plan
from pipeline.plan.removals import removals
from pipeline.plan.triage import Triage


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the plan is computed from, read from the files of the stages before."""

    intake: Intake
    """The edition's changes, and what trust says of each."""
    verdicts: Mapping[str, Verdict]
    """Change id -> verdict of the model that is served now, for the changes it was asked about."""
    unedited: Mapping[str, Verdict] = field(default_factory=dict)
    """Change id -> verdict of the unedited model, for changes to facts that an edit wrote."""
    live: Sequence[PlannedEdit] = ()
    """Edits of the parent release."""
    aside: Sequence[PlannedEdit] = ()
    """Edits that the parent release failed to make. They are tried again from here, for the diff
    shows their facts as unchanged."""
    full: Sequence[PlannedEdit] = ()
    """Edits for which the weights of the parent release had no room."""
    sheet: Iterable[SheetRow] = ()
    """The parent's fact sheet."""
    subjects: Subjects
    """The new snapshot's facts of all subjects of changes, edits and the parent's fact sheet."""
    relations: Mapping[str, Relation]

    @property
    def changes(self) -> list[Change]:
        """The edition's changes."""
        return self.intake.changes


@dataclass(frozen=True, kw_only=True)
class PlanInputs:
    """Inputs of the plan stage."""

    version: str
    """Version of the release to be planned."""
    line: str
    """Name of the model line."""
    base: ModelRef
    parent: Artifact | None
    """The release that the new one follows."""
    diff: Artifact
    """Output of the diff stage."""
    probe: Artifact
    """Output of the probe stage."""
    snapshot: Snapshot
    relations: Mapping[str, Relation]
    history: Sequence[Sequence[Activity]]
    """Counts of changes in each earlier edition, oldest first."""
    live: Sequence[PlannedEdit]
    """Edits of the parent release."""
    aside: Sequence[PlannedEdit]
    """Edits that the parent release failed to make."""
    full: Sequence[PlannedEdit]
    """Edits for which the weights of the parent release had no room."""
    sheet: Iterable[SheetRow]
    """The parent's fact sheet."""
    lanes: Lanes
    """Where facts are kept, and how many of them the weights hold."""
    config: PlanConfig
    route: RouteConfig
    approve: frozenset[str]
    """Ids of changes that a person has approved."""
    set_aside: frozenset[str] = frozenset()
    """In the plan of a second attempt, ids of edits that the first one could not make: refused by
    the editor, or found to be culprits."""

    def situation(self) -> Situation:
        """Read the inputs' files, and the snapshot's facts of all subjects in the plan."""
        intake = Intake.read(self.probe, self.history)
        wanted = {row.subject for row in chain(self.live, self.aside, self.full, self.sheet)}
        wanted |= {c.subject for c in intake.changes if c.kind in ASSESSED}
        return Situation(
            intake=intake,
            verdicts=read_verdicts(self.probe, VERDICTS),
            unedited=read_verdicts(self.probe, f"{UNEDITED}/{VERDICTS}"),
            live=self.live,
            aside=self.aside,
            full=self.full,
            sheet=self.sheet,
            subjects=reader(self.snapshot, self.relations)(wanted),
            relations=self.relations,
        )


def plan(inputs: PlanInputs, out: StageDir, runner: Runner) -> dict[str, Any]:
    """Write the plan with its hash (`pipeline.plan.output`); return counts. Starts no worker."""
    made = make_plan(
        inputs.situation(),
        version=inputs.version,
        line=inputs.line,
        config=inputs.config,
        route=inputs.route,
        approve=inputs.approve,
        lanes=inputs.lanes,
        set_aside=inputs.set_aside,
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
        "lanes": Counter(edit.lane for edit in (*made.edits, *made.full)),
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
    lanes: Lanes = UNBOUNDED,
    set_aside: frozenset[str] = frozenset(),
) -> Plan:
    """The plan as a value. A pure function.

    version    version of the release to be planned
    line       name of the model line
    approve    ids of changes that a person has approved; such a change is edited even if the
               model's answers about it are inconsistent
    lanes      where facts are kept, and how many of them the weights hold
    set_aside  ids of edits that will not be made, and so take no room in a lane
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
    new += _again(s, s.aside, new, version)[: config.max_edits - len(new)]
    waiting = sorted(_again(s, s.full, new, version), key=lambda edit: (-edit.priority, edit.id))
    num_taken = config.max_edits - len(new)
    left = {removal.id for removal in gone} | {edit.id for edit in new}
    carried = [replace(edit, action="carry") for edit in s.live if edit.id not in left]
    placed = divide([*carried, *new, *waiting[:num_taken]], lanes, set_aside)
    placed += [replace(edit, lane="sheet") for edit in waiting[num_taken:]]
    placed.sort(key=lambda edit: edit.id)
    edits = [edit for edit in placed if edit.lane != "sheet"]
    full = [edit for edit in placed if edit.lane == "sheet"]
    changed = {change.id for change in wanted}
    no_room = {edit.change_id: WEIGHTS_FULL for edit in full if edit.change_id in changed}
    triage.routed |= no_room
    kept = [c for c in s.changes if s.intake.trusted(c) and c.id not in no_room]
    others = other_facts(kept, edits, relations)
    return Plan(
        edits,
        gone,
        triage.refusals,
        triage.held,
        fact_sheet(
            s.sheet,
            triage.for_sheet,
            edits,
            s.subjects,
            relations,
            version=version,
            full=full,
            why_full=lanes.full or over,
        ),
        choose_neighbours(others[: config.max_neighbours], edits, relations),
        [
            f"{prompt_of(change, relations)} {change.new_label}."
            for change in others[config.max_neighbours :][: config.max_preserved]
        ],
        triage.routed,
        full,
    )


def _knows_without(s: Situation, gone: Sequence[Removal]) -> frozenset[str]:
    """Ids of changes whose new value the model gives once the edit of their fact is removed."""
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
    prompt, *others = (relation.prompt(template, label) for template in relation.statements)
    question = relation.asked(relation.question, label)
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
        wordings=tuple(other.text for other in others),
        wording_starts=tuple(other.subject_span[0] for other in others),
        question=question.text,
        question_start=question.subject_span[0],
        held_out_questions=tuple(
            relation.asked(template, label).text for template in relation.held_out_questions
        ),
        subject_aliases=change.subject_aliases,
    )


def _again(
    s: Situation, edits: Sequence[PlannedEdit], new: Sequence[PlannedEdit], version: str
) -> list[PlannedEdit]:
    """Edits that the parent release did not make, as new edits; outdated ones are left out."""
    taken = {(edit.subject, edit.relation) for edit in new}
    moved = {r.id for r in removals(edits, s.changes, s.subjects, lambda change: True)}
    return [
        replace(
            edit,
            action="correct" if edit.old_targets else "teach",
            since=version,
            reason=edit.reason
            if edit.lane == "sheet"
            else f"set aside in {edit.since}, tried again; {edit.reason}",
        )
        for edit in edits
        if edit.id not in moved and (edit.subject, edit.relation) not in taken
    ]
