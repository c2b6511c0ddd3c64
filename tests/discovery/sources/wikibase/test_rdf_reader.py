"""Wikibase's RDF says what its JSON says."""

from __future__ import annotations

import bz2
import gzip
from datetime import date
from pathlib import Path
from typing import Any

import pyoxigraph as ox
import pytest
from dump_helpers import AFTER_ALL, DATA, Read, read, recorded_entities
from rdf_writer import PREFIXES, Writer

from discovery.facts.dates import wikibase_interval
from discovery.facts.fact import Fact
from discovery.sources import make_bulk_source
from discovery.sources.rdf.files import RdfConfig
from discovery.sources.wikibase.dump import LATE
from discovery.sources.wikibase.entities import parse_entity
from discovery.sources.wikibase.rdf import reader as wikibase
from infra.errors import SourceError

ENTITY = "http://www.wikidata.org/entity"
ITEM = "wikibase-item"


def config(path: str = "d.nt", **more: Any) -> RdfConfig:
    return RdfConfig(name="rdf", path=path, **{"wikibase": True, **more})


def read_text(place: Path, text: str | bytes, name: str = "d.nt", **more: Any) -> Read:
    content = text.encode() if isinstance(text, str) else text
    (place / name).write_bytes(content)
    return read(config(name, **more), place)


def datatypes(entities: list[Any]) -> dict[str, str]:
    """By property, as the recordings say."""
    found: dict[str, str] = {}
    for entity in entities:
        for statements in entity["claims"].values():
            for statement in statements:
                qualifiers = statement.get("qualifiers") or {}
                for snak in (statement["mainsnak"], *(s for q in qualifiers.values() for s in q)):
                    if "datatype" in snak:
                        found[snak["property"]] = snak["datatype"]
    return found


def with_datatypes(value: Any, known: dict[str, str]) -> Any:
    """Every snak with its property's datatype, which the oldest recordings leave out."""
    if isinstance(value, list):
        return [with_datatypes(part, known) for part in value]
    if not isinstance(value, dict):
        return value
    made = {key: with_datatypes(part, known) for key, part in value.items()}
    if "snaktype" in made and made["property"] in known:
        made["datatype"] = known[made["property"]]
    return made


def key_of(fact: Fact) -> tuple[str, ...]:
    return fact.subject, fact.relation, fact.statement_id


def test_the_item_as_wikidata_wrote_it() -> None:
    """Wikidata's own Turtle of Douglas Adams, 2023: as many statements, links and names as it says,
    and statements that were there in 2018 say what the JSON of 2018 said, but for real edits."""
    found = read(config("Q42_2024-04.ttl.gz"), DATA)
    assert found.skips == [] and len(found.facts) == 307
    (entity,) = found.entities
    assert (entity.label, entity.num_sitelinks, entity.revision) == (
        "Douglas Adams",
        122,
        1997465481,
    )
    assert entity.types == ("Q5",) and "Douglas Noël Adams" in entity.aliases
    assert {fact.revision_time for fact in found.facts} == {"2023-10-26T05:30:17Z"}
    (recorded,) = [e for e in recorded_entities() if e.get("lastrevid") == 716282445]
    before = {fact.statement_id.lower(): fact for fact in parse_entity(recorded, "rdf").facts}
    pairs = [(f, before[k]) for f in found.facts if (k := f.statement_id.lower()) in before]
    parts = ("relation", "value", "snaktype", "rank", "start", "end", "point")
    changed = [(a, b) for a, b in pairs if any(getattr(a, p) != getattr(b, p) for p in parts)]
    assert len(pairs) == 118
    assert sorted(a.relation for a, _ in changed) == [
        *("P103", "P106", "P1442", "P1695", "P2191", "P2963"),
        *("P551", "P551", "P551", "P735", "P800", "P856"),
    ]
    assert sum(fact.start is not None for fact, _ in pairs) >= 5


@pytest.mark.parametrize("name", ["d.nt", "d.ttl", "d.nt.gz", "d.ttl.bz2"])
def test_rdf_says_what_json_says(tmp_path: Path, name: str) -> None:
    """Every recorded entity written as RDF and read back has the facts and names of its JSON."""
    entities = recorded_entities()
    known = datatypes(entities)
    last = {entity["id"]: entity for entity in entities}
    entities = [with_datatypes(entity, known) for entity in last.values()]
    writer = Writer()
    for prop, datatype in known.items():
        writer.declare(prop, datatype)
    for entity in entities:
        writer.entity(entity)
    content = writer.text()
    if ".ttl" in name:
        quads = ox.parse(content, format=ox.RdfFormat.N_TRIPLES)
        prefixes = dict(PREFIXES)
        made = ox.serialize(
            (q.triple for q in quads), format=ox.RdfFormat.TURTLE, prefixes=prefixes
        )
        assert made is not None and b"@prefix" in made
        content = made
    pack = {".gz": gzip.compress, ".bz2": bz2.compress}.get(Path(name).suffix, bytes)
    (tmp_path / name).write_bytes(pack(content))
    found = read(config(name), tmp_path)
    expected = [parse_entity(entity, "rdf") for entity in entities]
    facts = {key_of(f): f for parsed in expected for f in parsed.facts}
    assert {key_of(f): f for f in found.facts} == facts and len(facts) > 300
    names = {p.entities[0].id: p.entities[0] for p in expected}
    assert {entity.id: entity for entity in found.entities} == names
    assert found.reasons == {"entity is a property, not an item": len(known)}
    assert [skip for parsed in expected for skip in parsed.skips] == []
    some = read(config(name, relations=("P69", "P1082")), tmp_path)
    wanted = {key: f for key, f in facts.items() if f.relation in ("P69", "P1082")}
    assert {key_of(f): f for f in some.facts} == wanted and wanted


TIMES = [
    ("-0043-03-15T00:00:00Z", 11, "Q1985727", "-0044-03-15T00:00:00Z", "Q1985727"),
    ("0000-01-01T00:00:00Z", 9, "Q1985727", "-0001-00-00T00:00:00Z", "Q1985727"),
    ("-0099-01-01T00:00:00Z", 7, "Q1985786", "-0100-00-00T00:00:00Z", "Q1985786"),
    ("1616-05-03T00:00:00Z", 11, "Q1985786", "+1616-04-23T00:00:00Z", "Q1985786"),
    ("1616-04-01T00:00:00Z", 10, "Q1985786", "+1616-04-00T00:00:00Z", "Q1985786"),
    ("12021-01-01T00:00:00Z", 9, "Q1985727", "+12021-00-00T00:00:00Z", "Q1985727"),
    ("1952-03-11T00:00:00Z", 11, "Q1985727", "+1952-03-11T00:00:00Z", "Q1985727"),
]


@pytest.mark.parametrize(("xsd", "precision", "calendar", "text", "model"), TIMES)
def test_times(
    tmp_path: Path, xsd: str, precision: int, calendar: str, text: str, model: str
) -> None:
    """RDF counts a year 0 and gives Julian days as Gregorian ones; the interval is that of JSON."""
    content = f"""
        @prefix wd: <{ENTITY}/> . @prefix s: <{ENTITY}/statement/> .
        @prefix p: <http://www.wikidata.org/prop/> . @prefix v: <http://www.wikidata.org/value/> .
        @prefix ps: <http://www.wikidata.org/prop/statement/> .
        @prefix pqv: <http://www.wikidata.org/prop/qualifier/value/> .
        @prefix wikibase: <http://wikiba.se/ontology#> .
        @prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
        wd:Q1 p:P6 s:Q1-a . s:Q1-a ps:P6 wd:Q2 ; wikibase:rank wikibase:NormalRank ; pqv:P580 v:x .
        v:x wikibase:timeValue "{xsd}"^^xsd:dateTime ; wikibase:timePrecision {precision} ;
            wikibase:timeCalendarModel wd:{calendar} .
    """
    (fact,) = read_text(tmp_path, content, "d.ttl").facts
    json = {"time": text, "precision": precision, "calendarmodel": f"{ENTITY}/{model}"}
    assert fact.start == wikibase_interval(json)[0]
    assert (fact.statement_id, fact.value) == ("Q1$a", "Q2")


TRUTHY = f"""\
<https://www.wikidata.org/wiki/Special:EntityData/Q1> <http://schema.org/version> "7" .
<{ENTITY}/Q1> <http://www.wikidata.org/prop/direct/P6> <{ENTITY}/Q2> .
<{ENTITY}/Q1> <http://www.wikidata.org/prop/direct/P571> "1952-01-01T00:00:00Z"^^<X#dateTime> .
<{ENTITY}/Q1> <http://www.wikidata.org/prop/direct/P571> "1952-03-11T00:00:00Z"^^<X#dateTime> .
<{ENTITY}/Q1> <http://www.w3.org/2000/01/rdf-schema#label> "one"@en .
<{ENTITY}/Q3> <http://www.w3.org/2002/07/owl#sameAs> <{ENTITY}/Q1> .
""".replace("X#", "http://www.w3.org/2001/XMLSchema#")


def test_a_truthy_dump(tmp_path: Path) -> None:
    """Direct statements are facts of the best rank, each a remark; a first of January may be any
    day of the year. Of redirects the target is known."""
    found = read_text(tmp_path, TRUTHY)
    assert [(f.relation, f.value, f.rank, f.revision) for f in found.facts] == [
        ("P571", "1952", "normal", 7),
        ("P571", "1952-03-11", "normal", 7),
        ("P6", "Q2", "normal", 7),
    ]
    assert len({fact.statement_id for fact in found.facts}) == 3
    assert found.reasons == {wikibase.TRUTHY: 3}
    assert [(e.id, e.label, e.redirect) for e in found.entities] == [
        ("Q1", "one", None),
        ("Q3", None, "Q1"),
    ]


def test_nodes_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement whose end date is not known is unreadable, one without its reference is counted;
    a node is remembered from where it was written first, up to a bound."""
    writer = Writer()
    snak = {"snaktype": "value", "property": "P6", "datatype": ITEM}
    value = {"value": {"entity-type": "item", "id": "Q9"}, "type": "wikibase-entityid"}
    entities = []
    for n in range(1, 5):
        time = {
            "time": f"+20{10 + n % 2}-00-00T00:00:00Z",
            "precision": 9,
            "calendarmodel": f"{ENTITY}/Q1985727",
        }
        ended = {"snaktype": "value", "property": "P582", "datatype": "time"}
        ended["datavalue"] = {"value": time, "type": "time"}  # type: ignore[assignment]
        url = {"snaktype": "value", "property": "P854", "datatype": "url"}
        url["datavalue"] = {"value": "http://x.org/", "type": "string"}  # type: ignore[assignment]
        statement = {
            "id": f"Q{n}$1",
            "rank": "normal",
            "mainsnak": {**snak, "datavalue": value},
            "qualifiers": {"P582": [ended]},
            "references": [{"snaks": {"P854": [url]}}],
        }
        entities.append({"id": f"Q{n}", "claims": {"P6": [statement]}})
        writer.entity(entities[-1])
    whole = read_text(tmp_path, writer.text())
    assert whole.skips == []
    assert whole.facts == [f for e in entities for f in parse_entity(e, "rdf").facts]
    lines = writer.text().decode().splitlines(keepends=True)
    without = [line for line in lines if not line.startswith("<http://www.wikidata.org/value/")]
    lost = read_text(tmp_path, "".join(without))
    assert [fact.snaktype for fact in lost.facts] == ["unreadable"] * 4
    assert lost.reasons == {wikibase.UNKNOWN_NODE: 4}
    bare = [line for line in lines if not line.startswith("<http://www.wikidata.org/reference/")]
    found = read_text(tmp_path, "".join(bare))
    assert [f.references for f in found.facts] == [()] * 4
    assert found.reasons == {wikibase.UNKNOWN_REFERENCE: 4}
    monkeypatch.setattr("discovery.sources.wikibase.rdf.values.MAX_NODES", 1)
    few = read_text(tmp_path, writer.text())
    assert 0 < few.reasons[wikibase.UNKNOWN_NODE] < 4


def test_entities_of_after_the_day(tmp_path: Path) -> None:
    """As of a dump: a name, counted, and what it stated on the day is unknown."""
    writer = Writer()
    writer.entity({**recorded_entities()[-1], "modified": "2025-01-02T00:00:00Z"})
    (tmp_path / "d.nt").write_bytes(writer.text())
    found = read(config(), tmp_path, as_of=date(2025, 1, 1))
    assert {fact.snaktype for fact in found.facts} == {"unreadable"}
    assert found.reasons == {LATE: 1}
    assert len(read(config(), tmp_path, as_of=date(2025, 1, 2)).facts) == 4
    assert [entity.id for entity in found.entities] == ["Q582"]


def test_blocks_are_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut into many, they say what one says."""
    writer = Writer()
    for entity in recorded_entities()[-3:]:
        writer.entity(entity)
    (tmp_path / "d.nt").write_bytes(writer.text())
    whole = read(config(), tmp_path)
    monkeypatch.setattr("discovery.sources.rdf.files.BLOCK_BYTES", 100)
    source = make_bulk_source(config(), tmp_path)
    blocks = list(source.blocks(AFTER_ALL))
    assert len(blocks) == 3 and blocks == list(source.blocks(AFTER_ALL))
    assert [f for block in blocks for f in source.read(block).facts] == whole.facts


def test_an_entity_of_too_many_triples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not used, since what is above the bound may be an end date, and the loss is counted."""
    monkeypatch.setattr(wikibase, "MAX_TRIPLES", 3)
    found = read_text(tmp_path, TRUTHY)
    assert found.facts == [] and [entity.id for entity in found.entities] == ["Q3"]
    assert found.reasons["entity has more than 3 triples: the rest is lost"] == 1
    assert all(skip.damage for skip in found.skips)


def test_hostile_sizes_and_depths(tmp_path: Path) -> None:
    """A label and a value of ten megabytes are neither, and a value a hundred thousand brackets
    deep is an unknown one; what else the entity says is read."""
    label, direct = (
        "http://www.w3.org/2000/01/rdf-schema#label",
        "http://www.wikidata.org/prop/direct",
    )
    huge = "x" * 10_000_000
    good = f"<{ENTITY}/Q1> <{direct}/P6> <{ENTITY}/Q2> .\n"
    for predicate in (label, f"{direct}/P856"):
        found = read_text(tmp_path, f'<{ENTITY}/Q1> <{predicate}> "{huge}"@en .\n{good}')
        readable = [f for f in found.facts if f.snaktype == "value"]
        assert [(f.relation, f.value) for f in readable] == [("P6", "Q2")]
        assert [(e.id, e.label) for e in found.entities] == [("Q1", None)]
        (reason,) = found.reasons.keys() - {wikibase.TRUTHY}
        assert " is longer than 1" in reason
    deep = "[ <http://c> " * 100_000 + "1" + " ]" * 100_000
    found = read_text(tmp_path, f"{good}<{ENTITY}/Q1> <{direct}/P35> {deep} .\n", "d.ttl")
    assert {f.relation: f.snaktype for f in found.facts} == {"P6": "value", "P35": "somevalue"}


@pytest.mark.parametrize(
    "predicate", ["http://wikiba.se/ontology#sitelinks", "http://schema.org/version"]
)
@pytest.mark.parametrize("digits", [30, 5000])
def test_numbers_without_end(tmp_path: Path, predicate: str, digits: int) -> None:
    """A count or a revision of so many digits is none; the entity is read."""
    about = f"<https://www.wikidata.org/wiki/Special:EntityData/Q1> <{predicate}>"
    good = f"<{ENTITY}/Q1> <http://www.wikidata.org/prop/direct/P6> <{ENTITY}/Q2> .\n"
    found = read_text(tmp_path, f'{about} "{"9" * digits}" .\n{good}')
    assert [(f.value, f.revision) for f in found.facts] == [("Q2", None)]


def small_dump() -> bytes:
    """Three items with an ended and a current statement each, as N-Triples."""
    writer = Writer()
    for n in (1, 2, 3):
        statements = []
        for number, value in ((1, "Q8"), (2, "Q9")):
            main = {"snaktype": "value", "property": "P6", "datatype": ITEM}
            target = {"entity-type": "item", "id": value}
            main["datavalue"] = {"value": target, "type": "wikibase-entityid"}  # type: ignore[assignment]
            time = {"time": "+2010-01-01T00:00:00Z", "precision": 11}
            time["calendarmodel"] = f"{ENTITY}/Q1985727"
            ended = {"snaktype": "value", "property": "P582", "datatype": "time"}
            ended["datavalue"] = {"value": time, "type": "time"}  # type: ignore[assignment]
            made: dict[str, Any] = {"id": f"Q{n}${number}", "rank": "normal", "mainsnak": main}
            statements.append({**made, "qualifiers": {"P582": [ended]} if number == 1 else {}})
        writer.entity({"id": f"Q{n}", "claims": {"P6": statements}})
    return writer.text()


def same_or_unknown(found: Read, whole: Read) -> None:
    """No fact that says something else than in the whole file."""
    right = {fact.statement_id: fact for fact in whole.facts}
    for fact in found.facts:
        assert fact.snaktype == "unreadable" or fact == right[fact.statement_id]


@pytest.mark.parametrize("name", ["d.nt", "d.ttl", "d.nq"])
def test_no_lost_line_changes_what_a_statement_says(tmp_path: Path, name: str) -> None:
    """Whichever line of the file is malformed, or no UTF-8, the facts that are read are those of
    the whole file; the loss is counted as damage."""
    lines = small_dump().splitlines(keepends=True)
    whole = read_text(tmp_path, b"".join(lines), name)
    assert len(whole.facts) == 6 and whole.skips == []
    for n in range(len(lines)):
        for bad in (b"this is no triple .\n", lines[n].rstrip(b".\n") + b' "\xff" .\n'):
            content = b"".join([*lines[:n], bad, *lines[n + 1 :]])
            found = read_text(tmp_path, content, name)
            same_or_unknown(found, whole)
            assert any(skip.damage for skip in found.skips)


@pytest.mark.parametrize("name", ["d.nt", "d.ttl"])
def test_a_file_that_is_cut_anywhere(tmp_path: Path, name: str) -> None:
    """In the middle of a line it is known to be cut: what is read is right, and it is damage."""
    content = small_dump()
    whole = read_text(tmp_path, content, name)
    for end in range(150, len(content) - 3, 97):
        if content[end - 1 : end + 1] in (b".\n", b" ."):
            continue
        found = read_text(tmp_path, content[:end], name)
        same_or_unknown(found, whole)
        assert any(skip.damage for skip in found.skips)


def test_a_packed_file_that_is_cut(tmp_path: Path) -> None:
    """The last entity may lack its end date: it is not used."""
    packed = gzip.compress(small_dump())
    whole = read_text(tmp_path, packed, "d.nt.gz")
    for share in (0.6, 0.8, 0.95):
        found = read_text(tmp_path, packed[: int(len(packed) * share)], "d.nt.gz")
        same_or_unknown(found, whole)
        assert found.reasons[wikibase.INCOMPLETE] == 1
        assert all(skip.damage for skip in found.skips)


def test_triples_twice_and_statements_of_nobody(tmp_path: Path) -> None:
    """A repeated triple says nothing new; a second value makes a statement unreadable; a statement
    whose entity's triple is lost is damage."""
    lines = small_dump().splitlines(keepends=True)
    whole = read_text(tmp_path, b"".join(lines))
    twice = read_text(tmp_path, b"".join(line * 2 for line in lines))
    assert (twice.facts, twice.skips) == (whole.facts, [])
    value = next(line for line in lines if b"/prop/statement/P6>" in line and b"Q1-2" in line)
    other = value.replace(b"/Q9>", b"/Q7>")
    found = read_text(tmp_path, b"".join(lines).replace(value, value + other))
    assert found.reasons == {wikibase.SEVERAL: 1}
    link = next(line for line in lines if b"/prop/P6>" in line and b"Q1-2" in line)
    found = read_text(tmp_path, b"".join(lines).replace(link, b""))
    assert found.reasons == {wikibase.NO_ENTITY: 1} and found.skips[0].damage
    gone = read_text(tmp_path, b"".join(lines).replace(value, b""))
    assert gone.reasons == {wikibase.NO_VALUE: 1} and len(gone.facts) == 6


def test_rdf_of_no_wikibase_is_refused(tmp_path: Path) -> None:
    """Else everything that the source held would be gone."""
    with pytest.raises(SourceError, match="holds no entity of a Wikibase"):
        read_text(tmp_path, "<http://a> <http://b> <http://c> .\n")
