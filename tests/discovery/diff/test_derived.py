"""What follows by an inverse is told beside its cause, and never acted on alone."""

from dataclasses import replace

import pytest
from discovery_helpers import diff_of, make_fact, make_snapshot

from discovery.facts.change import DiffRule
from discovery.facts.fact import Entity
from discovery.probe.beliefs.candidates import why_not_askable
from discovery.probe.route import RouteConfig, route_change
from discovery.relations.relation import load_relations

NAMES = [
    Entity(id="Q1", label="Ann", aliases=("A.",), num_sitelinks=3, source="wd"),
    Entity(id="Q2", label="Ben", aliases=("B.",), num_sitelinks=7, source="wd"),
    Entity(id="Q3", label="Town", source="wd"),
    Entity(id="Q4", label="Country", source="wd"),
    Entity(id="Q5", label="City", source="wd"),
]
WEDDING = make_fact(
    "Q2", subject="Q1", relation="P26", start="2020-05", references=("https://a.org",)
)
BACK = make_fact("Q1", subject="Q2", relation="P26", start="2020-05")
LONG_AGO = make_fact("Q1", subject="Q2", relation="P26", start="2010")
CAPITAL = make_fact("Q4", subject="Q3", relation="P1376", start="2020-05")


def changes(root, old, new):
    before = make_snapshot(root / "old", old, NAMES, "2016-08-31")
    return diff_of(root, before, make_snapshot(root / "new", new, NAMES))


def test_a_symmetric_relation_is_told_from_the_other_side(tmp_path):
    """16: Ann has married Ben, so Ben has married Ann; names and evidence are of the right one."""
    told, follows = changes(tmp_path, [], [WEDDING])
    assert (told.kind, told.rule) == ("learn", "18")
    assert (follows.kind, follows.rule) == ("learn", DiffRule.DERIVED)
    assert (follows.subject, follows.relation, follows.new_value) == ("Q2", "P26", "Q1")
    assert (follows.subject_label, follows.subject_aliases) == ("Ben", ("B.",))
    assert (follows.new_label, follows.new_aliases) == ("Ann", ("A.",))
    assert follows.popularity == 7 and follows.references == ("https://a.org",)
    assert told.id in follows.reason and follows.id != told.id


@pytest.mark.parametrize(
    ("old", "new", "rules"),
    [
        ([], [WEDDING, BACK], ["18", "18"]),
        ([LONG_AGO], [WEDDING, LONG_AGO], ["18"]),
        ([LONG_AGO], [LONG_AGO], []),
        ([], [replace(WEDDING, start=None)], ["22"]),
        ([], [CAPITAL], ["18", DiffRule.DERIVED]),
        (
            [make_fact("Q5", subject="Q4", relation="P36")],
            [make_fact("Q5", subject="Q4", relation="P36"), CAPITAL],
            ["18"],
        ),
    ],
    ids=["stated too", "stated before", "nothing new", "ignored", "inverse", "another is stated"],
)
def test_nothing_follows_from_what_is_stated(tmp_path, old, new, rules):
    """Where the other side is stated, or the source names another where one is expected, or nothing
    was learned, nothing is derived."""
    found = [c.rule for c in changes(tmp_path, old, new) if c.kind != "keep"]
    assert sorted(found) == sorted(rules)


def test_it_is_never_acted_on_alone(tmp_path):
    """Neither weights nor the fact sheet take what no source states, though one object is expected
    and it has a name."""
    _, follows = changes(tmp_path, [], [CAPITAL])
    assert follows.relation == "P36" and follows.rule == DiffRule.DERIVED
    route = route_change(follows, load_relations(), RouteConfig())
    assert (route.to, route.rule) == ("none", "derived")
    assert "never edited alone" in str(why_not_askable(follows, load_relations()))
