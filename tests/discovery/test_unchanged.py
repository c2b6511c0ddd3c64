"""The columns decide what need not be judged, and never more than that."""

from dataclasses import replace

from discovery_helpers import make_fact as fact
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.dates import iso_interval
from discovery.diff import diff_facts
from discovery.fact import FACT_SCHEMA, Fact, from_table, to_table
from discovery.unchanged import to_judge

T_OLD, T_NEW = iso_interval("2016-08-31").earliest, iso_interval("2023-06-30").earliest
FUNCTIONAL = frozenset({"P6"})
DATES = st.sampled_from(
    [None, "1990", "2016-08", "2016-08-30", "2016-08-31", "2017", "2023", "2023-06-30", "2025"]
)


@st.composite
def facts(draw):
    """A statement of a small world, dated near the window's ends."""
    made = fact(
        draw(st.sampled_from(["Q10", "Q20", "Q30"])),
        draw(st.sampled_from(["s1", "s2", "s3"])),
        subject=draw(st.sampled_from(["Q1", "Q2", "Q3", "Q4"])),
        relation=draw(st.sampled_from(["P6", "P190"])),
        start=draw(DATES),
        end=draw(DATES),
        rank=draw(st.sampled_from(["normal", "preferred", "deprecated"])),
        references=draw(st.sampled_from([(), ("Q9",)])),
    )
    revised = draw(st.sampled_from([None, "2015-01-01T00:00:00Z", "2016-08-31T01:00:00Z"]))
    return replace(made, revision_time=revised)


def unique(found):
    """One statement an id and subject, as a snapshot has them."""
    return list({(f.subject, f.relation, f.statement_id): f for f in found}.values())


def judged(old, new, max_kept, wanted=("P6", "P190")):
    """Changes by way of the columns, and how many groups were left out."""
    found = to_judge(
        to_table(old, FACT_SCHEMA),
        to_table(new, FACT_SCHEMA),
        old_day=T_OLD,
        new_day=T_NEW,
        wanted=wanted,
        max_kept=max_kept,
    )
    sides = from_table(found.old, Fact), from_table(found.new, Fact)
    return changes_of(*sides, since=found.since), found.unchanged


def changes_of(old, new, **more):
    days = {"old_day": T_OLD, "new_day": T_NEW}
    return diff_facts(old, new, functional=FUNCTIONAL, **days, **more)


@settings(max_examples=300, deadline=None)
@given(st.lists(facts(), max_size=10), st.lists(facts(), max_size=4), st.integers(0, 3))
def test_what_is_left_out_is_only_kept(before, more, drop):
    """Every change that the rules find is found by way of the columns too; what is missing are
    facts that hold as before, or several values at once that were so before."""
    old = unique(before)
    new = unique([*old[drop:], *more])
    everything, (some, left) = changes_of(old, new), judged(old, new, 0)
    missing = [change for change in everything if change not in some]
    assert [change for change in some if change not in everything] == []
    assert {(c.kind, c.rule) for c in missing} <= {("keep", "21"), ("ignored", "2")}
    groups = {(c.subject, c.relation) for c in missing}
    assert left >= len(groups)
    assert groups.isdisjoint({(c.subject, c.relation) for c in some})


@settings(max_examples=50, deadline=None)
@given(st.lists(facts(), max_size=10), st.lists(facts(), max_size=4))
def test_with_room_for_all_nothing_is_left_out(before, more):
    """As many unchanged groups as there are: the diff is the plain one."""
    old = unique(before)
    new = unique([*old, *more])
    assert judged(old, new, 10) == (changes_of(old, new), 0)


def test_the_sample_is_bounded_by_relation():
    """Of a hundred unchanged groups of each relation, so many of each that is wanted are judged."""
    world = [fact("Q10", f"s{n}", subject=f"Q{n}", relation=r) for n in range(100)
             for r in ("P6", "P190")]  # fmt: skip
    changes, left = judged(world, world, 7)
    assert left == 2 * 93
    assert [sum(c.relation == r for c in changes) for r in ("P6", "P190")] == [7, 7]
    assert {change.relation for change in judged(world, world, 7, wanted=("P6",))[0]} == {"P6"}
    assert judged(world, world, 7, wanted=()) == ([], 200)


def test_the_window_of_a_subject_is_told_by_facts_that_are_left_out():
    """A group that changed is judged from the day of its subject's earlier revision, which only an
    unchanged fact has."""
    still = replace(fact("Q10", "s1", relation="P6"), revision_time="2015-01-01T00:00:00Z")
    added = fact("Q20", "s2", relation="P190", start="2016-02-01")
    changes, left = judged([still], [still, added], 0)
    assert left == 1
    assert [(c.kind, c.rule) for c in changes] == [("learn", "18")]


@given(st.lists(facts(), max_size=8), st.randoms())
def test_the_order_of_facts_does_not_matter(before, draw):
    """Whatever revisions they are of."""
    old = unique(before)
    mixed = draw.sample(old, len(old))
    assert changes_of(old, old) == changes_of(mixed, old)
