"""A change in one line, and its assessment, for the tests of trust."""

from __future__ import annotations

from datetime import date
from typing import Any

from discovery_helpers import make_change

from discovery.facts.change import Change
from discovery.facts.dates import days
from discovery.relations.relation import load_relations
from discovery.trust.assessment import Assessment, Assessor, end_of
from discovery.trust.policy import Standing, TrustConfig
from discovery.trust.subjects import Subjects

RELATIONS = load_relations()
DAY = date(2023, 6, 30)
NOW = end_of(DAY)
TWO = ("https://www.bbc.co.uk/a", "https://lemonde.fr/b")
OWN = Standing(1.0)
RISK = {"revert_risk": {"contact": "a@b.org", "limit": 0.5}}


def change(**more: Any) -> Change:
    """Q1's head of government is Q2, by Wikidata, with two references, long ago."""
    fields = {
        "subject_label": "Town",
        "relation": "P6",
        "old_values": (),
        "old_labels": (),
        "new_value": "Q2",
        "new_label": "Ann",
        "source": "wd",
        "revision_new": 5,
        "revision_time": "2023-06-01T00:00:00Z",
        "references": TWO,
    }
    return make_change(**{**fields, **more})


def assess(c: Change, *, anew: bool = True, config: Any = None, **more: Any) -> Assessment:
    subjects = more.pop("subjects", Subjects.of([], day=days(DAY)))
    assessor = Assessor(
        config=TrustConfig(**(config or {})),
        now=NOW,
        subjects=subjects,
        relations=RELATIONS,
        **more,
    )
    return assessor.assess(c, anew=anew)
