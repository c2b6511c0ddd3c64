"""What a reader of Wikibase does not understand is never taken for what is not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dump_helpers import dump_config, dump_of, line_of, read, write
from hypothesis import given, settings
from hypothesis import strategies as st
from rdf_writer import Writer

from discovery.facts.dates import iso_interval
from discovery.facts.fact import EVERY_RELATION, Fact
from discovery.sources.observation import Skip
from discovery.sources.rdf.files import RdfConfig
from discovery.sources.wikibase.entities import REPEATED, parse_entity

GREGORIAN = "http://www.wikidata.org/entity/Q1985727"


def snak(prop: str, datatype: str, kind: str, value: Any) -> dict[str, Any]:
    data = {"type": kind, "value": value}
    return {"snaktype": "value", "property": prop, "datatype": datatype, "datavalue": data}


def item_snak(prop: str, key: str) -> dict[str, Any]:
    value = {"entity-type": "item", "numeric-id": int(key[1:]), "id": key}
    return snak(prop, "wikibase-item", "wikibase-entityid", value)


def year_snak(prop: str, year: int) -> dict[str, Any]:
    time = {"time": f"+{year}-00-00T00:00:00Z", "precision": 9, "calendarmodel": GREGORIAN}
    return snak(prop, "time", "time", time)


def schema_snak(prop: str) -> dict[str, Any]:
    value = {"entity-type": "entity-schema", "id": "E10"}
    return snak(prop, "entity-schema", "wikibase-entityid", value)


def statement(number: int = 1, **more: Any) -> dict[str, Any]:
    made = {"id": f"Q1${number}", "type": "statement", "rank": "normal"}
    return {**made, "mainsnak": item_snak("P6", f"Q{10 + number}"), **more}


def entity(*statements: Any, **more: Any) -> dict[str, Any]:
    label = {"en": {"language": "en", "value": "one"}}
    return {
        **{"type": "item", "id": "Q1", "labels": label, "aliases": {}, "sitelinks": {}},
        **{"claims": {"P6": list(statements)}, **more},
    }


def parsed(value: Any) -> tuple[list[Fact], list[Skip]]:
    made = parse_entity(value, "wd")
    return list(made.facts), list(made.skips)


TEXTS = {
    "commonsMedia": "A file.jpg",
    "external-id": "42",
    "geo-shape": "Data:A.map",
    "localMedia": "A file.jpg",
    "math": "x^2",
    "musical-notation": "\\relative c' { c }",
    "tabular-data": "Data:A.tab",
    "url": "https://example.org/",
    "edtf": "2019-1X",
}
"""Datatypes of Wikibase and its extensions whose value is a text, with an example."""
COORDINATE = {"latitude": 1.5, "longitude": 2.5, "altitude": None, "precision": 0.1, "globe": "Q2"}
OTHER_VALUES = {
    "entity-schema": schema_snak("P6"),
    "form": snak(
        "P6", "wikibase-form", "wikibase-entityid", {"entity-type": "form", "id": "L1-F1"}
    ),
    "sense": snak(
        "P6", "wikibase-sense", "wikibase-entityid", {"entity-type": "sense", "id": "L1-S1"}
    ),
    "media info": snak(
        "P6", "wikibase-item", "wikibase-entityid", {"entity-type": "mediainfo", "id": "M7"}
    ),
    "kind of an extension": snak("P6", "abc", "abc-value", {"a": 1}),
    "marked as bad": {**snak("P6", "time", "bad", {"time": "?"}), "error": "Illegal value"},
    "no value": {"snaktype": "value", "property": "P6", "datatype": "string"},
    "value null": {"snaktype": "value", "property": "P6", "datavalue": None},
    "text as number": snak("P6", "string", "string", 7),
    "coordinate as text": snak("P6", "globe-coordinate", "globecoordinate", "1 2"),
    "unit null": snak("P6", "quantity", "quantity", {"amount": "+1", "unit": None}),
    "year 0": snak("P6", "time", "time", {"time": "+0000-00-00T00:00:00Z", "precision": 9}),
}
"""Values that are not understood."""


def test_every_datatype_that_is_a_text_is_kept() -> None:
    """Also those of extensions; a coordinate and a text in a language as canonical JSON."""
    for datatype, text in TEXTS.items():
        (fact,), skips = parsed(entity(statement(mainsnak=snak("P6", datatype, "string", text))))
        assert (fact.value, fact.value_type, fact.snaktype, skips) == (text, "other", "value", [])
    for kind, value in (
        ("globecoordinate", COORDINATE),
        ("monolingualtext", {"text": "a", "language": "de"}),
    ):
        (fact,), _ = parsed(entity(statement(mainsnak=snak("P6", kind, kind, value))))
        assert (json.loads(fact.value), fact.value_type) == (value, "other")


@pytest.mark.parametrize("bad", OTHER_VALUES.values(), ids=OTHER_VALUES.keys())
def test_a_value_that_is_not_understood(bad: dict[str, Any]) -> None:
    """As the value it makes the statement unreadable, with the statement's dates; as a qualifier or
    in a reference it costs itself alone. It is counted once in each case."""
    dated = {"P580": [year_snak("P580", 2010)]}
    (fact, other), (skip,) = parsed(entity(statement(mainsnak=bad, qualifiers=dated), statement(2)))
    assert (fact.snaktype, fact.value, fact.value_type) == ("unreadable", "", "other")
    assert (fact.statement_id, fact.start) == ("Q1$1", iso_interval("2010"))
    assert (other.snaktype, other.value) == ("value", "Q12")
    assert skip.sample.startswith("Q1 P6 ") and not skip.damage

    qualified = statement(qualifiers={**dated, "P9000": [{**bad, "property": "P9000"}]})
    (fact,), (skip,) = parsed(entity(qualified))
    assert (fact.snaktype, fact.value, fact.start) == ("value", "Q11", iso_interval("2010"))
    assert fact.qualifiers == '[["P9000","unreadable"]]'
    assert skip.reason.startswith("remark: qualifier is unreadable: ")

    source = snak("P854", "url", "string", "https://example.org/")
    referred = statement(references=[{"snaks": {"P248": [bad], "P854": [source]}}])
    (fact,), (skip,) = parsed(entity(referred))
    assert (fact.snaktype, fact.references) == ("value", ("https://example.org/",))
    assert skip.reason.startswith("remark: reference is unreadable: ")


@pytest.mark.parametrize("prop", ["P580", "P582", "P585"])
@pytest.mark.parametrize(
    "snaks",
    [
        [schema_snak("P582")],
        [{"snaktype": "value", "property": "P582"}],
        [{"snaktype": "odd", "property": "P582"}],
        [year_snak("P582", 2010), {"snaktype": "odd", "property": "P582"}],
        [snak("P582", "string", "string", "2010")],
        [],
        None,
        "2010",
    ],
)
def test_a_date_that_is_not_understood(prop: str, snaks: Any) -> None:
    """The statement may have ended, or not begun: it is unreadable, and the other date is kept."""
    other = "P582" if prop == "P580" else "P580"
    qualifiers = {prop: snaks, other: [year_snak(other, 2015)]}
    (fact,), (_,) = parsed(entity(statement(qualifiers=qualifiers)))
    assert fact.snaktype == "unreadable"
    assert (fact.start or fact.end) == iso_interval("2015")


def test_what_restricts_or_contests_need_not_be_readable() -> None:
    """Its presence is kept, which is what the view of current facts asks for."""
    for prop in ("P518", "P1310"):
        (fact,), (_,) = parsed(entity(statement(qualifiers={prop: [schema_snak(prop)]})))
        assert json.loads(fact.qualifiers) == [[prop, "unreadable"]]


def test_a_property_whose_statements_are_no_list() -> None:
    """One unreadable fact of that property; other properties are read."""
    for odd in ([], None, {}, {"1": statement()}, "text", 7):
        value = entity(claims={"P6": odd, "P7": [statement(mainsnak=item_snak("P7", "Q9"))]})
        facts, skips = parsed(value)
        found = [(f.relation, f.snaktype) for f in facts]
        assert found == [("P6", "unreadable"), ("P7", "value")]
        assert len(skips) == 1


def test_what_may_hide_facts_of_any_relation_makes_all_of_the_subject_unreadable() -> None:
    """No map of statements, or a property that is none, also where relations are chosen. Other
    subjects are not touched by it."""
    for odd in (None, "text", 7, [statement()]):
        (fact,), (skip,) = parsed(entity(claims=odd))
        assert (fact.relation, fact.snaktype) == (EVERY_RELATION, "unreadable")
        assert not skip.damage
    value = entity(claims={"p6": [statement()], "": [statement()]})
    made = parse_entity(value, "wd", ("P6",))
    assert [(f.relation, f.snaktype) for f in made.facts] == [(EVERY_RELATION, "unreadable")]
    assert [skip.damage for skip in made.skips] == [False, False]


def test_of_an_entity_of_a_later_day_nothing_is_known_of_any_relation() -> None:
    """One unreadable fact for all relations, also of those of which it says nothing now."""
    made = parse_entity(entity(claims={"P6": [statement()]}), "wd", late=True)
    assert [(f.relation, f.snaktype) for f in made.facts] == [(EVERY_RELATION, "unreadable")]
    assert made.skips == ()


def as_dump(value: Any, place: Path) -> list[Fact]:
    write(place / "d.json", dump_of(line_of(value)))
    return read(dump_config("d.json"), place).facts


def as_rdf(value: Any, place: Path) -> list[Fact]:
    writer = Writer()
    writer.entity(value)
    # the writer knows items and properties alone
    (place / "d.nt").write_bytes(writer.text().replace(b"/entity/Q999>", b"/entity/E10>"))
    return read(RdfConfig(name="dump", path="d.nt", wikibase=True), place).facts


@pytest.mark.parametrize("reader", [as_dump, as_rdf])
def test_a_dump_and_rdf_say_so_too(
    tmp_path: Path, reader: Callable[[Any, Path], list[Fact]]
) -> None:
    """A preferred statement stands with a qualifier and a reference of an entity schema; with one
    as its value, or its end, it is unreadable."""
    odd = schema_snak if reader is as_dump else (lambda prop: item_snak(prop, "Q999"))
    stands = statement(
        1,
        rank="preferred",
        qualifiers={"P580": [year_snak("P580", 2010)], "P12861": [odd("P12861")]},
        references=[{"snaks": {"P248": [odd("P248")]}}],
    )
    value = statement(2, mainsnak=odd("P6"))
    ended = statement(3, qualifiers={"P582": [odd("P582")]})
    former = statement(4)
    found = {f.statement_id: f for f in reader(entity(stands, value, ended, former), tmp_path)}
    assert {key: fact.snaktype for key, fact in found.items()} == {
        **{"Q1$1": "value", "Q1$2": "unreadable", "Q1$3": "unreadable", "Q1$4": "value"},
    }
    assert (found["Q1$1"].value, found["Q1$1"].rank) == ("Q11", "preferred")
    assert found["Q1$1"].start == iso_interval("2010")


SCALARS = st.sampled_from([None, 7, "text", True, 1.5])
JUNK = st.recursive(
    SCALARS,
    lambda part: (
        st.lists(part, max_size=2)
        | st.dictionaries(
            st.sampled_from(["snaktype", "value", "datavalue", "type", "id", "P580", "x"]), part
        )
    ),
    max_leaves=6,
)
PLACES = ("mainsnak", "rank", "id", "qualifiers", "references")


@settings(max_examples=300, deadline=None)
@given(
    planted=st.lists(
        st.tuples(st.sampled_from([*PLACES, "P580", "P1310", "P248", "whole", ""]), JUNK),
        max_size=6,
    )
)
def test_every_statement_is_a_fact(planted: list[tuple[str, Any]]) -> None:
    """Whatever is planted in whichever part: as many facts as statements, in their order, each with
    an id of its own, but for repeated ones, which are counted; each that is unreadable has one
    skip, and none is of unknown subjects."""
    statements: list[Any] = []
    for number, (place, junk) in enumerate(planted):
        whole = statement(
            number,
            qualifiers={"P580": [year_snak("P580", 2010)], "P1310": [item_snak("P1310", "Q5")]},
            references=[{"snaks": {"P248": [item_snak("P248", "Q6")]}}],
        )
        if place in PLACES:
            whole[place] = junk
        elif place in ("P580", "P1310"):
            whole["qualifiers"][place] = junk
        elif place == "P248":
            whole["references"][0]["snaks"][place] = junk
        statements.append(junk if place == "whole" else whole)
    facts, skips = parsed(entity(*statements, claims={"P6": statements} if statements else {}))
    repeated = sum(skip.count for skip in skips if skip.reason == REPEATED)
    assert len(facts) + repeated == len(statements)
    assert len({fact.statement_id for fact in facts}) == len(facts)
    unreadable = [fact for fact in facts if fact.snaktype == "unreadable"]
    assert all(fact.value == "" and fact.value_type == "other" for fact in unreadable)
    counted = [skip for skip in skips if not skip.reason.startswith("remark: ")]
    assert len(counted) == len(unreadable) and not any(skip.damage for skip in skips)
    for (place, _), fact in zip(planted, facts, strict=False):
        if not repeated and place in ("", "P1310", "references", "P248"):
            assert (fact.snaktype, fact.start) == ("value", iso_interval("2010"))
