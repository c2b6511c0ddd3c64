"""RDF of any other than Wikibase, and files of RDF that are damaged or none."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

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
