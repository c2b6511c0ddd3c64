"""What holds of every diff, whatever the facts: put onto the old, its changes give the new."""

from dataclasses import replace

from discovery_helpers import make_fact as fact
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.diff.compare import diff_facts
from discovery.facts.current_view import current
from discovery.facts.dates import iso_interval

T_OLD, T_NEW = iso_interval("2016-08-31").earliest, iso_interval("2023-06-30").earliest
FUNCTIONAL = {"P6": (), "P35": ("P3831",)}
DATES = st.sampled_from(
    [None, "1990", "2016-08", "2016-08-30", "2016-08-31", "2017", "2019-05-01", "2023", "2025"]
)
QUALIFIERS = (
    "[]", '[["P3831","Q1"]]', '[["P3831","Q2"]]', '[["P1310","Q9"]]', '[["P518","Q9"]]'
)  # fmt: skip


@st.composite
def facts(draw):
    """A statement of a small world, dated near the window's ends."""
    snaktype = draw(st.sampled_from(["value"] * 6 + ["somevalue", "novalue"]))
    value = draw(st.sampled_from(["Q10", "Q20", "Q30"])) if snaktype == "value" else ""
    made = fact(
        value,
        draw(st.sampled_from(["s1", "s2", "s3"])),
        subject=draw(st.sampled_from(["Q1", "Q2"])),
        relation=draw(st.sampled_from(["P6", "P35", "P190"])),
        snaktype=snaktype,
        start=draw(DATES),
        end=draw(DATES),
        rank=draw(st.sampled_from(["normal", "normal", "preferred", "deprecated"])),
        qualifiers=draw(st.sampled_from(QUALIFIERS)),
        source=draw(st.sampled_from(["wd", "wd", "hr"])),
    )
    revised = draw(st.sampled_from([None, "2015-01-01T00:00:00Z", "2016-08-31T01:00:00Z"]))
    return replace(made, revision_time=revised)


def worlds():
    """Lists of facts as a snapshot has them: one statement an id, subject and source."""
    return st.lists(facts(), max_size=8).map(
        lambda found: list(
            {(f.subject, f.relation, f.statement_id, f.source): f for f in found}.values()
        )
    )


def diff(old, new, **more):
    days = {"old_day": T_OLD, "new_day": T_NEW, "functional": FUNCTIONAL}
    return diff_facts(old, new, **{**days, **more})


def held(world, day):
    """What holds, by subject and relation."""
    groups = {}
    for f in world:
        groups.setdefault((f.subject, f.relation), []).append(f)
    return {key: set(current(group, day, key[1], FUNCTIONAL)) for key, group in groups.items()}


def applied(values, changes):
    """The values of a group once its changes are put onto them."""
    values = set(values)
    for change in changes:
        if change.kind == "replace":
            values = (values - set(change.old_values)) | {change.new_value}
        elif change.kind in ("learn", "keep"):
            values |= {change.new_value}
        elif change.kind in ("forget", "vacated"):
            values -= set(change.old_values)
    return values


@settings(max_examples=400, deadline=None)
@given(worlds(), worlds(), st.integers(0, 8))
def test_the_changes_put_onto_the_old_give_the_new(before, after, shared):
    """Of each group: its values with what was learned, replaced and forgotten are those that hold
    now, but for values that the diff itself declines to decide about."""
    after = list({(f.subject, f.relation, f.statement_id, f.source): f
                  for f in (*before[:shared], *after)}.values())  # fmt: skip
    old, new = held(before, T_OLD), held(after, T_NEW)
    by_group = {}
    for change in diff(before, after):
        by_group.setdefault((change.subject, change.relation), []).append(change)
    for key in {*old, *new}:
        changes = by_group.get(key, [])
        decided = [c for c in changes if c.kind not in ("ignored", "conflict")]
        declined = {
            value
            for c in changes
            if c.kind in ("ignored", "conflict")
            for value in (c.new_value, *c.old_values)
        }
        result = applied(old.get(key, ()), decided)
        assert result ^ new.get(key, set()) <= declined, (key, changes)


@settings(max_examples=200, deadline=None)
@given(worlds())
def test_a_diff_with_itself_is_empty(world):
    """Nothing is learned, replaced or forgotten, and no conflict is new."""
    kinds = {c.kind for c in diff(world, world, old_day=T_NEW)}
    assert kinds <= {"keep", "ignored"}


@settings(max_examples=200, deadline=None)
@given(worlds(), worlds(), st.randoms())
def test_the_order_of_input_does_not_matter(before, after, rng):
    """Whatever order facts come in, the changes are the same, in the same order."""
    expected = diff(before, after)
    assert diff(rng.sample(before, len(before)), rng.sample(after, len(after))) == expected
    assert len({c.id for c in expected}) == len(expected)
