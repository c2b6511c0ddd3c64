"""The columns decide what need not be judged, and never more than that."""

from dataclasses import replace
from operator import attrgetter

import numpy as np
import pyarrow as pa
from discovery_helpers import make_fact as fact
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.diff.compare import diff_facts
from discovery.diff.selection import select_groups, shares
from discovery.facts.dates import iso_interval
from discovery.facts.fact import FACT_SCHEMA, Fact
from discovery.facts.hashing import hash_of
from discovery.facts.tables import from_table, to_table
from discovery.snapshot.group_digests import groups_of

T_OLD, T_NEW = iso_interval("2016-08-31").earliest, iso_interval("2023-06-30").earliest
FUNCTIONAL = {"P6": ()}
KEY = attrgetter("subject", "relation", "statement_id", "source")
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


def judged(old, new, max_kept: int, wanted=("P6", "P190")):
    """Changes by way of the columns, and how many groups were left out."""
    sides = [to_table(sorted(side, key=KEY), FACT_SCHEMA) for side in (old, new)]
    groups = [groups_of(side) for side in sides]
    found = select_groups(*groups, old_day=T_OLD, wanted=dict.fromkeys(wanted, max_kept))
    before, after = (
        from_table(table.filter(pa.array(np.repeat(side.judged, group["rows"].to_numpy()))), Fact)
        for table, side, group in zip(sides, (found.old, found.new), groups, strict=True)
    )
    days = zip((*groups[0]["subject"].to_pylist(), *groups[1]["subject"].to_pylist()),
               (*found.old.since.tolist(), *found.new.since.tolist()), strict=True)  # fmt: skip
    since = dict(days)
    by_subject = {f.subject: since[hash_of(f.subject)] for f in (*before, *after)}
    return changes_of(before, after, since=by_subject), found.unchanged


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


def test_the_sample_is_taken_from_the_first_buckets():
    """Of each relation as many groups as there are, bucket after bucket, until there are enough."""
    p6, p190 = hash_of("P6"), hash_of("P190")
    counts = [{p6: 5}, {p6: 5, p190: 1}, {p6: 5, p190: 1}]
    assert shares(counts, ["P6", "P190"], 7) == [{"P6": 5}, {"P6": 2, "P190": 1}, {"P190": 1}]
    assert shares(counts, ["P6"], 0) == [{}, {}, {}]


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


WORDS = st.text("ab\0", max_size=2)


@given(
    st.lists(st.tuples(WORDS, WORDS, st.lists(WORDS, max_size=2).map(tuple)), max_size=3),
    st.lists(st.tuples(WORDS, WORDS, st.lists(WORDS, max_size=2).map(tuple)), max_size=3),
)
def test_groups_of_the_same_digest_say_the_same(one, other):
    """However their texts are cut into pieces, and whatever characters they hold."""

    def content(said):
        facts = [fact(value, key, value_type="string", references=heard)
                 for key, value, heard in said]  # fmt: skip
        found = groups_of(to_table(facts, FACT_SCHEMA))["content"].to_pylist()
        return found or None

    assert (content(one) == content(other)) == (one == other)


@given(st.lists(facts(), max_size=12))
def test_groups_cover_the_rows(found):
    """Group after group, in the order of the rows, under the hashes of their ids."""
    rows = sorted(unique(found), key=KEY)
    groups = groups_of(to_table(rows, FACT_SCHEMA)).to_pylist()
    keys = [(g["subject"], g["relation"]) for g in groups for _ in range(g["rows"])]
    assert keys == [(hash_of(f.subject), hash_of(f.relation)) for f in rows]
    assert len({(g["subject"], g["relation"]) for g in groups}) == len(groups)
