"""Datasets of what follows from edits: RippleEdits and MQuAKE."""

from __future__ import annotations

from pathlib import Path

from pipeline.datasets import load_cases

DATA = Path(__file__).parent / "data"


def test_mquake_shares_edits_and_drops_what_contradicts() -> None:
    """Of six records two share an edit; three cannot be asked together with those before them: an
    edit edited otherwise, an edit of what was relied on, a step that was edited."""
    cases = load_cases("mquake", DATA / "mquake.json")
    assert [(hop.id, hop.case_ids) for hop in cases.multi_hop] == [
        ("1", ("1-0",)),
        ("2", ("2-0", "1-0")),
        ("6", ("6-0",)),
    ]
    assert [case.subject for case in cases.cases] == ["Ada Quill", "Bob Reed", "Lake Inn"]
    assert cases.dropped == {
        "record: it edits what an earlier record edits otherwise": 1,
        "record: it edits what an earlier record relies on": 1,
        "record: it relies on what an earlier record edits": 1,
    }
    ada = cases.by_id["1-0"]
    assert ada.accepted == ("Norland", "Kingdom of Norland", "NO")
    assert not ada.is_right("no one knows")
    assert ada.paraphrases == ("Ada Quill is a citizen of what?",)
    first = cases.multi_hop[0]
    assert first.accepted == ("King Olm", "Olm I")
    assert [hop.prompt for hop in first.hops] == [
        "Ada Quill is a citizen of",
        "The head of state of Norland is",
    ]


def test_all_that_mquake_asks_can_be_true_at_once() -> None:
    """No step of any question has another answer than an edit of the set gives it."""
    cases = load_cases("mquake", DATA / "mquake.json")
    facts: dict[str, str] = {case.prompt: case.target for case in cases.cases}
    for question in cases.multi_hop:
        for hop in question.hops:
            assert facts.setdefault(hop.prompt, hop.accepted[0]) == hop.accepted[0]


def test_ripple_edits_become_criteria() -> None:
    """The example of the benchmark's own README, kind by kind."""
    cases = load_cases("ripple", DATA / "ripple.json")
    leo = cases.cases[0]
    assert leo.prompt == "The name of the country of citizenship of Leonardo DiCaprio is"
    assert (leo.relation, leo.target, leo.old) == ("P27", "Syria", ("United States of America",))
    assert leo.accepted == ("Syria", "sy", "Syrian Arab Republic", "S")
    assert [query.prompt for query in leo.same_subject] == [
        "The name of the mother of Leonardo DiCaprio is"
    ]
    tests = {test.kind: test for test in leo.criteria}
    assert len(tests) == len(leo.criteria) == 5
    mother = tests["relation_specificity"]
    assert mother.queries == mother.conditions
    assert mother.queries[0][1][0][:2] == ("Irmelin DiCaprio", "Irmelin Indenbirken")
    assert tests["compositionality_i"].conditions[0][0] == "The name of the currency in Syria is"
    assert tests["preservation"].queries[0][1] == (("United States of America", "USA"),)
    both = tests["logical_generalization"]
    assert both.all_of
    assert len(both.queries) == 2
    assert not tests["subject_aliasing"].all_of


def test_a_ripple_edits_subject_is_told_from_its_target() -> None:
    """By another question about it, or where the sentence comes apart in one place only; else the
    record is dropped, not guessed at."""
    cases = load_cases("ripple", DATA / "ripple.json")
    assert [(case.subject, case.target) for case in cases.cases[1:]] == [
        ("Fog is the Sea", "Rain is Rain"),
        ("Ann Frost", "female"),
    ]
    assert cases.dropped == {
        "criterion: nothing is left that would have to be said": 1,
        "record: its subject cannot be told from its target": 1,
        "record: the phrase of its relation is not known": 1,
    }
