"""The plan: who is edited, who is refused and why, who goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_helpers import RELATIONS, change, fate, held, moved, planned, situation, verdict

from discovery.facts.fact import Fact
from discovery.probe.route import RouteConfig
from discovery.trust.assessment import Assessment
from discovery.trust.subjects import Subjects
from pipeline.plan.config import PlanConfig
from pipeline.plan.lanes import Capacity, Lanes
from pipeline.plan.removals import TAKEN_BACK
from pipeline.plan.stage import make_plan


def test_verdicts_decide() -> None:
    """stale is corrected, unknown is taught by policy only, knows is refused; inconsistent
    waits for a person, who may approve it."""
    changes = [change(i) for i in range(4)]
    made = planned(changes, ["stale", "unknown", "knows", "inconsistent"])
    assert {e.subject: e.action for e in made.edits} == {"Q0": "correct", "Q1": "teach"}
    assert [r.reason for r in made.refusals] == ["the model knows it"]
    assert [h.reasons for h in made.held] == [("inconsistent, needs a person: because",)]
    approved = planned(changes[3:], ["inconsistent"], approve=[changes[3].id])
    assert [e.subject for e in approved.edits] == ["Q3"] and not approved.held
    untaught = planned(changes[:2], ["stale", "unknown"], teach_unknown=False)
    assert [e.subject for e in untaught.edits] == ["Q0"]
    assert untaught.routed == {changes[1].id: "never known"}
    assert "teach_unknown is off" in untaught.sheet[0].reason


def test_the_budget_goes_to_corrections_first() -> None:
    """A stale belief outranks any popular lesson; what is left over is named."""
    changes = [change(0, popularity=500), change(1), change(2, popularity=10)]
    made = planned(changes, ["unknown", "stale", "unknown"], max_edits=2)
    assert {e.subject for e in made.edits} == {"Q0", "Q1"}
    [waits] = made.held
    assert (waits.change, waits.state) == (changes[2], "eligible")
    assert waits.reasons == ("over the budget of 2 edits",)
    assert [row.subject for row in made.sheet] == ["Q2"]  # retrieval serves it meanwhile


def test_priority_is_a_product() -> None:
    """Of equal popularity, the likelier stale; of equal likelihood, the more trusted."""
    changes = [change(i) for i in range(3)]
    weights = {c.id: Assessment(c.id, "eligible", weight=1.0) for c in changes}
    weights[changes[1].id] = Assessment(changes[1].id, "eligible", weight=0.5)
    made = planned(changes, ["stale"] * 3, states=weights, max_edits=2)
    assert {e.subject for e in made.edits} == {"Q0", "Q2"}
    asked = situation(changes, ["stale"] * 3)
    sure = {changes[1].id: verdict(changes[1], "stale", 0.9)}
    made = planned(changes, ["stale"] * 3, max_edits=1)
    assert made.edits[0].priority == pytest.approx(0.25)  # (1 + log 1) x 0.5 never seen x 0.5
    likely = replace(asked, verdicts={**asked.verdicts, **sure})
    config = PlanConfig(max_edits=1)
    [edit] = make_plan(likely, version="v1", line="l", config=config, route=RouteConfig()).edits
    assert edit.subject == "Q1"


def test_homonyms_conflict() -> None:
    """Two subjects of one name cannot get different objects behind the same prompt."""
    twins = [change(1, subject_label="John Smith"), change(2, subject_label="john smith")]
    made = planned(twins, ["unknown", "unknown"])
    assert not made.edits
    assert all("conflict" in r.reason for r in made.refusals)


def test_superseded_edits_leave_and_others_stay() -> None:
    """A live edit whose fact moved is removed even when the new value is not edited."""
    first = planned([change(i) for i in range(3)], ["unknown"] * 3)
    replaced = moved(change(0))
    ended = change(1, id=f"{91:016x}", kind="vacated", old_values=("Q91",), new_value=None)
    kept = change(2, kind="keep")
    verdicts: list[Any] = ["stale", None, None]
    second = planned([replaced, ended, kept], verdicts, live=first.edits)
    assert {(e.subject, e.action) for e in second.edits} == {("Q0", "correct"), ("Q2", "carry")}
    assert {r.subject for r in second.removals} == {"Q0", "Q1"}
    correct = next(e for e in second.edits if e.action == "correct")
    assert correct.old_targets == ("Club 0",)
    refused = planned([replaced], ["knows"], live=first.edits)
    assert {e.subject for e in refused.edits} == {"Q1", "Q2"}


def test_held_out_prompts_never_reach_the_editor() -> None:
    """The request holds the prompt; none of the paraphrases is equal to it or to a probe
    statement."""
    [edit] = planned([change(1)], ["unknown"]).edits
    request = edit.request()
    assert request.subject == "Person 1"
    assert len(edit.held_out) >= 3
    statements = {RELATIONS["P54"].prompt(t, "Person 1").text for t in RELATIONS["P54"].statements}
    assert not statements & set(edit.held_out)
    assert all(text not in repr(request) for text in edit.held_out)


def test_neighbours_are_other_subjects_with_another_object() -> None:
    """Unchanged facts first; never an edited subject; the paired edited target differs."""
    changes = [change(i) for i in range(4)] + [change(9, kind="keep"), change(8, relation="P108")]
    made = planned(changes, ["unknown"] * 2 + [None] * 4, max_edits=2, max_neighbours=2)
    assert next(n.prompt for n in made.neighbours) == "Person 9 plays for"
    assert len(made.neighbours) == 2
    assert all(n.target != n.edited_target for n in made.neighbours)


def test_order_of_changes_does_not_matter() -> None:
    """The same changes in another order give the same edits."""
    changes = [change(i, popularity=i % 3) for i in range(8)]
    a = planned(changes, ["unknown"] * 8, max_edits=5)
    b = planned(changes[::-1], ["unknown"] * 8, max_edits=5)
    assert a.edits == b.edits and a.neighbours == b.neighbours


@pytest.mark.parametrize("kind", ["forget", "vacated", "conflict", "ignored"])
def test_ends_and_conflicts_are_never_edited(kind: Any) -> None:
    """Whatever the policy; a conflict goes to the fact sheet as contested, the others nowhere."""
    changes = [replace(change(1), kind=kind, rule="3")]
    made = planned(changes, [None])
    assert not made.edits
    assert fate(made, changes) == {changes[0].id: ["sheet" if kind == "conflict" else "refused"]}


def test_what_was_set_aside_is_tried_again() -> None:
    """As a new edit, within the budget; not where its fact has moved on, or is planned anyway."""
    first = planned([change(i) for i in range(3)], ["unknown"] * 3).edits

    def again(changes: list[Any], kinds: list[Any]) -> Any:
        return planned(changes, kinds, version="v2", aside=first, max_edits=2)

    quiet = again([], [])
    assert len(quiet.edits) == 2  # the budget
    assert all(e.since == "v2" and e.action == "teach" for e in quiet.edits)
    assert "set aside in v1" in quiet.edits[0].reason
    new = [moved(change(i)) for i in (0, 1)]
    made = again(new, ["unknown"] * 2)
    assert {(e.subject, e.target) for e in made.edits} == {
        ("Q0", "Club Seven"),
        ("Q1", "Club Seven"),
    }
    gone = [replace(c, kind="forget", new_value=None, new_label=None) for c in new]
    assert [e.subject for e in again(gone, [None] * 2).edits] == ["Q2"]


def test_what_is_not_trusted_yet_takes_nothing_out() -> None:
    """The live edit stays while its successor cools down, and goes with it once it is eligible."""
    live = planned([change(1)], ["unknown"]).edits
    new = moved(change(1))
    waiting = planned([new], [None], live=live, states={new.id: held(new, "cooling", "cool-down")})
    assert [e.action for e in waiting.edits] == ["carry"] and not waiting.removals
    [h] = waiting.held
    assert (h.state, h.rules, h.since) == ("cooling", ("cool-down",), "v1")
    trusted = planned([new], ["stale"], live=live)
    assert [r.reason for r in trusted.removals] == ["superseded: it began"]


def statement(**more: Any) -> Fact:
    """The statement that person 1 plays for a club."""
    fields: dict[str, Any] = {"value": "Q91", "statement_id": "s1", "revision": 7, **more}
    return Fact(subject="Q1", relation="P54", value_type="entity", source="test", **fields)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ([statement(rank="deprecated")], "statement s1, revision 7, was deprecated"),
        ([statement(value="Q5", statement_id="s2")], "statement s1 was removed"),
        ([statement()], None),
        ([statement(value="Q92")], None),
        ([statement(), statement(value="Q5", statement_id="s2", rank="preferred")], None),
    ],
    ids=["deprecated", "vanished", "stands", "overwritten", "another preferred"],
)
def test_a_statement_that_its_source_takes_back(facts: list[Fact], reason: str | None) -> None:
    """By the snapshot itself: the edit goes at once where its statement is gone or deprecated. A
    statement that has another value now, or stands beside a preferred one, is for the diff to
    tell."""
    first = replace(change(1), new_statement="s1")
    live = planned([first], ["unknown"]).edits
    subjects = Subjects.of(facts, day=0, sources=["test"], functional={"P54": ()})
    made = planned([], [], live=live, subjects=subjects)
    assert [r.reason for r in made.removals] == ([TAKEN_BACK + reason] if reason else [])
    elsewhere = Subjects.of([], day=0, sources=["other"])
    assert not planned([], [], live=live, subjects=elsewhere).removals  # watched no longer


def test_a_removed_statement_by_the_diff() -> None:
    """Rule 13 names the statement and the revision, however little is trusted."""
    live = [replace(e, statement="s1") for e in planned([change(1)], ["unknown"]).edits]
    why = "the statement was removed without an end date"
    new = moved(change(1), kind="forget", rule="13", reason=why, new_value=None, revision_old=8)
    [removal] = planned([new], [None], live=live).removals
    assert removal.reason == f"{TAKEN_BACK}{why} (statement s1, revision 8)"


def test_a_value_that_returned_needs_no_edit_where_the_base_believes_it() -> None:
    """Taking the edit out suffices; where the base does not, the old value is an edit again. The
    edit goes even while the statement that returned it cools down."""
    first = moved(change(1), old_labels=("Old Club",), old_values=("Q5",))
    live = planned([first], ["stale"]).edits
    back = moved(first, new_value="Q5", new_label="Old Club", new_statement="s5", revision_new=9)
    knows = {back.id: verdict(back, "knows")}
    made = planned([back], ["stale"], live=live, unedited=knows)
    [removal] = made.removals
    assert removal.reason == f"{TAKEN_BACK}it is 'Old Club' again (statement s5, revision 9)"
    assert not made.edits
    assert [r.reason for r in made.refusals] == [
        "without the edit that is taken out the model knows it"
    ]
    ignorant = planned([back], ["stale"], live=live, unedited={back.id: verdict(back)})
    assert [(e.target, e.action) for e in ignorant.edits] == [("Old Club", "correct")]
    cooling = planned([back], [None], live=live, states={back.id: held(back, "cooling")})
    assert cooling.removals and not cooling.edits and len(cooling.held) == 1


CASES = st.lists(
    st.tuples(
        st.sampled_from(["learn", "replace", "forget", "vacated", "keep", "conflict", "ignored"]),
        st.sampled_from(["1", "2", "3", "7", "10", "11", "22"]),
        st.sampled_from([*("stale", "knows", "unknown", "inconsistent"), None]),
        st.sampled_from(["eligible", "cooling", "held", "rejected"]),
        st.sampled_from(["P54", "P1082", "P106", "P0"]),
        st.sampled_from([None, "John Smith", "Ann"]),
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(
    cases=CASES,
    budget=st.integers(1, 3),
    teach=st.booleans(),
    room=st.sampled_from([None, 0, 1, 2]),
)
def test_every_change_has_one_fate_and_only_the_eligible_are_planned(
    cases: list[Any], budget: int, teach: bool, room: int | None
) -> None:
    """Edited, held, refused, on the fact sheet or kept: exactly one of them, with a reason; what
    trust does not let pass is neither edited nor on the sheet, nor told to the editor to keep."""
    changes, kinds, states = [], [], {}
    for number, (kind, rule, answer, state, relation, name) in enumerate(cases):
        c = change(
            number, kind=kind, rule=rule, relation=relation, subject_label=name or f"No {number}"
        )
        if relation == "P1082":
            c = replace(c, value_type="quantity")
        changes.append(c)
        if kind in ("learn", "replace", "conflict"):
            states[c.id] = held(c, state)
        kinds.append(answer if state == "eligible" else None)
    lanes = Lanes(capacity=None if room is None else Capacity(num_facts=room, why="tried"))
    made = planned(
        changes, kinds, states=states, max_edits=budget, teach_unknown=teach, lanes=lanes
    )
    fates = fate(made, changes)
    assert all(len(found) == 1 for found in fates.values()), fates
    assert all(r.reason and r.rule for r in made.refusals)
    assert all(h.reasons and h.rules for h in made.held)
    untrusted = {key for key, found in states.items() if found.state != "eligible"}
    assert not untrusted & {e.change_id for e in made.edits}
    assert not untrusted & {row.change_id for row in made.sheet}
    assert not untrusted & {n.id for n in made.neighbours}
    assert len(made.edits) <= (budget if room is None else min(budget, room))
