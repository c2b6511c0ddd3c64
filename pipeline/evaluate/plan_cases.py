"""Makes the cases of an evaluation from the edits of a plan."""

from __future__ import annotations

from collections.abc import Sequence

from infra.lm.normal_form import normalise
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
    """Cases of all edits that are in force in an edition, and its removals as `gone`.

    The batch of a case (`order`) is the place of the edition that brought its edit. Its rivals are
    at most `num_alternatives` targets of other edits of the same relation.
    """
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
                wordings=edit.request().wordings,
                questions=(edit.question, *edit.held_out_questions) if edit.question else (),
                question_start=edit.question_start,
                subject_id=edit.subject,
                subject_aliases=edit.subject_aliases,
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
    """The neighbours as queries, by the id of an edit with the same relation and `edited_target`.

    Where several edits have that target, each gets about the same number of neighbours. Neighbours
    whose `edited_target` belongs to none of the edits are left out.
    """
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
            question=neighbour.question,
        )
        near.setdefault(owner, []).append(query)
    return near
