"""The search for culprits: all of them, nobody else, and in few trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from planned_edits import planned_edit

from pipeline.gate.bisection import Group, Search, find_room, search
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


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=60), st.integers(3, 150), st.data())
def test_how_many_pass_is_found_by_halving(
    sizes: list[int], most: int, data: st.DataObject
) -> None:
    """Where a part fails if and only if it has too many edits or a culprit: the groups before the
    first that is too much, without the culprits among them, who are found; in few trials. Nothing
    where all that are no culprits have room."""
    groups = groups_of(sizes)
    bad = data.draw(st.sets(st.sampled_from(groups), max_size=3))
    good = [group for group in groups if group not in bad]
    wrong = {i for group in bad for i in group}
    found = Search()
    all_fail = bool(bad or sum(sizes) > most) and data.draw(st.booleans())

    def attempt(ids: Group) -> list[str]:
        return ["kl"] if len(ids) > most or wrong & set(ids) else []

    room = find_room(groups, attempt, found, all_fail=all_fail, max_trials=10_000)
    culprits = [trial.ids for trial in found.culprits]
    assert set(culprits) <= bad
    assert len(found.trials) <= (len(culprits) + 1) * (math.ceil(math.log2(len(groups))) + 2)
    if room is None:
        assert sum(map(len, good)) <= most and set(culprits) == bad
        return
    inside = [group for group in good if set(group) <= set(room.passed)]
    assert flat(inside) == list(room.passed) and good[: len(inside)] == inside
    assert (
        len(room.passed) <= most < len(room.failed)
        and room.failed[: len(room.passed)] == room.passed
    )
    assert flat([group for group in groups if group not in culprits]) == [*room.passed, *room.over]
    met = [group for group in bad if groups.index(group) < groups.index(good[len(inside)])]
    assert set(met) <= set(culprits)


@settings(max_examples=100, deadline=None)
@given(st.integers(4, 64), st.integers(1, 40), st.integers(0, 30))
def test_the_trials_end_and_what_passed_stays(n: int, most: int, max_trials: int) -> None:
    """With few trials left, the number is one that passes, and the record says that it may not be
    the greatest."""
    if most >= n:
        most = n - 1
    groups = groups_of([1] * n)

    def attempt(ids: Group) -> list[str]:
        return ["kl"] if len(ids) > most else []

    found = Search()
    room = find_room(groups, attempt, found, all_fail=True, max_trials=max_trials)
    assert room is not None and len(room.passed) <= most and len(found.trials) <= max_trials
    assert found.given_up or len(room.passed) == most
    assert not found.culprits


def test_number_ends_the_search_for_culprits() -> None:
    """Where parts fail by their number, halves of others need not be tried: a few trials instead of
    one for each part that passes. What was tried is not tried again."""
    groups = groups_of([1] * 64)
    tried: list[frozenset[str]] = []

    def attempt(ids: Group) -> list[str]:
        tried.append(frozenset(ids))
        return ["kl"] if len(ids) > 5 or "3.0" in ids else []

    whole = search(groups, attempt, max_trials=1000)
    tried.clear()
    found = search(groups[::-1], attempt, stop_at_number=True)
    assert len(found.interactions) == 1 and len(found.trials) < len(whole.trials) / 3
    room = find_room(groups, attempt, found, all_fail=True)
    assert room is not None
    assert room.passed == ("0.0", "1.0", "2.0", "4.0", "5.0")
    assert [trial.ids for trial in found.culprits] == [("3.0",)]
    assert room.as_json() == {"passed": 5, "failed": 6, "moved": list(room.over)}
    assert len(tried) == len(set(tried)) == len(found.trials)
