"""A plan's edits as cases: who is asked what, and what counts as right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from planned_edits import planned_edit

from infra.lm.normal_form import normalise
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.plan_cases import cases_of_plan
from pipeline.plan.edits import Neighbour, PlannedEdit, Removal


def edit(number: int, target: str, **settings: Any) -> PlannedEdit:
    name = f"Person {number}"
    own = {
        "prompt": f"Now {name} plays for",
        "subject_start": 4,
        "subject_end": 4 + len(name),
        "target": target,
        "accepted": (target,),
        "held_out": (f"The club of {name} is",),
        "unrelated": (f"{name} was born in",),
        "since": "2024.01.01",
    }
    return planned_edit(f"{number:016x}", name, **{**own, **settings})


def neighbour(number: int, relation: str, edited_target: str) -> Neighbour:
    return Neighbour(
        id=f"n{number}",
        relation=relation,
        prompt=f"Neighbour {number} plays for",
        target="Own",
        accepted=("Own", "Own FC"),
        edited_target=edited_target,
    )


def made(edits: list[PlannedEdit], neighbours: Any = (), **more: Any) -> CaseSet:
    settings = {"num_alternatives": 2, "removals": (), **more}
    return cases_of_plan("line", edits, neighbours=neighbours, **settings)


@pytest.mark.parametrize("num_alternatives", [0, 1, 3, 10])
def test_rivals_are_other_targets_of_the_relation_and_never_right_or_old(
    num_alternatives: int,
) -> None:
    """However they are written; no more than asked for, each once, as many as there are."""
    edits = [
        edit(0, "Alpha", accepted=("Alpha", "the beta!"), old_targets=("GAMMA",)),
        *(edit(n, name) for n, name in enumerate(("Beta", "Gamma", "Delta", "Delta", "Zeta"), 1)),
        edit(9, "Navy", relation="P108"),
    ]
    cases = made(edits, num_alternatives=num_alternatives)
    for case in cases.cases:
        own = {normalise(name) for name in (*case.accepted, *case.old)}
        assert not own & {normalise(name) for name in case.rivals}
        others = {e.target for e in edits if e.relation == case.relation} - {case.target}
        others = {name for name in others if normalise(name) not in own}
        assert set(case.rivals) <= others and len(set(case.rivals)) == len(case.rivals)
        assert len(case.rivals) == min(num_alternatives, len(others))
    assert not cases.by_id[f"{9:016x}"].rivals


def test_a_case_says_what_the_edit_says() -> None:
    """The editor's request of a case is that of its edit, and held-out prompts are not in it."""
    edits = [edit(1, "Alpha", old_targets=("Old",)), edit(2, "Beta")]
    for case, planned in zip(made(edits).cases, edits, strict=True):
        assert case.request() == planned.request()
        assert case.subject == planned.subject_label
        assert case.paraphrases == planned.held_out
        assert [q.prompt for q in case.same_subject] == list(planned.unrelated)


def test_neighbours_go_to_an_edit_of_their_relation_and_target() -> None:
    """The edit's target is what must not be said there; edits of one target share them evenly."""
    edits = [edit(1, "Alpha"), edit(2, "Alpha"), edit(3, "Alpha", relation="P6"), edit(4, "Beta")]
    asked = [neighbour(n, "P54", "Alpha") for n in range(5)]
    asked += [neighbour(5, "P6", "Alpha"), neighbour(6, "P54", "Beta")]
    cases = made(edits, asked)
    prompts = {n.prompt: n for n in asked}
    for case in cases.cases:
        for query in case.near:
            of = prompts.pop(query.prompt)
            assert (of.relation, of.edited_target) == (case.relation, case.target)
            assert (query.accepted, query.rivals) == (of.accepted, (case.target,))
    assert not prompts  # each once
    assert sorted(len(case.near) for case in cases.cases) == [1, 1, 2, 3]


def test_a_part_of_a_batch_keeps_the_neighbours_of_its_own_edits() -> None:
    """Those of edits that are not in it say nothing of it."""
    edits = [edit(1, "Alpha"), edit(2, "Beta")]
    asked = [neighbour(1, "P54", "Alpha"), neighbour(2, "P54", "Beta")]
    [case] = made(edits[:1], asked).cases
    assert [q.prompt for q in case.near] == ["Neighbour 1 plays for"]


def test_questions_of_edits_and_neighbours_are_asked_in_a_chat() -> None:
    """The first question of a case is the one that the editor was given; the others, and those
    about neighbours, are held out."""
    given = edit(
        1,
        "Alpha",
        question="Which team does Person 1 play for?",
        question_start=16,
        held_out_questions=("What is Person 1's team?",),
    )
    asked = replace(neighbour(1, "P54", "Alpha"), question="Which team does N play for?")
    cases = made([given, edit(2, "Beta")], [asked])
    one, two = cases.cases
    assert one.questions == ("Which team does Person 1 play for?", "What is Person 1's team?")
    assert not two.questions
    assert [query.question for query in one.near] == ["Which team does N play for?"]
    held_out = cases.prompts_held_out()
    assert {"What is Person 1's team?", "Which team does N play for?"} <= held_out
    assert not held_out & {*given.seen}


def test_carried_edits_are_not_new() -> None:
    """Whatever edition brought them; corrections and lessons are."""
    edits = [edit(n, f"C{n}", action=a) for n, a in enumerate(("teach", "correct", "carry"))]
    assert [case.new for case in made(edits).cases] == [True, True, False]


def test_order_is_that_of_the_editions() -> None:
    """Edits of one edition are one batch; the oldest is the first, whatever the order given."""
    since = ("2024.03.01", "2023.11.30", "2024.03.01", "2024.01.15")
    edits = [edit(n, f"C{n}", since=version) for n, version in enumerate(since)]
    assert [case.order for case in made(edits).cases] == [2, 0, 2, 1]
    assert [case.order for case in made(edits[::-1]).cases] == [1, 2, 0, 2]


def test_removals_must_not_be_said_any_more() -> None:
    """They are no cases, but questions of the set, and change its digest."""
    gone = Removal(
        id="r",
        subject="Q1",
        subject_label="P",
        relation="P54",
        prompt="P plays for",
        target="Gone",
        reason="",
    )
    cases = made([edit(1, "Alpha")], removals=[gone])
    [query] = cases.gone
    assert (query.prompt, query.accepted) == ("P plays for", ("Gone",))
    assert cases.digest != made([edit(1, "Alpha")]).digest
    assert cases.digest == made([replace(edit(1, "Alpha"))], removals=[gone]).digest
