"""What waits: nothing that is held is lost, and nothing is taken up that its source has left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from discovery_helpers import make_fact
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.diff.compare import diff_facts
from discovery.facts.change import Change
from discovery.facts.dates import iso_interval
from discovery.facts.fact import Fact
from discovery.trust.backlog import HeldChange, carry_over, held_table, read_held
from discovery.trust.subjects import Subjects

FUNCTIONAL = {"P6": ()}
DAYS = [iso_interval(text).earliest for text in ("2020-06-30", "2021-06-30", "2022-06-30")]


def held(change: Change, state: str = "held", rules: tuple[str, ...] = ("quorum",)) -> HeldChange:
    reasons = tuple(f"because of {rule}" for rule in rules)
    return HeldChange(
        change=change, state=state, rules=rules, reasons=reasons, route="none", since="v1"
    )


def changes_of(old: list[Fact] | None, new: list[Fact], step: int = 1) -> list[Change]:
    """The diff of two of the three days."""
    before = None if old is None else DAYS[step - 1]
    return diff_facts(old, new, old_day=before, new_day=DAYS[step], functional=FUNCTIONAL)


def taken(waiting: list[HeldChange], old: list[Fact], new: list[Fact], step: int = 2) -> Any:
    """Merge with the next diff: what is taken up, what is dropped and why, all changes."""
    subjects = Subjects.of(new, day=DAYS[step], functional=FUNCTIONAL)
    merged = carry_over(waiting, changes_of(old, new, step), subjects)
    ids = [c.id for c in merged.changes]
    assert len(set(ids)) == len(ids)
    return (
        [c for c in merged.changes if c.id in merged.since],
        [h.reasons[-1] for h in merged.dropped],
        merged,
    )


ANN = make_fact("Q2", "s2", start="2015", end="2021-02-01", revision=1)
BOB = make_fact("Q3", "s3", start="2021-02-01", revision=2, revision_time="2021-06-29T00:00:00Z")
[BOB_FOR_ANN] = [c for c in changes_of([replace(ANN, end=None)], [ANN, BOB]) if c.new_value]


def test_a_held_change_is_taken_up_where_nothing_happened() -> None:
    """In the place of its `keep`, as it was, with the version that first held it."""
    found, dropped, merged = taken([held(BOB_FOR_ANN)], [ANN, BOB], [ANN, BOB])
    assert found == [BOB_FOR_ANN] and not dropped
    assert merged.since == {BOB_FOR_ANN.id: "v1"}
    assert not [c for c in merged.changes if c.kind == "keep"]


def test_altered_evidence_is_the_changes_evidence() -> None:
    """New references come with a new revision, so that the cool-down begins again."""
    altered = replace(BOB, references=("https://a.org",), revision=9, revision_time="2022-06-29")
    [found], _, _ = taken([held(BOB_FOR_ANN)], [ANN, BOB], [ANN, altered])
    assert (found.references, found.revision_new) == (("https://a.org",), 9)
    assert found.revision_time == "2022-06-29"
    assert (found.id, found.kind, found.old_values) == (BOB_FOR_ANN.id, "replace", ("Q2",))
    untouched = replace(BOB, revision=9, revision_time="2022-06-29")
    [found], _, _ = taken([held(BOB_FOR_ANN)], [ANN, BOB], [ANN, untouched])
    assert found.revision_new == 2  # only the entity around it was edited


CYD = make_fact("Q4", "s4", start="2022-01-01", revision=3)


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ([ANN, replace(BOB, end=CYD.start), CYD], "moved on: the new value began"),
        ([ANN], "moved on: the statement was removed"),
        ([ANN, replace(BOB, rank="deprecated")], "moved on: the statement was deprecated"),
        ([ANN, replace(BOB, end=iso_interval("2022-03-01"))], "moved on: ended"),
        ([ANN, BOB, CYD], "moved on: 2 values hold at once"),
    ],
    ids=["succeeded", "removed", "deprecated", "ended", "contradicted"],
)
def test_a_newer_change_of_its_own_goes_before(new: list[Fact], reason: str) -> None:
    """The held change is dropped with the reason, and the newer one is there."""
    found, dropped, merged = taken([held(BOB_FOR_ANN)], [ANN, BOB], new)
    assert not found and reason in dropped[0]
    assert len(changes_of([ANN, BOB], new, 2)) == len(merged.changes)


def test_another_value_of_a_set_is_another_matter() -> None:
    """Of a relation with several values, only what touches the value supersedes."""
    one = make_fact("Q7", relation="P40", start="2021-02-01")
    two = make_fact("Q8", relation="P40", start="2022-02-01")
    [waiting] = changes_of([], [one])
    found, dropped, merged = taken([held(waiting)], [one], [one, two])
    assert found == [waiting] and not dropped and len(merged.changes) == 2
    _, dropped, _ = taken([held(waiting)], [one], [two])
    assert "removed" in dropped[0]


def test_a_scheduled_fact_is_opened_on_its_date() -> None:
    """It waits while its day has not come, and is the diff's own once it has; one that was taken
    back before is dropped."""
    later = make_fact("Q9", "s9", start="2022-01-01")
    [waiting] = [c for c in changes_of([BOB], [BOB, later]) if c.rule == "7"]
    soon = iso_interval("2021-12-01").earliest
    subjects = Subjects.of([BOB, later], day=soon, functional=FUNCTIONAL)
    assert carry_over([held(waiting, "scheduled")], [], subjects).changes == [waiting]
    now = [replace(BOB, end=later.start), later]
    found, dropped, merged = taken([held(waiting, "scheduled")], [BOB, later], now)
    assert not found and "moved on" in dropped[0]
    assert [c.new_value for c in merged.changes if c.kind == "replace"] == ["Q9"]
    _, dropped, _ = taken([held(waiting, "scheduled")], [BOB, later], [BOB])
    assert dropped == ["the source no longer says so"]


def test_an_undecided_fact_is_tested_again() -> None:
    """Its start left open whether it began in the window; a year later it holds still, and is a
    change with another id."""
    vague = make_fact("Q9", "s9", start="2020")
    waiting = [c for c in changes_of([ANN], [vague]) if c.rule == "10"]
    assert [(c.kind, c.new_value) for c in waiting] == [("ignored", "Q9")]
    [found], _, _ = taken([held(waiting[0], "undecided")], [vague], [vague])
    assert (found.kind, found.new_value, found.old_values) == ("replace", "Q9", ("Q2",))
    assert found.id != waiting[0].id and "was open in v1" in found.reason


def test_a_conflict_that_is_decided_becomes_a_lesson() -> None:
    """While two sources disagree it waits; when one gives in, the other's value is learnt."""
    other = make_fact("Q5", "p1", source="people")
    [waiting] = [c for c in changes_of([], [BOB, other]) if c.kind == "conflict"]
    found, _, merged = taken([held(waiting)], [BOB, other], [BOB, other])
    assert found == [waiting] and merged.changes == [waiting]
    [found], _, _ = taken([held(waiting)], [BOB, other], [BOB])
    assert (found.kind, found.new_value, found.old_values) == ("learn", "Q3", ("Q5",))
    assert found.source == "wd"
    _, dropped, _ = taken([held(waiting)], [BOB, other], [CYD])
    assert "moved on" in dropped[0] or "no longer" in dropped[0]


def test_findings_that_stand() -> None:
    """A bulk anomaly until a person lifts it, a revision's risk until there is a newer one; others
    are found anew."""
    rules = ("bulk user:Bot", "revert risk", "quorum")
    waiting = held(BOB_FOR_ANN, rules=rules)
    _, _, merged = taken([waiting], [ANN, BOB], [ANN, BOB])
    standing = {f.rule for f in merged.lasting[BOB_FOR_ANN.id]}
    assert standing == {"bulk user:Bot", "revert risk"}
    altered = replace(BOB, references=("https://a.org",), revision=9)
    _, _, merged = taken([waiting], [ANN, BOB], [ANN, altered])
    assert {f.rule for f in merged.lasting[BOB_FOR_ANN.id]} == {"bulk user:Bot"}


def test_the_table_holds_everything() -> None:
    """Written and read, held changes are the same."""
    rows = [held(BOB_FOR_ANN), replace(held(BOB_FOR_ANN, "cooling"), verdict="stale")]
    assert read_held(held_table(rows)) == rows
    assert read_held(held_table([])) == []


VALUES = st.lists(
    st.builds(
        lambda value, start, rank: make_fact(value, start=start, rank=rank),
        st.sampled_from(["Q2", "Q3", "Q4"]),
        st.sampled_from(["2015", "2021-02-01", "2022-02-01", "2023-01-01"]),
        st.sampled_from(["normal", "preferred", "deprecated"]),
    ),
    max_size=3,
    unique_by=lambda fact: fact.statement_id,
)


@settings(max_examples=200, deadline=None)
@given(first=VALUES, second=VALUES, third=VALUES)
def test_nothing_is_lost_and_nothing_outlives_its_source(
    first: list[Fact], second: list[Fact], third: list[Fact]
) -> None:
    """Over two diffs of any histories, with everything held in between: each held change is taken
    up or dropped with a reason; what is taken up is not also kept, and is a value that holds now.
    """
    waiting = [held(c) for c in changes_of(first, second) if c.kind in ("learn", "replace")]
    found, dropped, merged = taken(waiting, second, third)
    assert len(found) + len(dropped) == len(waiting)
    current = Subjects.of(third, day=DAYS[2], functional=FUNCTIONAL).current("Q1", "P6")
    kept = {c.new_value for c in merged.changes if c.kind == "keep"}
    for change in found:
        assert change.new_value in current and change.new_value not in kept
    order = [(c.subject, c.relation, c.kind, c.id) for c in merged.changes]
    assert order == sorted(order)
