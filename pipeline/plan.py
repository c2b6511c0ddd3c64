"""Stage 5: changes and verdicts, under a policy, become the edits of the next release.

The one place where discovery's words (facts, changes, verdicts) meet the editors' (prompts,
targets). A plan is the whole composition of a release: edits carried over from the parent, minus
those the world has superseded, plus new ones within the budget; and everything that was refused,
with the reason.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from discovery.candidates import screen
from discovery.fact import Change, to_table
from discovery.verbalise import Relation
from discovery.verdict import Verdict
from infra.storage import StageDir, digest_of, file_digest
from infra.text import normalise
from pipeline.edits import (
    EDIT_SCHEMA,
    NEIGHBOUR_SCHEMA,
    REFUSAL_SCHEMA,
    REMOVAL_SCHEMA,
    Neighbour,
    PlannedEdit,
    Refusal,
    Removal,
    edit_id,
)

TABLES = ("edits", "removals", "refusals", "neighbours")
PRESERVED = "preserved.json"


class PlanConfig(BaseModel):
    """The policy: which verdicts are edited, and how many."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_edits: int = Field(default=1000, ge=1)
    """New edits in one release; corrections come before teaching, then higher priority."""
    teach_unknown: bool = False
    """Whether facts that the model does not know are taught, or only stale beliefs corrected."""
    max_neighbours: int = Field(default=64, ge=1)
    """Facts of other subjects kept for the locality evaluation; no editor sees them."""
    max_preserved: int = Field(default=500, ge=0)
    """Statements about yet other subjects that the editor is told to leave alone."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The composition of a release."""

    edits: list[PlannedEdit]
    removals: list[Removal]
    refusals: list[Refusal]
    neighbours: list[Neighbour]
    preserved: list[str]


def plan(
    changes: Sequence[Change],
    verdicts: Sequence[Verdict],
    live: Sequence[PlannedEdit],
    relations: Mapping[str, Relation],
    *,
    version: str,
    line: str,
    config: PlanConfig,
    inputs: Mapping[str, Any],
    held: Sequence[PlannedEdit] = (),
    out: StageDir,
) -> dict[str, Any]:
    """Write the plan's tables and `plan.json` with its hash; return counts.

    `held` are the edits that the parent release had to set aside: their facts are no change any
    more, and they are tried again.
    `inputs` (base and parent digests, snapshots) enter the hash, so that a plan can be approved
    by it.
    """
    made = make_plan(
        changes, verdicts, live, relations, version=version, line=line, config=config, held=held
    )
    schemas = (EDIT_SCHEMA, REMOVAL_SCHEMA, REFUSAL_SCHEMA, NEIGHBOUR_SCHEMA)
    records = (made.edits, made.removals, made.refusals, made.neighbours)
    for name, rows, schema in zip(TABLES, records, schemas, strict=True):
        out.write_table(f"{name}.parquet", to_table(rows, schema))
    digests = {name: file_digest(out.path / f"{name}.parquet") for name in TABLES}
    out.write_json(PRESERVED, made.preserved)
    digests["preserved"] = digest_of(made.preserved)
    plan_hash = digest_of({"config": config.model_dump(), "inputs": dict(inputs), **digests})
    out.write_json("plan.json", {"plan_hash": plan_hash, "inputs": dict(inputs), **digests})
    return {
        "plan_hash": plan_hash,
        "actions": Counter(edit.action for edit in made.edits),
        "removed": len(made.removals),
        "refused": len(made.refusals),
        "refusals": Counter(refusal.reason for refusal in made.refusals),
        "neighbours": len(made.neighbours),
        "preserved": len(made.preserved),
    }


def make_plan(
    changes: Sequence[Change],
    verdicts: Sequence[Verdict],
    live: Sequence[PlannedEdit],
    relations: Mapping[str, Relation],
    *,
    version: str,
    line: str,
    config: PlanConfig,
    held: Sequence[PlannedEdit] = (),
) -> Plan:
    """The plan as a value; pure."""
    judged = {verdict.change_id: verdict for verdict in verdicts}
    refusals = {
        c.id: reason for c in changes if (reason := _refuse(c, judged[c.id], config)) is not None
    }
    wanted = [c for c in changes if c.id not in refusals and c.kind != "keep"]
    refusals |= _conflicts(wanted)
    wanted = [c for c in wanted if c.id not in refusals]
    wanted.sort(key=lambda c: (-_priority(c, judged[c.id]), c.id))
    for change in wanted[config.max_edits :]:
        refusals[change.id] = f"over the budget of {config.max_edits} edits"
    new = [
        _edit(c, judged[c.id], relations[c.relation], version, line, _priority(c, judged[c.id]))
        for c in wanted[: config.max_edits]
    ]
    new += _again(held, changes, new, version)[: config.max_edits - len(new)]
    removals = _superseded(live, changes)
    gone = {removal.id for removal in removals} | {edit.id for edit in new}
    carried = [replace(edit, action="carry") for edit in live if edit.id not in gone]
    edits = sorted([*carried, *new], key=lambda edit: edit.id)
    others = other_facts(changes, edits, relations)
    return Plan(
        edits,
        removals,
        [
            Refusal(
                change_id=c.id,
                subject=c.subject,
                subject_label=c.subject_label,
                relation=c.relation,
                verdict=judged[c.id].verdict,
                reason=refusals[c.id],
            )
            for c in changes
            if c.id in refusals
        ],
        choose_neighbours(others[: config.max_neighbours], edits, relations),
        [
            f"{_prompt(change, relations)} {change.new_label}."
            for change in others[config.max_neighbours :][: config.max_preserved]
        ],
    )


def _refuse(change: Change, verdict: Verdict, config: PlanConfig) -> str | None:
    """Why a change is no edit by its verdict alone, or None; `keep` is neither edit nor refusal."""
    match verdict.verdict:
        case "stale":
            return None
        case "unknown":
            return (
                None if config.teach_unknown else "unknown to the model, and teach_unknown is off"
            )
        case "knows":
            return "the model knows it"
        case "inconsistent":
            return f"inconsistent, needs a person: {verdict.reason}"
    return None if change.kind == "keep" else verdict.reason


def _conflicts(changes: Sequence[Change]) -> dict[str, str]:
    """Changes that would write different objects behind the same words: all of them are refused."""
    objects: dict[tuple[str, str], set[str]] = {}
    for change in changes:
        key = (normalise(change.subject_label or ""), change.relation)
        objects.setdefault(key, set()).add(normalise(change.new_label or ""))
    return {
        c.id: f"conflict: {c.subject_label!r} has several objects in this batch"
        for c in changes
        if len(objects[normalise(c.subject_label or ""), c.relation]) > 1
    }


def _priority(change: Change, verdict: Verdict) -> float:
    """Corrections before lessons; then popular subjects, then confident verdicts."""
    return 1000.0 * (verdict.verdict == "stale") + change.popularity + (verdict.confidence or 0.0)


def _edit(
    change: Change, verdict: Verdict, relation: Relation, version: str, line: str, priority: float
) -> PlannedEdit:
    label, target, value = change.subject_label, change.new_label, change.new_value
    assert label is not None and target is not None and value is not None  # screened by the probe
    prompt = relation.prompt(relation.statements[0], label)
    return PlannedEdit(
        id=edit_id(change.subject, change.relation, value, line),
        action="correct" if verdict.verdict == "stale" else "teach",
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


def _again(
    held: Sequence[PlannedEdit],
    changes: Sequence[Change],
    new: Sequence[PlannedEdit],
    version: str,
) -> list[PlannedEdit]:
    """Edits that were set aside, as new ones, unless the world has moved on."""
    taken = {(edit.subject, edit.relation) for edit in new}
    moved = {removal.id for removal in _superseded(held, changes)}
    return [
        replace(
            edit,
            action="correct" if edit.old_targets else "teach",
            since=version,
            reason=f"set aside in {edit.since}, tried again; {edit.reason}",
        )
        for edit in held
        if edit.id not in moved and (edit.subject, edit.relation) not in taken
    ]


def _superseded(live: Sequence[PlannedEdit], changes: Sequence[Change]) -> list[Removal]:
    """Live edits whose fact now has another value or none; they go whatever the new value's
    fate."""
    moved = {
        (c.subject, c.relation): c
        for c in changes
        if c.kind in ("learn", "replace", "forget", "vacated")
    }
    removals = []
    for edit in live:
        change = moved.get((edit.subject, edit.relation))
        if change is None or change.new_value == edit.target_value:
            continue
        if change.kind in ("learn", "forget") and edit.target_value not in change.old_values:
            continue  # about another value of a relation that holds several
        removals.append(
            Removal(
                id=edit.id,
                subject=edit.subject,
                subject_label=edit.subject_label,
                relation=edit.relation,
                prompt=edit.prompt,
                target=edit.target,
                reason=f"superseded: {change.reason}",
            )
        )
    return removals


def other_facts(
    changes: Sequence[Change], edits: Sequence[PlannedEdit], relations: Mapping[str, Relation]
) -> list[Change]:
    """Current facts of the edited relations about subjects that are not edited.

    Those that did not change come first, then an order set by their ids. A name that an edit
    uses, or that came before, is left out: the evaluation and the editor must not share a
    subject.
    """
    edited = {edit.relation for edit in edits}
    seen = {normalise(edit.subject_label) for edit in edits}
    pool = [
        c
        for c in changes
        if c.relation in edited and screen(replace(c, kind="learn"), relations) is None
    ]
    pool.sort(key=lambda c: (c.kind != "keep", hashlib.sha256(c.id.encode()).hexdigest()))
    chosen = []
    for change in pool:
        name = normalise(change.subject_label or "")
        if name not in seen:
            seen.add(name)
            chosen.append(change)
    return chosen


def choose_neighbours(
    others: Sequence[Change], edits: Sequence[PlannedEdit], relations: Mapping[str, Relation]
) -> list[Neighbour]:
    """Facts to be measured, each with the target of some edit of its relation that is not its
    own."""
    targets: dict[str, list[str]] = {}
    for edit in edits:
        targets.setdefault(edit.relation, []).append(edit.target)
    chosen = []
    for change in others:
        own = normalise(change.new_label or "")
        foreign = [t for t in targets[change.relation] if normalise(t) != own]
        if foreign:
            chosen.append(
                Neighbour(
                    id=change.id,
                    relation=change.relation,
                    prompt=_prompt(change, relations),
                    target=change.new_label or "",
                    accepted=(change.new_label or "", *change.new_aliases),
                    edited_target=foreign[int(change.id, 16) % len(foreign)],
                )
            )
    return chosen


def _prompt(change: Change, relations: Mapping[str, Relation]) -> str:
    """The relation's first statement about the change's subject, cut before the object."""
    relation = relations[change.relation]
    return relation.prompt(relation.statements[0], change.subject_label or "").text
