"""Wikibase JSON in all its forms, recorded and made."""

import gzip
import json
from copy import deepcopy

import pytest
from discovery_helpers import EXAMPLES
from pydantic import ValidationError

from discovery.facts.dates import holds, iso_interval
from discovery.sources.wikibase.config import WikidataConfig
from discovery.sources.wikibase.entities import (
    find_entity,
    parse_entity,
    parse_labels,
    referenced_items,
)

RECORDING = EXAMPLES / "recordings" / "wikidata"


def recorded(entity, revision):
    payload = gzip.decompress((RECORDING / f"{entity}-{revision}.json.gz").read_bytes())
    found = find_entity(json.loads(payload), entity)
    assert found is not None
    return found


def snak(value, kind="wikibase-entityid", datatype="wikibase-item"):
    value = (
        {"id": value, "entity-type": "item"} if isinstance(value, str) and kind[0] == "w" else value
    )
    data = {"value": value, "type": kind}
    return {"snaktype": "value", "property": "P6", "datatype": datatype, "datavalue": data}


def time(text, precision=11):
    model = "http://www.wikidata.org/entity/Q1985727"
    return snak({"time": text, "precision": precision, "calendarmodel": model}, "time", "time")


def entity(main=None, **statement):
    statement = {"id": "Q1$1", "rank": "normal", "mainsnak": main or snak("Q10"), **statement}
    return {
        "id": "Q1",
        "labels": [],
        "claims": {"P6": [statement]},
        "modified": "2020-01-01T00:00:00Z",
    }


@pytest.mark.parametrize(
    ("key", "revision", "statements", "label"),
    [
        ("Q42", 196015688, 69, "Douglas Adams"),
        ("Q42", 716282445, 138, "Douglas Adams"),
        ("Q2112", 363579534, 100, "Bielefeld"),
        ("Q2112", 1867923350, 186, "Bielefeld"),
        ("Q571", 188258897, 19, "book"),
        ("Q571", 422538507, 36, "book"),
    ],
)
def test_recorded_entities_are_read_whole(key, revision, statements, label):
    """Every statement of six real payloads from 2015 to 2023 becomes a fact: none is lost or
    skipped.
    """
    parsed = parse_entity(recorded(key, revision), "wd")
    assert len(parsed.facts) == statements and parsed.skips == ()
    assert len({fact.statement_id for fact in parsed.facts}) == statements
    assert [named.label for named in parsed.entities] == [label]
    assert all(fact.revision == revision for fact in parsed.facts)


def test_parse_is_deterministic_and_does_not_touch_its_input():
    """The same payload twice gives equal facts."""
    payload = recorded("Q42", 716282445)
    before = deepcopy(payload)
    assert parse_entity(payload, "wd") == parse_entity(payload, "wd")
    assert payload == before


def test_numeric_id_alone_is_enough():
    """Payloads of 2015 name items by `numeric-id` only."""
    old = snak({"entity-type": "item", "numeric-id": 10})
    assert parse_entity(entity(old), "wd").facts[0].value == "Q10"
    assert referenced_items(recorded("Q42", 196015688), None) >= {"Q5", "Q9531"}


def test_both_layouts_and_a_redirect():
    """An entity by itself, below `entities`, and under its redirect target are the same entity."""
    bare = entity()
    assert find_entity(bare, "Q1") is bare
    assert find_entity({"entities": {"Q1": bare, "Q6": {"id": "Q6", "missing": ""}}}, "Q1") is bare
    assert find_entity({"entities": {"Q1": bare}}, "Q999") is bare
    assert find_entity({"entities": {"Q6": {"id": "Q6", "missing": ""}}}, "Q6") is None
    assert find_entity({"entities": []}, "Q1") is None
    assert find_entity([], "Q1") is None


def test_empty_maps_as_lists():
    """PHP's `[]` for an empty map is an empty map anywhere."""
    empty = {"id": "Q1", "labels": [], "aliases": [], "claims": [], "sitelinks": []}
    parsed = parse_entity(empty, "wd")
    assert parsed.facts == () and parsed.skips == ()
    assert parsed.entities[0].label is None


def test_dates_with_unknown_ends():
    """`somevalue` as the end is an end at an unknown day before the revision; `novalue` is none."""
    unknown = {"snaktype": "somevalue", "property": "P582"}
    (ended,) = parse_entity(entity(qualifiers={"P582": [unknown]}), "wd").facts
    assert holds(ended.start, ended.end, iso_interval("2020-01-02").earliest) == "no"
    assert holds(ended.start, ended.end, iso_interval("2010-01-02").earliest) == "maybe"
    none = {"snaktype": "novalue", "property": "P582"}
    (going_on,) = parse_entity(entity(qualifiers={"P582": [none]}), "wd").facts
    assert going_on.end is None and "novalue" in going_on.qualifiers


def test_dates_ranks_references_and_qualifiers():
    """Start, end, rank, stated-in and other qualifiers of a statement all arrive."""
    qualifiers = {
        "P580": [time("+2015-05-00T00:00:00Z", 10)],
        "P582": [time("+2019-00-00T00:00:00Z", 9)],
        "P1365": [snak("Q9")],
    }
    references = [{"snaks": {"P248": [snak("Q36578")], "P143": [snak("Q328")]}}]
    made = entity(rank="preferred", qualifiers=qualifiers, references=references)
    (fact,) = parse_entity(made, "wd").facts
    assert (fact.start, fact.end) == (iso_interval("2015-05"), iso_interval("2019"))
    assert (fact.rank, fact.references) == ("preferred", ("Q36578",))
    assert fact.qualifiers == '[["P1365","Q9"]]'


@pytest.mark.parametrize("snaktype", ["somevalue", "novalue"])
def test_main_snaks_without_a_value(snaktype):
    """They are facts without a value, and nothing to look a label up for."""
    made = entity({"snaktype": snaktype, "property": "P6", "datatype": "wikibase-item"})
    (fact,) = parse_entity(made, "wd").facts
    assert (fact.value, fact.snaktype, fact.value_type) == ("", snaktype, "entity")
    assert referenced_items(made, None) == set()


@pytest.mark.parametrize(
    ("value", "kind", "datatype", "expected"),
    [
        ({"amount": "+329327", "unit": "1"}, "quantity", "quantity", "+329327"),
        ({"amount": "-0.50", "unit": "http://x/entity/Q1"}, "quantity", "quantity", "-0.50 Q1"),
        ("text", "string", "string", "text"),
        ({"text": "a", "language": "de"}, "monolingualtext", "x", '{"language":"de","text":"a"}'),
    ],
)
def test_literals_are_canonical(value, kind, datatype, expected):
    """Quantities are signed decimals with their unit; what has no plain form is canonical JSON."""
    assert parse_entity(entity(snak(value, kind, datatype)), "wd").facts[0].value == expected


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"mainsnak": {}}, "malformed"),
        ({"mainsnak": None}, "malformed"),
        ({"mainsnak": {"snaktype": "odd", "property": "P6"}}, "snaktype ..."),
        ({"rank": "odd"}, "malformed"),
        ({"mainsnak": time("+0000-01-01T00:00:00Z")}, "no year 0"),
        ({"mainsnak": snak({"amount": "many"}, "quantity", "quantity")}, "not a decimal"),
        ({"qualifiers": {"P580": [time("next year")]}}, "not a Wikibase time"),
    ],
)
def test_unreadable_statements_are_counted(broken, reason):
    """A malformed statement is a skip with a reason and a sample, and a fact that is unreadable;
    its neighbours are read."""
    made = entity(**broken)
    made["claims"]["P17"] = entity()["claims"]["P6"]
    parsed = parse_entity(made, "wd")
    assert [(fact.relation, fact.snaktype) for fact in parsed.facts] == [
        ("P17", "value"),
        ("P6", "unreadable"),
    ]
    (skip,) = parsed.skips
    assert reason in skip.reason and skip.sample.startswith("Q1 P6 ")


def test_february_30_is_kept_with_a_remark():
    """A tolerated oddity is a fact and is counted as well."""
    parsed = parse_entity(entity(qualifiers={"P580": [time("+2015-02-30T00:00:00Z")]}), "wd")
    assert parsed.facts[0].start == iso_interval("2015-02")
    assert parsed.skips[0].reason.startswith("remark: day 30")


def test_labels_and_missing_objects():
    """A label answer names what it can; missing and unlabelled objects are counted."""
    payload = {
        "entities": {
            "Q2": {"id": "Q2", "labels": {"en": {"value": "Earth"}}, "aliases": []},
            "Q3": {"id": "Q3", "missing": ""},
            "Q4": {"id": "Q4", "labels": []},
        }
    }
    parsed = parse_labels(payload, "wd")
    assert [(e.id, e.label) for e in parsed.entities] == [("Q2", "Earth"), ("Q4", None)]
    assert [skip.sample for skip in parsed.skips] == ["Q3", "Q4"]


@pytest.mark.parametrize("bad", ["Q0", "42", "Q42|Q43", "P31", "q42", "Q42 "])
def test_malformed_ids_are_refused_at_once(bad):
    """One bad id would fail a whole batch at the API, so the config refuses it."""
    with pytest.raises(ValidationError, match="is no item id"):
        WikidataConfig(name="wd", entities=("Q42", bad))
