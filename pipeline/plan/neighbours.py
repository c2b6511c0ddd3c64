"""Facts that an edition must leave alone: some to be measured, others for the editor to keep."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from discovery.facts.change import Change
from discovery.probe.beliefs.candidates import why_not_askable
from discovery.relations.relation import Relation
from infra.lm.matching import normalise
from pipeline.plan.edits import Neighbour, PlannedEdit


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
        if c.relation in edited and why_not_askable(replace(c, kind="learn"), relations) is None
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
                    prompt=prompt_of(change, relations),
                    target=change.new_label or "",
                    accepted=(change.new_label or "", *change.new_aliases),
                    edited_target=foreign[int(change.id, 16) % len(foreign)],
                )
            )
    return chosen


def prompt_of(change: Change, relations: Mapping[str, Relation]) -> str:
    """The relation's first statement about the change's subject, cut before the object."""
    relation = relations[change.relation]
    return relation.prompt(relation.statements[0], change.subject_label or "").text
