"""A Wikibase that numbers its properties itself names them, or is refused."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from dump_helpers import dump_config, dump_of, item, line_of, read, write
from loopback import on_loopback
from pydantic import ValidationError
from rdf_writer import PREFIXES, Writer
from wikibase_site import site_of

from discovery.facts.current_view import view
from discovery.facts.dates import iso_interval
from discovery.facts.fact import Entity, Fact
from discovery.relations.relation import load_relations
from discovery.sources import different_wikibases
from discovery.sources.observation import Partition
from discovery.sources.rdf.files import RdfConfig
from discovery.sources.wikibase.config import WikidataConfig
from discovery.sources.wikibase.entities import parse_entity, parse_labels
from discovery.sources.wikibase.numbering import ROLES, PropertyNames
from discovery.sources.wikibase.wikidata import WikidataSource
from infra.errors import SourceError
from infra.http.client import PoliteClient
from infra.http.limits.rate_limit import LocalRateLimit

NAMES: dict[str, Any] = {
    **dict.fromkeys(ROLES, ""),
    **{"start": "P8", "end": "P9", "instance_of": "P1", "human": "Q3", "reference_url": "P7"},
    **{"restrictive": ["P20", "P21"], "contested": [], "relations": {"P5": "P108"}},
}
"""Of a small Wikibase; its P580 and P108 mean other things than Wikidata's."""
DAY = iso_interval("2024-01-01").earliest


def year(prop: str, number: int) -> dict[str, Any]:
    time = {"time": f"+{number}-00-00T00:00:00Z", "precision": 9}
    time["calendarmodel"] = "http://www.wikidata.org/entity/Q1985727"
    data = {"type": "time", "value": time}
    return {"snaktype": "value", "property": prop, "datatype": "time", "datavalue": data}


def of_item(prop: str, key: str) -> dict[str, Any]:
    return item("Q1", key, prop)["claims"][prop][0]["mainsnak"]


def stated(prop: str, number: int, value: str, **qualifiers: Any) -> dict[str, Any]:
    return {
        **{"id": f"Q1${number}", "rank": "normal", "mainsnak": of_item(prop, value)},
        "qualifiers": {name: [snak] for name, snak in qualifiers.items()},
        "references": [],
    }


ENTITY = {
    **item("Q1", aliases={}, lastrevid=5, modified="2020-01-01T00:00:00Z"),
    "claims": {
        "P1": [stated("P1", 1, "Q3"), stated("P1", 2, "Q5")],
        "P4": [
            stated("P4", 3, "Q10", P8=year("P8", 2001), P9=year("P9", 2010)),
            stated("P4", 4, "Q11", P580=year("P580", 2030), P20=of_item("P20", "Q12")),
        ],
        "P5": [stated("P5", 5, "Q13")],
        "P108": [stated("P108", 6, "Q14")],
    },
}


def check(facts: list[Fact], entity: Entity) -> None:
    """What the entity says, by Wikidata's ids where these are named."""
    found = {fact.statement_id: fact for fact in facts}
    assert {key: fact.relation for key, fact in found.items()} == {
        **{"Q1$1": "P31", "Q1$2": "P31", "Q1$3": "own:P4", "Q1$4": "own:P4"},
        **{"Q1$5": "P108", "Q1$6": "own:P108"},
    }
    ended, other = found["Q1$3"], found["Q1$4"]
    assert (ended.start, ended.end) == (iso_interval("2001"), iso_interval("2010"))
    assert [f.value for f in view([ended], DAY, functional=True).former] == ["Q10"]
    assert (other.start, other.end) == (None, None)
    assert json.loads(other.qualifiers)[0] == ["P518", "Q12"]
    assert json.loads(other.qualifiers)[1][0] == "own:P580"
    assert view([other], DAY, functional=True).current == {}
    assert entity.types == ("Q5", "own:Q5")


def test_json_is_read_by_the_names() -> None:
    """Named properties get Wikidata's ids, all others a prefix, so that none is taken for one of
    Wikidata's; the class of human beings is Wikidata's, and no other is."""
    parsed = parse_entity(ENTITY, "own", numbering=PropertyNames(**NAMES).numbering)
    assert parsed.skips == ()
    check(list(parsed.facts), parsed.entities[0])


def test_a_dump_is_read_by_the_names(tmp_path: Path) -> None:
    """Its properties are named too, since templates are made of their labels."""
    label = {"en": {"language": "en", "value": "employer"}}
    prop = {"type": "property", "id": "P4", "datatype": "wikibase-item", "labels": label}
    write(tmp_path / "d.json", dump_of(line_of(prop), line_of(ENTITY)))
    found = read(dump_config("d.json", properties=NAMES), tmp_path)
    assert found.skips == []
    named = {entity.id: entity for entity in found.entities}
    assert named["own:P4"].label == "employer"
    check(found.facts, named["Q1"])
    some = read(dump_config("d.json", properties=NAMES, relations=("P4",)), tmp_path)
    assert {fact.relation for fact in some.facts} == {"own:P4"}


def own_rdf() -> bytes:
    """The entity in the RDF of a Wikibase at another address, with an address of Wikidata's as
    value and a unit."""
    writer = Writer()
    writer.entity(ENTITY)
    text = writer.text().replace(b"www.wikidata.org", b"wiki.example.org")
    calendar = b"<http://wiki.example.org/entity/Q1985727>"
    return text.replace(calendar, b"<http://www.wikidata.org/entity/Q1985727>")


def test_rdf_is_read_by_the_names(tmp_path: Path) -> None:
    """An entity of another Wikibase is an address, not the item of the same number."""
    (tmp_path / "d.nt").write_bytes(own_rdf())
    names = PropertyNames(**NAMES)
    config = RdfConfig(name="own", path="d.nt", wikibase=True, properties=names)
    found = read(config, tmp_path)
    check(found.facts, found.entities[0])
    wikidata = PREFIXES["wd"].encode()
    other = own_rdf().replace(b"<http://wiki.example.org/entity/Q13>", b"<" + wikidata + b"Q13>")
    (tmp_path / "d.nt").write_bytes(other)
    (fact,) = [f for f in read(config, tmp_path).facts if f.statement_id == "Q1$5"]
    assert (fact.value, fact.value_type) == ("http://www.wikidata.org/entity/Q13", "other")


def test_rdf_of_another_wikibase_is_refused_without_names(tmp_path: Path) -> None:
    """At its first property, in one line that names the roles; a copy of Wikidata says so."""
    (tmp_path / "d.nt").write_bytes(own_rdf())
    with pytest.raises(SourceError, match=r"wiki\.example\.org.*start, end, point") as caught:
        read(RdfConfig(name="own", path="d.nt", wikibase=True), tmp_path)
    assert "\n" not in str(caught.value)
    copy = RdfConfig(name="own", path="d.nt", wikibase=True, properties="wikidata")
    assert {fact.relation for fact in read(copy, tmp_path).facts} == {"P1", "P4", "P5", "P108"}


def test_a_dump_of_another_wikibase_is_refused_where_it_shows(tmp_path: Path) -> None:
    """One of its properties has the number and not the name of Wikidata's; on Wikidata it has."""
    for label, aliases, is_wikidata in (
        ("shoe size", [], False),
        ("end time", [], True),
        ("ended", ["End Time"], True),
    ):
        terms = {"en": [{"language": "en", "value": text} for text in aliases]}
        names = {"en": {"language": "en", "value": label}}
        prop = {"type": "property", "id": "P582", "labels": names, "aliases": terms}
        write(tmp_path / "d.json", dump_of(line_of(ENTITY), line_of(prop)))
        if is_wikidata:
            assert read(dump_config("d.json"), tmp_path).facts
        else:
            with pytest.raises(
                SourceError, match=r"its P582 is called 'shoe size'.*must name start"
            ):
                read(dump_config("d.json"), tmp_path)
            assert read(dump_config("d.json", properties="wikidata"), tmp_path).facts


def config(endpoint: str, **more: Any) -> WikidataConfig:
    manners = {"contact": "a@example.org", "min_interval_s": 0}
    return WikidataConfig(name="own", endpoint=endpoint, entities=("Q1",), **{**manners, **more})


@pytest.mark.parametrize(
    "endpoint", ["https://wiki.example.org", "https://notwikidata.org", "http://10.0.0.1:8181"]
)
def test_another_site_is_refused_without_names(endpoint: str) -> None:
    """As the config is read, with every role that must be named."""
    with pytest.raises(ValidationError, match=re.escape(", ".join(ROLES))):
        config(endpoint)
    assert config(endpoint, properties=NAMES).numbering.property("P8") == "P580"
    assert config(endpoint, properties="wikidata").numbering.property("P8") == "P8"


@pytest.mark.parametrize("host", ["www.wikidata.org", "wikidata.org", "test.wikidata.org"])
def test_wikidata_needs_no_names(host: str) -> None:
    assert config(f"https://{host}").numbering.property("P8") == "P8"


def test_names_are_checked() -> None:
    """A role that is missing, a property with two meanings, and what is no property."""
    without = {name: value for name, value in NAMES.items() if name not in ("end", "human")}
    for given, said in (
        (without, "not named: end, human"),
        ({**NAMES, "point": "P8"}, "P8 is named twice"),
        ({**NAMES, "point": "time"}, "point"),
        ({**NAMES, "starts": "P8"}, "starts"),
    ):
        with pytest.raises(ValidationError, match=said):
            dump_config("d.json", properties=given)


def listen(endpoint: str, **more: Any) -> None:
    with client() as http:
        WikidataSource(config(endpoint, **more)).listen(date(2023, 6, 30), None, http)


def client() -> PoliteClient:
    return PoliteClient(
        source="own", contact="a@example.org", rate_limit=LocalRateLimit(), min_interval_s=0
    )


def test_a_site_on_this_machine_must_say_that_it_is_a_copy() -> None:
    """Asked before anything is fetched: a development Wikibase is not Wikidata."""
    with on_loopback(site_of({}, namespace=120)) as base:
        with pytest.raises(SourceError, match=r"it says http://localhost/entity/.*must name start"):
            listen(base)
        listen(base, properties=NAMES)
    with on_loopback(site_of({}, concepts="http://www.wikidata.org/entity/")) as base:
        listen(base)


def test_properties_are_named_in_labels() -> None:
    """Under the id by which facts know them."""
    label = {"en": {"language": "en", "value": "employer"}}
    payload = {"entities": {"P4": {"id": "P4", "labels": label}, "Q4": {"id": "Q4"}}}
    parsed = parse_labels(payload, "own", PropertyNames(**NAMES).numbering)
    assert [entity.id for entity in parsed.entities] == ["own:P4", "Q4"]


def test_the_labels_of_properties_are_fetched() -> None:
    """Of a Wikibase that is not Wikidata, since its relations have no templates of ours."""
    one = {**ENTITY, "lastrevid": 5, "modified": "2020-01-01T00:00:00Z"}
    with on_loopback(site_of({"Q1": one}, namespace=120)) as base:
        source = WikidataSource(config(base, properties=NAMES, relations=("P4",)))
        part = Partition(id="0", as_of=date(2023, 6, 30), keys=("Q1",), known=(None,))
        with client() as http:
            found = list(source.fetch(part, http))
    (labels,) = [o for o in found if o.kind == "labels"]
    assert labels.about == "P4|Q10|Q11"
    (entity,) = [o for o in found if o.kind == "entity"]
    assert {fact.relation for fact in source.parse(entity).facts} == {"own:P4"}


def test_a_users_relations_name_those_of_a_wikibase(tmp_path: Path) -> None:
    """By the id with the prefix; those of ours keep their own."""
    path = tmp_path / "mine.json"
    fields = {"label": "employer", "object_type": "organisation", "functional": True}
    path.write_text(json.dumps({"relations": {"own:P4": {**fields, "separators": ["own:P30"]}}}))
    relations = load_relations(path)
    assert relations["own:P4"].label == "employer" and relations["P108"].label == "employer"


def test_sources_of_two_wikibases_are_refused() -> None:
    """Their items have the same ids and are others; two sources of one Wikibase are not refused."""
    own = dump_config("d.json", properties=NAMES)
    api = config("https://wiki.example.org", properties=NAMES)
    wikidata = config("https://www.wikidata.org")
    rdf = RdfConfig(name="rdf", path="d.nt")
    assert different_wikibases((own, api, rdf)) is None
    assert different_wikibases((wikidata, dump_config("d.json"), rdf)) is None
    assert different_wikibases((rdf, wikidata, own)) == ("own", "dump")
