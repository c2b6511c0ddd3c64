"""Facts that no edit may change: some measure locality, others are given to the editor to keep."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from discovery.facts.change import Change
from discovery.probe.beliefs.candidates import why_not_askable
from discovery.relations.relation import Relation
from infra.lm.normal_form import normalise
from pipeline.plan.edits import Neighbour, PlannedEdit


def other_facts(
    changes: Sequence[Change], edits: Sequence[PlannedEdit], relations: Mapping[str, Relation]
) -> list[Change]:
    """Current facts of the edited relations about subjects that are not edited.

    Facts that did not change come first; among equals, the order is that of the SHA-256 of their
    ids. Each subject's name occurs once, and no name of an edit's subject occurs, so that the
    evaluation and the editor share no subject.
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
    """Neighbours to measure locality on: each fact with the target of an edit of its relation.

    The target differs from the fact's own object; a fact without such an edit is left out.
    """
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
                    question=relations[change.relation].ask(change.subject_label or ""),
                )
            )
    return chosen


def prompt_of(change: Change, relations: Mapping[str, Relation]) -> str:
    """The prompt of a change: the relation's first statement about its subject, cut before the
    object."""
    relation = relations[change.relation]
    return relation.prompt(relation.statements[0], change.subject_label or "").text
