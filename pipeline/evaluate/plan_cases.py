"""A plan's edits as cases for the evaluation: the one place that turns one into the other."""

from __future__ import annotations

from collections.abc import Sequence

from infra.lm.matching import normalise
from pipeline.evaluate.cases import Case, CaseSet, Query
from pipeline.plan.edits import Neighbour, PlannedEdit, Removal


def cases_of_plan(
    name: str,
    edits: Sequence[PlannedEdit],
    removals: Sequence[Removal],
    neighbours: Sequence[Neighbour],
    *,
    num_alternatives: int,
) -> CaseSet:
    """All live edits of an edition. Editions in which they came are their batches in order."""
    versions = sorted({edit.since for edit in edits})
    targets: dict[str, list[str]] = {}
    for edit in edits:
        targets.setdefault(edit.relation, []).append(edit.target)
    near = _attached(edits, neighbours)
    cases = []
    for edit in edits:
        own = {normalise(name) for name in (*edit.accepted, *edit.old_targets)}
        others = [t for t in dict.fromkeys(targets[edit.relation]) if normalise(t) not in own]
        start = int(edit.id, 16) % max(1, len(others))
        cases.append(
            Case(
                id=edit.id,
                relation=edit.relation,
                subject=edit.prompt[edit.subject_start : edit.subject_end],
                prompt=edit.prompt,
                subject_start=edit.subject_start,
                target=edit.target,
                accepted=edit.accepted,
                old=edit.old_targets,
                rivals=tuple((others[start:] + others[:start])[:num_alternatives]),
                paraphrases=edit.held_out,
                near=tuple(near.get(edit.id, ())),
                same_subject=tuple(Query(prompt=p, accepted=()) for p in edit.unrelated),
                order=versions.index(edit.since),
                new=edit.action != "carry",
            )
        )
    gone = [Query(prompt=r.prompt, accepted=(r.target,)) for r in removals]
    return CaseSet(name, cases, gone)


def _attached(
    edits: Sequence[PlannedEdit], neighbours: Sequence[Neighbour]
) -> dict[str, list[Query]]:
    """Each neighbour as a query of the edit that its foreign target is of, dealt out evenly; those
    of edits that are not here are left out."""
    owners: dict[tuple[str, str], list[str]] = {}
    for edit in edits:
        owners.setdefault((edit.relation, edit.target), []).append(edit.id)
    near: dict[str, list[Query]] = {}
    for neighbour in neighbours:
        own = owners.get((neighbour.relation, neighbour.edited_target))
        if own is None:
            continue
        owner = min(own, key=lambda edit_id: len(near.get(edit_id, ())))
        query = Query(
            prompt=neighbour.prompt,
            accepted=neighbour.accepted,
            rivals=(neighbour.edited_target,),
        )
        near.setdefault(owner, []).append(query)
    return near
