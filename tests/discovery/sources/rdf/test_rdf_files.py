"""RDF of any other than Wikibase, and files of RDF that are damaged or none."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyoxigraph as ox
import pytest
from dump_helpers import Read, read
from pydantic import ValidationError

from discovery.facts.dates import iso_interval
from discovery.sources.rdf.files import RdfConfig
from infra.errors import SourceError

ENTITY = "http://www.wikidata.org/entity"
ITEM = "wikibase-item"


def config(path: str = "d.nt", **more: Any) -> RdfConfig:
    return RdfConfig(name="rdf", path=path, **{**more})


def read_text(place: Path, text: str | bytes, name: str = "d.nt", **more: Any) -> Read:
    content = text.encode() if isinstance(text, str) else text
    (place / name).write_bytes(content)
    return read(config(name, **more), place)


PLAIN = """\
@prefix ex: <http://example.org/id/> . @prefix voc: <http://example.org/voc#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
ex:acme a voc:Company ; rdfs:label "Acme"@en, "Die Acme"@de ; skos:altLabel "Acme Inc."@en-GB ;
  voc:chief ex:jo ; voc:founded "1901"^^xsd:gYear ; voc:listed "1920-05-06"^^xsd:date ;
  voc:opened "1930-01-02T03:04:05Z"^^xsd:dateTime ; voc:staff 120 ; voc:ratio "1.50"^^xsd:decimal ;
  voc:motto "Always"@en ; voc:motto "Immer"@de ; voc:code "A1" ; voc:flag true ;
  voc:closed "soon"^^xsd:date ; voc:weight "heavy"^^xsd:integer ; voc:part [ voc:code "B" ] .
ex:jo rdfs:label "Jo" .
"""


def test_any_other_rdf(tmp_path: Path) -> None:
    """Subjects, relations and objects are shortened IRIs; literals are read by their datatype;
    names in English or in no language; what cannot be used is counted, and is an unreadable fact
    where it is a value."""
    prefixes = {"http://example.org/id/": "", "http://example.org/voc#": "v:"}
    found = read_text(tmp_path, PLAIN, "d.ttl", prefixes=prefixes)
    rdf_type = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
    readable = [fact for fact in found.facts if fact.snaktype == "value"]
    assert {(f.subject, f.relation, f.value, f.value_type) for f in readable} == {
        ("acme", rdf_type, "v:Company", "entity"),
        ("acme", "v:chief", "jo", "entity"),
        ("acme", "v:founded", "1901", "time"),
        ("acme", "v:listed", "1920-05-06", "time"),
        ("acme", "v:opened", "1930-01-02", "time"),
        ("acme", "v:staff", "+120", "quantity"),
        ("acme", "v:ratio", "+1.50", "quantity"),
        ("acme", "v:motto", "Always", "string"),
        ("acme", "v:code", "A1", "string"),
        ("acme", "v:flag", "true", "other"),
    }
    assert {f.relation for f in found.facts if f.snaktype == "unreadable"} == {
        *("v:closed", "v:weight", "v:part"),
    }
    assert [(e.id, e.label, e.aliases, e.types) for e in found.entities] == [
        ("acme", "Acme", ("Acme Inc.",), ("v:Company",)),
        ("jo", "Jo", (), ()),
    ]
    assert found.reasons == {
        "text is not in en": 2,
        "literal is no date, which its datatype says it is": 1,
        "literal is no number, which its datatype says it is": 1,
        "object has no name of its own": 1,
        "subject has no name of its own": 1,
    }
    assert {iso_interval(f.value).precision for f in found.facts if f.value_type == "time"} == {
        9,
        11,
    }
    some = read_text(tmp_path, PLAIN, "d.ttl", prefixes=prefixes, relations=("v:chief",))
    assert [fact.value for fact in some.facts] == ["jo"]
    again = read_text(tmp_path, PLAIN, "d.ttl", prefixes=prefixes)
    assert [f.statement_id for f in again.facts] == [f.statement_id for f in found.facts]


GOOD = '<http://a/{n}> <http://b> "{n}" .\n'


@pytest.mark.parametrize("name", ["d.nt", "d.ttl"])
def test_triples_that_are_none(tmp_path: Path, name: str) -> None:
    """Each is counted, and the next ones are read; so is a line that is not UTF-8."""
    bad = (b"<http://a> <http://b> oops .\n", b"<http://a> <http:// b> 3 .\n", b"what is this\n")
    for line in bad:
        content = GOOD.format(n=1).encode() + line + GOOD.format(n=2).encode() * 2
        found = read_text(tmp_path, content, name)
        assert {"1", "2"} == {fact.value for fact in found.facts}
        lost = [skip for skip in found.skips if not skip.reason.startswith("remark: ")]
        assert {skip.reason for skip in lost} == {"triple is malformed"} and lost[0].sample
        assert all(skip.damage for skip in lost)
    content = GOOD.format(n=1).encode() + b'<http://a> <http://b> "\xff" .\n'
    found = read_text(tmp_path, content + GOOD.format(n=2).encode(), name)
    assert [fact.value for fact in found.facts] == ["1", "2"]
    assert found.reasons == {"line is not UTF-8": 1}


def test_a_damaged_file(tmp_path: Path) -> None:
    """Triples before the damage are used, the rest is a counted loss."""
    packed = gzip.compress("".join(GOOD.format(n=n) for n in range(20_000)).encode())
    found = read_text(tmp_path, packed[: len(packed) // 2], "d.nt.gz")
    assert 5_000 < len(found.facts) < 15_000
    assert found.reasons == {"the file ends in the middle: the rest is lost": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html><body>Too many requests</body></html>\n" * 20,
        b"",
        b"\x00\x01\x02" * 1000,
        b'{"entities": {}}',
    ],
)
@pytest.mark.parametrize("name", ["d.nt", "d.ttl"])
def test_a_file_that_is_no_rdf(tmp_path: Path, content: bytes, name: str) -> None:
    """One line that says so."""
    with pytest.raises(SourceError, match="holds no triple") as caught:
        read_text(tmp_path, content, name)
    assert "\n" not in str(caught.value)
    with pytest.raises(SourceError, match="cannot read"):
        read(config("absent.nt"), tmp_path)
    with pytest.raises(ValidationError, match=r"is not one of .nt, .ttl"):
        config("d.csv.gz")


def test_hostile_sizes_and_depths(tmp_path: Path) -> None:
    """A literal of ten megabytes and brackets a hundred thousand deep cost what they are and
    nothing else."""
    huge = f'<http://a/0> <http://b> "{"x" * 10_000_000}" .\n'
    found = read_text(tmp_path, huge + GOOD.format(n=1))
    assert [fact.value for fact in found.facts] == ["", "1"]
    assert found.reasons == {"value is longer than 10000 characters": 1}
    nested = "<http://a/0> <http://b> " + "[ <http://c> " * 100_000 + "1" + " ]" * 100_000 + " .\n"
    found = read_text(tmp_path, GOOD.format(n=1) + nested, "d.ttl")
    assert "1" in {fact.value for fact in found.facts} and found.reasons


@pytest.mark.parametrize("name", ["label", "altLabel"])
def test_names_of_hostile_size(tmp_path: Path, name: str) -> None:
    """A name of ten megabytes is none; its subject's facts and its neighbour are read."""
    space = {"label": "2000/01/rdf-schema", "altLabel": "2004/02/skos/core"}[name]
    huge = f'<http://a/1> <http://www.w3.org/{space}#{name}> "{"x" * 10_000_000}" .\n'
    found = read_text(tmp_path, huge + GOOD.format(n=1) + GOOD.format(n=2))
    assert [fact.value for fact in found.facts] == ["1", "2"]
    assert found.reasons == {"name is no text of 1000 characters at most": 1}
    assert [(e.label, e.aliases) for e in found.entities] == [(None, ()), (None, ())]
    assert len(found.skips[0].sample) <= 200


@pytest.mark.parametrize(
    "triple", ['<http://a/{0}> <http://b> "2"', "<http://a/2> <http://b> <http://c/{0}>"]
)
def test_ids_of_hostile_size(tmp_path: Path, triple: str) -> None:
    """An IRI of ten megabytes costs its triple, as a text of that size does."""
    found = read_text(tmp_path, GOOD.format(n=1) + triple.format("x" * 10_000_000) + " .\n")
    assert [fact.value for fact in found.facts if fact.snaktype == "value"] == ["1"]
    assert len(found.skips) == 1


FORMATS = {
    "d.nt": ox.RdfFormat.N_TRIPLES,
    "d.nq": ox.RdfFormat.N_QUADS,
    "d.ttl": ox.RdfFormat.TURTLE,
    "d.trig": ox.RdfFormat.TRIG,
    "d.n3": ox.RdfFormat.N3,
    "d.rdf": ox.RdfFormat.RDF_XML,
    "d.owl": ox.RdfFormat.RDF_XML,
    "d.jsonld": ox.RdfFormat.JSON_LD,
}
IN_ALL_FORMATS = """\
@prefix ex: <http://example.org/> . @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
ex:acme rdfs:label "Acme"@mul ; ex:chief ex:jo ; ex:founded "1901"^^xsd:gYear ; ex:staff 120 .
ex:beta rdfs:label "Beta"@en, "B"@mul ; ex:chief ex:al ; ex:motto "Always"@en-GB .
"""


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_the_same(tmp_path: Path, name: str) -> None:
    """Whole; cut, it is damaged, and says nothing that the whole file does not."""
    triples = [quad.triple for quad in ox.parse(IN_ALL_FORMATS, format=ox.RdfFormat.TURTLE)]
    content = ox.serialize(triples, format=FORMATS[name])
    assert content is not None
    found = read_text(tmp_path, content, name)
    facts = {(f.subject[19:], f.relation[19:], f.value) for f in found.facts}
    assert facts == {
        *(("acme", "chief", "http://example.org/jo"), ("acme", "founded", "1901")),
        *(("acme", "staff", "+120"), ("beta", "chief", "http://example.org/al")),
        ("beta", "motto", "Always"),
    }
    assert {e.id[19:]: (e.label, e.aliases) for e in found.entities if e.label} == {
        "acme": ("Acme", ()),
        "beta": ("Beta", ("B",)),
    }
    assert found.skips == []
    cut = read_text(tmp_path, content[: len(content) * 4 // 5], name)
    assert {fact.statement_id for fact in cut.facts} < {f.statement_id for f in found.facts}
    assert any(skip.damage for skip in cut.skips)


LITERALS = {
    '"2015-03-04+01:00"^^xsd:date': "2015-03-04",
    '"2015-03-04Z"^^xsd:date': "2015-03-04",
    '"2015-05:00"^^xsd:gYear': "2015",
    '"2015-03Z"^^xsd:gYearMonth': "2015-03",
    '"-0043"^^xsd:gYear': "-0043",
    '"-0043-03-15"^^xsd:date': "-0043-03-15",
    '"2015-03-04T23:30:00-05:00"^^xsd:dateTime': "2015-03-04",
    '"-1.50"^^xsd:decimal': "-1.50",
    '"7"^^xsd:unsignedByte': "+7",
    '"1.5E2"^^xsd:double': "+150",
    '"INF"^^xsd:double': None,
    '"2015-02-30"^^xsd:date': None,
    '"--03-04"^^xsd:gMonthDay': "--03-04",
    "<relative>": None,
}


@pytest.mark.parametrize(("literal", "value"), LITERALS.items())
def test_literals_of_xsd(tmp_path: Path, literal: str, value: str | None) -> None:
    """Dates with time zones and before our era, numbers of every kind; what its datatype does not
    allow is unreadable, and what is no RDF is damage."""
    text = "@prefix xsd: <http://www.w3.org/2001/XMLSchema#> . <http://a/1> <http://b> "
    found = read_text(tmp_path, f"<http://a/0> <http://b> 1 .\n{text}{literal} .\n", "d.ttl")
    said = [(f.value, f.snaktype) for f in found.facts if f.subject == "http://a/1"]
    if value is not None:
        assert (said, found.skips) == ([(value, "value")], [])
    else:
        assert len(found.skips) == 1
        assert said == [("", "unreadable")] or found.skips[0].damage


def test_triples_about_triples(tmp_path: Path) -> None:
    """A statement about a triple is counted; the file's other triples are read."""
    text = GOOD.format(n=1) + "<http://a/2> <http://b> <<( <http://a> <http://b> <http://c> )>> .\n"
    found = read_text(tmp_path, text + GOOD.format(n=3))
    assert [fact.value for fact in found.facts] == ["1", "3"]
    assert len(found.skips) == 1
