"""Lanes: which facts are in the weights, beside them, or on the fact sheet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from plan_helpers import change, moved, planned
from planned_edits import planned_edit

from discovery.facts.fact import Fact
from discovery.trust.subjects import Subjects
from infra.storage.stage_dir import StageDir
from pipeline.plan.lanes import WEIGHTS_FULL, Capacity, Lanes, divide

NUMBER = 5
CHANGES = [change(i, popularity=10 * (NUMBER - i)) for i in range(NUMBER)]
"""Of falling priority."""
UNKNOWN = ["unknown"] * NUMBER


def room(num_facts: int, **lanes: Any) -> Lanes:
    """Lanes of which the first holds so many facts."""
    return Lanes(capacity=Capacity(num_facts=num_facts, why="measured in v0"), **lanes)


def subjects_of(edits: Any) -> list[str]:
    return sorted(edit.subject for edit in edits)


def stated(*numbers: int) -> Subjects:
    """A snapshot that states the facts of `CHANGES` with these numbers."""
    about: dict[str, Any] = {"relation": "P54", "value_type": "entity", "source": "test"}
    facts = [Fact(subject=f"Q{n}", value=f"Q9{n}", statement_id="", **about) for n in numbers]
    return Subjects.of(facts, day=0, sources=["test"], functional={"P54": ()})


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.5, 1.0, 2.0])), max_size=12),
    num_facts=st.integers(0, 13),
    lost=st.sets(st.integers(0, 11)),
)
def test_the_first_lane_holds_what_comes_first(
    rows: list[tuple[int, float]], num_facts: int, lost: set[int]
) -> None:
    """No more facts than it has room for; facts of a subject together; no subject in it has a lower
    priority than one that is not, and the next one would not fit. Those set aside take no room, and
    the others are placed as if they were not there."""
    edits = [
        planned_edit(f"{n:016x}", f"Person {subject}", priority=priority)
        for n, (subject, priority) in enumerate(rows)
    ]
    set_aside = {f"{n:016x}" for n in lost}
    placed = divide(edits, room(num_facts, over="beside"), set_aside)
    assert sorted(e.id for e in placed) == [e.id for e in edits]
    assert all(edit.lane == "weights" for edit in placed if edit.id in set_aside)
    rest = [edit for edit in edits if edit.id not in set_aside]
    made = [edit for edit in placed if edit.id not in set_aside]
    assert divide(rest, room(num_facts, over="beside")) == made
    lanes: dict[str, set[str]] = {}
    best: dict[str, float] = {}
    need: dict[str, int] = {}
    for edit in made:
        name = edit.subject_label
        lanes.setdefault(name, set()).add(edit.lane)
        best[name] = max(best.get(name, 0.0), edit.priority)
        need[name] = need.get(name, 0) + 1
    assert all(len(found) == 1 for found in lanes.values())
    inside = [name for name, found in lanes.items() if found == {"weights"}]
    outside = [name for name in lanes if name not in inside]
    used = sum(need[name] for name in inside)
    assert used <= num_facts
    if outside:
        highest = max(best[name] for name in outside)
        assert all(best[name] >= highest for name in inside)
        assert any(used + need[name] > num_facts for name in outside if best[name] == highest)
    turned = divide(edits[::-1], room(num_facts, over="beside"), set_aside)
    assert {e.id: e.lane for e in turned} == {e.id: e.lane for e in placed}


def test_what_the_weights_have_no_room_for_is_on_the_fact_sheet() -> None:
    """With the reason, as a new fact of the sheet; the plan keeps the edit for the next one."""
    made = planned(CHANGES, UNKNOWN, lanes=room(2))
    assert subjects_of(made.edits) == ["Q0", "Q1"]
    assert {edit.lane for edit in made.edits} == {"weights"}
    assert subjects_of(made.full) == ["Q2", "Q3", "Q4"] == subjects_of(made.sheet)
    assert {edit.lane for edit in made.full} == {"sheet"}
    assert set(made.routed.values()) == {WEIGHTS_FULL}
    assert made.routed.keys() == {c.id for c in CHANGES[2:]}
    [row] = [row for row in made.sheet if row.subject == "Q2"]
    assert row.reason == (
        "weights full: they hold 2 facts of the highest priority (measured in v0)"
    )
    assert (row.statement, row.label) == ("Person 2 plays for Club 2.", "Club 2")
    assert not made.held and not made.refusals


def test_a_second_lane_takes_them_and_gives_them_back() -> None:
    """Beside the weights while these are full; with room, those of the highest priority go into the
    weights in the next edition, and those of the lowest leave them where there is less."""
    first = planned(CHANGES, UNKNOWN, lanes=room(2, over="beside"))
    lanes = {edit.subject: edit.lane for edit in first.edits}
    assert lanes == {
        "Q0": "weights",
        "Q1": "weights",
        **dict.fromkeys(("Q2", "Q3", "Q4"), "beside"),
    }
    assert not first.full and not first.sheet and not first.routed
    for num_facts in (1, 4):
        later = planned(
            [], [], version="v2", live=first.edits, lanes=room(num_facts, over="beside")
        )
        inside = [edit.subject for edit in later.edits if edit.lane == "weights"]
        assert sorted(inside) == [f"Q{n}" for n in range(num_facts)]
        assert {edit.action for edit in later.edits} == {"carry"} and len(later.edits) == NUMBER


def test_a_fact_on_the_sheet_returns_when_there_is_room() -> None:
    """Without a new change of it, as a new edit, within the budget; what has become outdated does
    not."""
    first = planned(CHANGES, UNKNOWN, lanes=room(2))
    before = {"live": first.edits, "full": first.full, "sheet": first.sheet, "version": "v2"}
    more = planned([], [], **before, subjects=stated(*range(NUMBER)), lanes=room(4))
    actions = {edit.subject: (edit.action, edit.since) for edit in more.edits}
    assert actions == {
        **dict.fromkeys(("Q0", "Q1"), ("carry", "v1")),
        **dict.fromkeys(("Q2", "Q3"), ("teach", "v2")),
    }
    assert subjects_of(more.full) == ["Q4"] == subjects_of(more.sheet)
    assert more.sheet[0].since == "v1"  # where it has been since
    budget = planned([], [], **before, subjects=stated(*range(NUMBER)), max_edits=1)
    assert subjects_of(budget.edits) == ["Q0", "Q1", "Q2"]
    assert subjects_of(budget.full) == ["Q3", "Q4"] == subjects_of(budget.sheet)
    assert budget.sheet[0].reason == "over the budget of 1 edits"
    ended = moved(change(2), kind="forget", new_value=None, new_label=None)
    gone = planned([ended], [None], **before, subjects=stated(0, 1, 3, 4))
    assert subjects_of(gone.edits) == ["Q0", "Q1", "Q3", "Q4"] and not gone.full


def test_a_fact_that_leaves_the_weights_is_on_the_sheet() -> None:
    """One that the parent release holds, and the weights have no room for any more: it is no
    removal, for it is true as before."""
    live = planned(CHANGES, UNKNOWN).edits
    made = planned([], [], version="v2", live=live, subjects=stated(*range(NUMBER)), lanes=room(3))
    assert subjects_of(made.edits) == ["Q0", "Q1", "Q2"]
    assert subjects_of(made.full) == ["Q3", "Q4"] == subjects_of(made.sheet)
    assert not made.removals and not made.routed


def test_culprits_take_no_room() -> None:
    """They stay in the plan, to be set aside with their reason."""
    first = planned(CHANGES, UNKNOWN).edits
    culprit = next(edit for edit in first if edit.subject == "Q1")
    last = next(edit for edit in first if edit.subject == "Q4")
    made = planned(CHANGES, UNKNOWN, lanes=room(2), set_aside=[culprit.id, last.id])
    assert subjects_of(made.edits) == ["Q0", "Q1", "Q2", "Q4"]


def test_an_editor_that_changes_no_weights_has_one_lane() -> None:
    """It is beside the weights, and has room for all."""
    made = planned(CHANGES, UNKNOWN, lanes=Lanes(first="beside"))
    assert {edit.lane for edit in made.edits} == {"beside"} and len(made.edits) == NUMBER


def test_a_plan_is_read_as_it_was_written(tmp_path: Any) -> None:
    """With lanes and with what the weights have no room for; another division has another hash."""
    hashes = []
    for n, num_facts in enumerate((2, 3)):
        place = tmp_path / str(n)
        place.mkdir()
        made = planned(CHANGES, UNKNOWN, lanes=room(num_facts))
        hashes.append(made.write(StageDir(place), policy={}, inputs={}))
        files: Any = FromFiles(place)
        found = type(made).read(files)
        assert found == replace(made, routed={})
    assert len(set(hashes)) == 2


class FromFiles:
    """An output that is read from its files alone."""

    def __init__(self, path: Any) -> None:
        self.path = path

    def table(self, name: str) -> Any:
        import pyarrow.parquet as pq

        return pq.read_table(self.path / name)

    def json(self, name: str) -> Any:
        return StageDir(self.path).read_json(name)
