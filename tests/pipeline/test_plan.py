"""The plan: who is edited, who is refused and why, who goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from discovery.fact import Change
from discovery.verbalise import load_relations
from discovery.verdict import Verdict
from pipeline.plan import Plan, PlanConfig, make_plan

RELATIONS = load_relations()


def change(number: int, **settings: Any) -> Change:
    defaults: dict[str, Any] = {
        "id": f"{number:016x}",
        "kind": "learn",
        "rule": "18",
        "reason": "it began",
        "subject": f"Q{number}",
        "subject_label": f"Person {number}",
        "relation": "P54",
        "value_type": "entity",
        "new_value": f"Q9{number}",
        "new_label": f"Club {number}",
        "source": "test",
    }
    return Change(**{**defaults, **settings})


def verdict(c: Change, kind: Any = "unknown", confidence: float = 0.5) -> Verdict:
    return Verdict(change_id=c.id, verdict=kind, reason="because", confidence=confidence)


def planned(changes: list[Change], kinds: list[Any], live: Any = (), **policy: Any) -> Plan:
    config = PlanConfig(**{"teach_unknown": True, **policy})
    verdicts = [verdict(c, k) for c, k in zip(changes, kinds, strict=True)]
    return make_plan(
        changes, verdicts, list(live), RELATIONS, version="v1", line="l", config=config
    )


def test_verdicts_decide() -> None:
    """stale is corrected, unknown is taught by policy only, knows and inconsistent are refused."""
    changes = [change(i) for i in range(4)]
    made = planned(changes, ["stale", "unknown", "knows", "inconsistent"])
    assert {e.subject: e.action for e in made.edits} == {"Q0": "correct", "Q1": "teach"}
    assert [r.reason for r in made.refusals] == [
        "the model knows it",
        "inconsistent, needs a person: because",
    ]
    untaught = planned(changes[:2], ["stale", "unknown"], teach_unknown=False)
    assert [e.subject for e in untaught.edits] == ["Q0"]
    assert "teach_unknown is off" in untaught.refusals[0].reason


def test_the_budget_goes_to_corrections_first() -> None:
    """A stale belief outranks any popular lesson; what is left over is named."""
    changes = [change(0, popularity=500), change(1), change(2, popularity=10)]
    made = planned(changes, ["unknown", "stale", "unknown"], max_edits=2)
    assert {e.subject for e in made.edits} == {"Q0", "Q1"}
    assert made.refusals[0].reason == "over the budget of 2 edits"


def test_homonyms_conflict() -> None:
    """Two subjects of one name cannot get different objects behind the same prompt."""
    twins = [change(1, subject_label="John Smith"), change(2, subject_label="john smith")]
    made = planned(twins, ["unknown", "unknown"])
    assert not made.edits
    assert all("conflict" in r.reason for r in made.refusals)


def test_superseded_edits_leave_and_others_stay() -> None:
    """A live edit whose fact moved is removed even when the new value is not edited."""
    first = planned([change(i) for i in range(3)], ["unknown"] * 3)
    moved = change(
        0,
        id=f"{90:016x}",
        kind="replace",
        old_values=("Q90",),
        old_labels=("Club 0",),
        new_value="Q777",
        new_label="Club Seven",
    )
    ended = change(1, id=f"{91:016x}", kind="vacated", old_values=("Q91",), new_value=None)
    kept = change(2, kind="keep")
    verdicts: list[Any] = ["stale", None, None]
    second = planned([moved, ended, kept], verdicts, live=first.edits)
    assert {(e.subject, e.action) for e in second.edits} == {("Q0", "correct"), ("Q2", "carry")}
    assert {r.subject for r in second.removals} == {"Q0", "Q1"}
    correct = next(e for e in second.edits if e.action == "correct")
    assert correct.old_targets == ("Club 0",)
    refused = planned([moved], ["knows"], live=first.edits)
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
    """Whatever the policy."""
    made = planned([replace(change(1), kind=kind)], [None])
    assert not made.edits and len(made.refusals) == 1


def test_what_was_set_aside_is_tried_again() -> None:
    """As a new edit, within the budget; not where its fact has moved on, or is planned anyway."""
    first = planned([change(i) for i in range(3)], ["unknown"] * 3).edits
    config = PlanConfig(teach_unknown=True, max_edits=2)

    def again(changes: list[Change]) -> Plan:
        verdicts = [verdict(c) for c in changes]
        return make_plan(
            changes, verdicts, [], RELATIONS, version="v2", line="l", config=config, held=first
        )

    quiet = again([])
    assert len(quiet.edits) == 2  # the budget
    assert all(e.since == "v2" and e.action == "teach" for e in quiet.edits)
    assert "set aside in v1" in quiet.edits[0].reason
    moved = [
        change(i, id=f"{90 + i:016x}", kind="replace", new_value="Q7", new_label="New")
        for i in (0, 1)
    ]
    made = again(moved)
    assert {(e.subject, e.target) for e in made.edits} == {("Q0", "New"), ("Q1", "New")}
    gone = [
        replace(c, kind="forget", new_value=None, new_label=None, old_values=(f"Q9{i}",))
        for i, c in enumerate(moved)
    ]
    verdicts = [Verdict(change_id=c.id, verdict=None, reason="nothing to teach") for c in gone]
    left = make_plan(
        gone, verdicts, [], RELATIONS, version="v2", line="l", config=config, held=first
    )
    assert [e.subject for e in left.edits] == ["Q2"]
