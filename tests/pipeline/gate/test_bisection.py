"""The search for culprits: all of them, nobody else, and in few trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from planned_edits import planned_edit

from pipeline.gate.bisection import Group, Search, largest_prefix, search
from pipeline.gate.culprits import suspects
from pipeline.plan.edits import PlannedEdit


def groups_of(sizes: Sequence[int]) -> list[Group]:
    """Groups of ids `g.k`."""
    return [tuple(f"{g}.{k}" for k in range(size)) for g, size in enumerate(sizes)]


def fails_with(bad: Collection[str]) -> Callable[[Group], list[str]]:
    """An attempt that fails exactly where a culprit is in it, and names who."""
    return lambda ids: [f"leak of {i}" for i in ids if i in bad]


def flat(groups: Sequence[Group]) -> list[str]:
    return [i for group in groups for i in group]


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Group], set[int]]:
    """Groups of one to three edits, and which of them are culprits."""
    groups = groups_of(draw(st.lists(st.integers(1, 3), min_size=2, max_size=200)))
    count = draw(st.integers(1, min(8, len(groups))))
    bad = draw(st.sets(st.integers(0, len(groups) - 1), min_size=count, max_size=count))
    return groups, bad


@settings(max_examples=200, deadline=None)
@given(batches())
def test_planted_culprits_are_found_and_nobody_else(batch: tuple[list[Group], set[int]]) -> None:
    """Where a part fails if and only if a culprit is in it; within 2 b log2(n/b) + 4 b trials,
    groups whole in every one of them."""
    groups, bad = batch
    attempt = fails_with({groups[g][-1] for g in bad})
    found = search(groups, attempt, max_trials=10_000)
    assert {p.ids for p in found.culprits} == {groups[g] for g in bad}
    assert not found.interactions and not found.given_up
    n, b = len(groups), len(bad)
    assert len(found.trials) <= 2 * b * math.log2(n / b) + 4 * b
    for p in found.trials:
        assert all(set(group) <= set(p.ids) or not set(group) & set(p.ids) for group in groups)
    assert set(found.as_json()["culprits"]) == set(flat([groups[g] for g in bad]))


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 60), st.data())
def test_too_many_together_is_nobodys_fault(n: int, data: st.DataObject) -> None:
    """A batch that fails only by its number: nobody is blamed, and every part recorded as an
    interaction fails though both its halves pass."""
    k = data.draw(st.integers(1, n - 1))
    groups = groups_of([1] * n)
    found = search(groups, lambda ids: ["capacity"] if len(ids) > k else [], max_trials=10_000)
    assert not found.culprits and found.interactions
    for part in found.interactions:
        assert len(part) > k >= math.ceil(len(part) / 2)


def test_a_pair_that_fails_together_is_nobodys_fault() -> None:
    """Nor is a culprit elsewhere let off for it."""
    groups = groups_of([1] * 16)

    def attempt(ids: Group) -> list[str]:
        together = {"2.0", "3.0"} <= set(ids)
        return ["kl"] if together or "12.0" in ids else []

    found = search(groups, attempt)
    assert [p.ids for p in found.culprits] == [("12.0",)]
    assert found.interactions == [("2.0", "3.0")]
    assert found.as_json()["interactions"] == [["2.0", "3.0"]]


def test_a_batch_of_one_group_is_tried_for_its_reason() -> None:
    """It is to blame if it fails again, and is not if it does not; of nothing nobody is."""
    [group] = groups_of([3])
    found = search([group], fails_with({"0.1"}))
    assert found.as_json()["culprits"] == dict.fromkeys(group, "leak of 0.1")
    assert not search([group], fails_with(set())).culprits
    assert not search([], fails_with(set())).trials


def test_the_budget_of_probes_ends_the_search_and_is_told() -> None:
    """No attempt beyond it; who was found by then stays found; one that is just enough gives up
    nothing."""
    groups = groups_of([1] * 32)
    bad = {"0.0", "9.0", "20.0"}
    whole = search(groups, fails_with(bad), max_trials=10_000)
    assert {i for p in whole.culprits for i in p.ids} == bad
    for budget in range(len(whole.trials) + 3):
        found = search(groups, fails_with(bad), max_trials=budget)
        assert len(found.trials) <= budget
        assert found.given_up == (budget < len(whole.trials))
        assert {i for p in found.culprits for i in p.ids} <= bad
        assert found.given_up or found.as_json() == whole.as_json()


def edit(number: int, label: str) -> PlannedEdit:
    return planned_edit(f"{number:016x}", label)


def test_suspects_are_subjects_the_hardest_first() -> None:
    """By the least probability any edit of the subject reached; one without is the least suspect.
    However the name is written, it is one subject, and order of edits does not matter."""
    edits = [edit(0, "Ann"), edit(1, "Bo"), edit(2, "the ann"), edit(3, "Cy"), edit(4, "Di")]
    reached = {edits[0].id: 0.9, edits[1].id: 0.5, edits[2].id: 0.1, edits[3].id: None}
    ids = [e.id for e in edits]
    expected = [(ids[0], ids[2]), (ids[1],), (ids[3],), (ids[4],)]
    assert suspects(edits, reached) == expected
    assert [set(g) for g in suspects(edits[::-1], reached)] == [set(g) for g in expected]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=60), st.integers(0, 200), st.booleans())
def test_how_many_pass_is_found_by_halving(sizes: list[int], most: int, all_fail: bool) -> None:
    """Where a part fails if and only if it has too many edits: the groups before the first that is
    too much, and the edits behind it, in few trials; nothing where all have room."""
    groups = groups_of(sizes)
    if all_fail and most >= sum(sizes):
        most = sum(sizes) - 1
    found = Search()
    room = largest_prefix(
        groups, lambda ids: ["kl"] if len(ids) > most else [], found, all_fail=all_fail
    )
    assert len(found.trials) <= math.ceil(math.log2(len(groups))) + 1
    if room is None:
        assert sum(sizes) <= most and not all_fail
        return
    assert flat(groups) == [*room.passed, *room.over]
    assert len(room.passed) <= most < len(room.failed)
    assert room.failed[: len(room.passed)] == room.passed
    assert room.failed[len(room.passed) :] in groups


def test_what_a_search_has_tried_is_not_tried_again() -> None:
    """The trials of culprits are those of the number, too, where the parts are the same."""
    groups = groups_of([1] * 8)
    tried: list[frozenset[str]] = []

    def attempt(ids: Group) -> list[str]:
        tried.append(frozenset(ids))
        return ["kl"] if len(ids) > 2 else []

    found = search(groups, attempt)
    room = largest_prefix(groups, attempt, found, all_fail=True)
    assert room is not None and len(room.passed) == 2 and room.as_json()["moved"] == list(room.over)
    assert len(tried) == len(set(tried)) == len(found.trials)
