"""Every rule of the diff on a case made for it, and properties of the diff of all cases."""

import random
from dataclasses import replace

import pytest
from diff_cases import CASES, OTHER, T_NEW, T_OLD, A, B, changes, outcome
from discovery_helpers import make_fact as fact

from discovery.facts.dates import iso_interval, wikibase_interval
from discovery.facts.fact import Entity


@pytest.mark.parametrize("case", CASES)
def test_rule(case):
    """Each situation of the semantics table gets its class by its rule."""
    old, new, kind, rule = CASES[case]
    assert outcome(old, new) == [(kind, rule)]


def test_multi_valued_groups():
    """Values come and go on their own: 18 for one that began, 19 for one that ended, 21 for the
    rest.
    """
    a, b, c = (fact(key, **OTHER) for key in ("Q10", "Q20", "Q30"))
    ended = replace(b, end=iso_interval("2019-05"))
    new = fact("Q40", start="2020", **OTHER)
    assert sorted(outcome([a, b, c], [a, c, ended, new])) == [
        ("forget", "19"),
        ("keep", "21"),
        ("keep", "21"),
        ("learn", "18"),
    ]


BORN = {"relation": "P571", "value_type": "time"}


@pytest.mark.parametrize(
    ("began", "learned"), [("2019-05", True), ("2001", False), ("2016-08", False), ("2030", False)]
)
def test_a_new_subject(began, learned):
    """17: of a subject that is new and began in the window, what holds is learned, dated or not; of
    one that is only new to the source it is not."""
    facts = [fact(began, **BORN), fact("Q10"), fact("Q20", **OTHER), fact("Q5", start="2018")]
    facts[-1] = replace(facts[-1], relation="P31")
    found = {c.relation: (c.kind, c.rule) for c in changes([], facts)}
    undated = ("learn", "17") if learned else ("ignored", "22")
    assert (found["P6"], found["P190"]) == (undated, undated)
    assert found["P31"] == ("learn", "17" if learned else "18")
    old = [fact("Q1", relation="P1")]
    assert outcome(old, [*old, *facts])[0] != ("learn", "17")
    known = {c.relation: c.rule for c in changes([], facts, known={"Q1"})}
    assert known["P6"] == "22"


SCOPES = {"functional": {"P6": ("P3831",)}}


def test_separators_tell_facts_apart():
    """Of a relation with separators each value of these is a group: a successor in one is none in
    the other, two at once are no conflict, and the change says which it is of."""
    first, second = ({"qualifiers": f'[["P3831","{role}"]]'} for role in ("Q1", "Q2"))
    old = [fact("Q10", **first), fact("Q11", **second)]
    new = [fact("Q20", start="2018", **first), fact("Q11", **second)]
    found = changes(old, new, **SCOPES)
    assert [(c.kind, c.rule, c.old_values, c.new_value, c.scope) for c in found] == [
        ("keep", "21", (), "Q11", '[["P3831","Q2"]]'),
        ("replace", "11", ("Q10",), "Q20", '[["P3831","Q1"]]'),
    ]
    assert outcome(old, new) == [("conflict", "2")]
    plain = changes([A], [B], **SCOPES)
    assert [(c.kind, c.rule, c.scope) for c in plain] == [("replace", "11", "")]
    beside = changes([A], [B, fact("Q11", **second)], **SCOPES)
    assert {c.scope for c in beside} == {"[]", '[["P3831","Q2"]]'}


def test_older_observation_of_a_multi_valued_relation_is_undecided():
    """That something held in 2012 does not say that it holds now, once a later observation names
    another.
    """
    old = [fact("Q10", point="2012", **OTHER)]
    found = outcome(old, [*old, fact("Q20", point="2020", **OTHER)])
    assert sorted(found) == [("ignored", "10"), ("learn", "18")]


def test_same_label_is_no_change():
    """6: two items of the same name would teach the model nothing."""
    labels = {"Q10": "Springfield", "Q20": "springfield"}
    names = {key: Entity(id=key, label=text, source="wd") for key, text in labels.items()}
    assert outcome([A], [B], entities=names) == [("ignored", "6")]


def test_change_carries_its_evidence():
    """A replacement names both statements, revisions, labels, the date and the references."""
    before = replace(A, revision=5, revision_time="2016-08-12T09:00:51Z")
    after = replace(
        B, revision=9, revision_time="2023-04-04T05:21:49Z", references=("https://x.org",)
    )
    names = {
        "Q1": Entity(id="Q1", label="Bielefeld", num_sitelinks=109, source="wd"),
        "Q20": Entity(id="Q20", label="Ada", aliases=("A.",), source="wd"),
    }
    (change,) = changes([before], [after], entities=names)
    assert (change.subject_label, change.popularity) == ("Bielefeld", 109)
    assert (change.old_values, change.old_labels) == (("Q10",), ("Q10",))
    assert (change.new_value, change.new_label, change.new_aliases) == ("Q20", "Ada", ("A.",))
    assert (change.old_statements, change.new_statement) == (("Q1$Q10",), "Q1$Q20")
    assert (change.revision_old, change.revision_new) == (5, 9)
    assert change.since == B.start and change.references == ("https://x.org",)


def test_what_happened_after_the_earlier_revision_is_in_the_window():
    """An entity read at a revision of 12 August misses what began on the 20th, though the snapshot
    is of the 31st.
    """
    before = replace(A, revision=5, revision_time="2016-08-12T09:00:51Z")
    assert outcome([before], [fact("Q20", start="2016-08-20")]) == [("replace", "11")]
    assert outcome([A], [fact("Q20", start="2016-08-20")]) == [("replace", "12")]


def test_first_snapshot_learns_everything_current():
    """Without an earlier snapshot all that holds is learned; former values of a functional relation
    come along as what the model may still believe.
    """
    ended = fact("Q10", end="2010")
    found = changes(None, [ended, B, fact("Q30", **OTHER)], old_day=None)
    assert {(c.kind, c.rule, c.old_values, c.new_value) for c in found} == {
        ("ignored", "9", (), "Q10"),
        ("learn", "first", ("Q10",), "Q20"),
        ("learn", "first", (), "Q30"),
    }


def everything():
    """All the cases' facts, each under a subject of its own."""
    old, new = [], []
    for n, (before, after, _, _) in enumerate(CASES.values()):
        for facts, target in ((before, old), (after, new)):
            target += [
                replace(f, subject=f"Q{n}", statement_id=f"Q{n}{f.statement_id}") for f in facts
            ]
    return old, new


def test_order_of_input_does_not_matter():
    """Shuffled facts give the same changes in the same order."""
    old, new = everything()
    expected = changes(old, new)
    for seed in range(5):
        rng = random.Random(seed)
        rng.shuffle(old)
        rng.shuffle(new)
        assert changes(old, new) == expected


def test_a_snapshot_against_itself_changes_nothing():
    """Only keep and ignored come out of a diff of anything with itself."""
    for facts in everything():
        assert {c.kind for c in changes(facts, facts, old_day=T_NEW)} <= {"keep", "ignored"}


def test_changes_have_their_own_ids():
    """No two changes share an id, and an id does not depend on what else changed."""
    old, new = everything()
    found = changes(old, new)
    assert len({c.id for c in found}) == len(found)
    assert changes([A], [B])[0].id == changes([A], [B, fact("Q5", **OTHER)])[1].id


@pytest.mark.parametrize(
    ("start", "kind", "rule"),
    [
        ("+2016-00-00", "ignored", "10"),
        ("+2016-07-00", "replace", "12"),
        ("+2016-08-00", "ignored", "10"),
        ("+2016-09-00", "replace", "11"),
        ("+2023-05-00", "replace", "11"),
        ("+2023-06-00", "ignored", "10"),
        ("+2023-07-00", "ignored", "7"),
        ("+2023-00-00", "ignored", "10"),
    ],
)
def test_an_unknown_month_or_day_at_the_windows_edge(start, kind, rule):
    """Of a window from the middle of a month to that of another: a month or year is in it when all
    of it is, outside when none is, and open in between."""
    value = {"time": f"{start}T00:00:00Z", "precision": 11}
    began, _ = wikibase_interval(value)
    middle = {"old_day": T_OLD - 16, "new_day": T_NEW - 15}
    found = changes([A], [replace(B, start=began)], **middle)
    assert [(c.kind, c.rule) for c in found if c.new_value == "Q20"] == [(kind, rule)]


@pytest.mark.parametrize("qualifier", ["P518", "P642", "P1001", "P1264", "P3005"])
def test_what_is_said_of_a_part_is_not_said_of_the_whole(qualifier):
    """A value that a qualifier narrows replaces none, and one that is narrowed is not forgotten."""
    narrow = {"qualifiers": f'[["{qualifier}","Q9"]]'}
    assert outcome([A], [A, replace(B, **narrow)]) == [("keep", "21")]
    assert outcome([A], [replace(A, **narrow)]) == [("ignored", "22")]


def test_labels_of_dates_and_quantities_are_words():
    """What goes into sentences is written for people, old values and new ones; values stay
    canonical."""
    old = fact("-0043-03-15", "s", relation="P571", value_type="time")
    new = fact("1701-01-01/1899-12-31", "s", relation="P571", value_type="time")
    high = fact("+5 Q11573", relation="P2044", value_type="quantity")
    [dated] = changes([old], [new], functional={"P571": ()})
    assert (dated.old_labels, dated.new_label) == (("15 March 44 BCE",), "the 18th century")
    assert (dated.old_values, dated.new_value) == ((old.value,), new.value)
    metre = Entity(id="Q11573", label="metre", source="wd")
    labels = [
        change.new_label
        for known in ({}, {"Q11573": metre})
        for change in changes([], [high], entities=known)
    ]
    assert labels == ["5 (unit Q11573)", "5 metre"]
