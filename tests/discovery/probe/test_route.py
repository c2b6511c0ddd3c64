"""Routes: each row of the table (specification section 9), and what chooses within a budget."""

from __future__ import annotations

from math import log
from typing import Any

import pytest
from discovery_helpers import make_change
from hypothesis import given
from hypothesis import strategies as st

from discovery.facts.change import Change
from discovery.probe.beliefs.candidates import why_not_askable
from discovery.probe.output import Verdict
from discovery.probe.route import RouteConfig, priority, route_change, route_verdict, worth_asking
from discovery.relations.relation import load_relations

RELATIONS = load_relations()


def change(**more: Any) -> Change:
    """That Ann plays for Club."""
    fields = {"reason": "so it is", "new_label": "Club", "source": "wd"}
    return make_change(**{**fields, "old_values": (), "old_labels": (), **more})


@pytest.mark.parametrize(
    ("settings", "to", "rule"),
    [
        ({}, "weights", "askable"),
        ({"value_type": "string", "new_value": "Club"}, "weights", "askable"),
        ({"relation": "P1082", "value_type": "quantity"}, "fact sheet", "number"),
        ({"relation": "P570", "value_type": "time"}, "fact sheet", "date"),
        ({"relation": "P106"}, "fact sheet", "set"),
        ({"new_label": "x" * 61}, "fact sheet", "long"),
        ({"kind": "conflict", "rule": "3"}, "fact sheet", "contested"),
        (
            {
                **{"kind": "conflict", "rule": "2", "new_value": None, "new_label": None},
                **{"old_values": ("Q2", "Q3"), "old_labels": ("A", "B")},
            },
            "fact sheet",
            "contested",
        ),
        ({"kind": "conflict", "rule": "1"}, "none", "incoherent"),
        ({"scope": "[]"}, "fact sheet", "scoped"),
        ({"scope": '[["P518","Q9"]]'}, "fact sheet", "scoped"),
        ({"kind": "learn", "rule": "16"}, "none", "derived"),
        ({"kind": "ignored", "rule": "7"}, "scheduled", "future"),
        ({"kind": "ignored", "rule": "10"}, "none", "undecided"),
        ({"kind": "ignored", "rule": "22"}, "none", "ignored"),
        ({"kind": "keep"}, "none", "kept"),
        ({"kind": "forget"}, "none", "forget"),
        ({"kind": "vacated"}, "none", "vacated"),
        ({"relation": "P99999"}, "none", "no templates"),
        ({"subject_label": None}, "none", "no label"),
        ({"new_label": None}, "none", "no label"),
        ({"new_label": "Q3"}, "none", "no label"),
        ({"value_type": "other"}, "none", "no words"),
    ],
)
def test_the_table(settings: Any, to: str, rule: str) -> None:
    """By the change alone; every route has a sentence."""
    found = route_change(change(**settings), RELATIONS, RouteConfig())
    assert (found.to, found.rule) == (to, rule) and found.reason


def test_a_relation_that_goes_to_the_sheet_by_policy() -> None:
    """Whatever else could be done with it."""
    found = route_change(change(), RELATIONS, RouteConfig(fact_sheet=("P54",)))
    assert (found.to, found.rule) == ("fact sheet", "by policy")


@pytest.mark.parametrize(
    ("answer", "teach", "sitelinks", "to", "rule"),
    [
        ("stale", False, 0, "weights", "stale"),
        ("inconsistent", True, 9, "weights", "inconsistent"),
        ("knows", True, 9, "none", "knows"),
        ("unknown", True, 9, "weights", "unknown"),
        ("unknown", True, 4, "fact sheet", "never known"),
        ("unknown", False, 9, "fact sheet", "never known"),
        (None, True, 9, "none", "not asked"),
    ],
)
def test_by_the_verdict(answer: Any, teach: bool, sitelinks: int, to: str, rule: str) -> None:
    """Stale beliefs are corrected however little known; an unknown tail is for retrieval."""
    verdict = Verdict(change_id="", verdict=answer, reason="because")
    found = route_verdict(
        change(popularity=sitelinks), verdict, RouteConfig(min_sitelinks=5), teach_unknown=teach
    )
    assert (found.to, found.rule) == (to, rule) and found.reason


KINDS = st.sampled_from(["learn", "replace", "forget", "vacated", "keep", "conflict", "ignored"])


@given(
    kind=KINDS,
    rule=st.sampled_from(["1", "2", "7", "10", "22"]),
    relation=st.sampled_from([*RELATIONS, "P0"]),
    value_type=st.sampled_from(["entity", "string", "quantity", "time", "other"]),
    labels=st.tuples(*[st.none() | st.sampled_from(["Ann", "Q3", "x" * 61])] * 2),
)
def test_weights_are_what_the_probe_can_ask(
    kind: Any, rule: str, relation: str, value_type: Any, labels: Any
) -> None:
    """Nothing is sent to the model that the probe would refuse, and nothing that it could ask is
    refused in silence."""
    c = change(
        kind=kind,
        rule=rule,
        relation=relation,
        value_type=value_type,
        subject_label=labels[0],
        new_label=labels[1],
    )
    found = route_change(c, RELATIONS, RouteConfig())
    assert (found.to == "weights") == (why_not_askable(c, RELATIONS) is None)


def test_priority_is_the_product_of_its_factors() -> None:
    """Each doubles it where it doubles; no sitelinks are no zero."""
    sure = Verdict(change_id="", verdict="stale", reason="", confidence=0.8)
    assert priority(change(), sure, 0.5, 0.5) == pytest.approx(0.5 * 0.8 * 0.5)
    assert priority(change(popularity=9), sure, 1, 1) == pytest.approx((1 + log(10)) * 0.8)
    assert worth_asking(change(popularity=9), 0.25) == pytest.approx((1 + log(10)) / 4)
