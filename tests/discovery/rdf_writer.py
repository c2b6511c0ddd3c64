"""Wikibase's JSON -> its RDF, statement by statement, to read back: slow and obvious.

After mediawiki.org *Wikibase/Indexing/RDF Dump Format*.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

from discovery.facts.dates import JULIAN, to_iso, wikibase_interval
from discovery.sources.wikibase.rdf.values import BOUNDS

PREFIXES = {
    "wd": "http://www.wikidata.org/entity/",
    "s": "http://www.wikidata.org/entity/statement/",
    "data": "https://www.wikidata.org/wiki/Special:EntityData/",
    "v": "http://www.wikidata.org/value/",
    "ref": "http://www.wikidata.org/reference/",
    "p": "http://www.wikidata.org/prop/",
    "ps": "http://www.wikidata.org/prop/statement/",
    "psv": "http://www.wikidata.org/prop/statement/value/",
    "pq": "http://www.wikidata.org/prop/qualifier/",
    "pqv": "http://www.wikidata.org/prop/qualifier/value/",
    "pr": "http://www.wikidata.org/prop/reference/",
    "wdt": "http://www.wikidata.org/prop/direct/",
    "wdno": "http://www.wikidata.org/prop/novalue/",
    "wikibase": "http://wikiba.se/ontology#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "schema": "http://schema.org/",
    "prov": "http://www.w3.org/ns/prov#",
    "owl": "http://www.w3.org/2002/07/owl#",
}
XSD = "http://www.w3.org/2001/XMLSchema#"
WKT = "http://www.opengis.net/ont/geosparql#wktLiteral"
DATATYPES = {
    "wikibase-item": "WikibaseItem",
    "wikibase-property": "WikibaseProperty",
    "string": "String",
    "quantity": "Quantity",
    "time": "Time",
    "url": "Url",
    "external-id": "ExternalId",
}


class Writer:
    """N-Triples of entities; a value's node is written where it is used first."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.nodes: list[str] = []
        self.written: set[str] = set()

    def text(self) -> bytes:
        return "".join(f"{line} .\n" for line in self.lines).encode()

    def say(self, subject: str, predicate: str, value: str) -> None:
        self.lines.append(f"{iri(subject)} {iri(predicate)} {value}")

    def declare(self, prop: str, datatype: str) -> None:
        self.say(f"data:{prop}", "schema:about", iri(f"wd:{prop}"))
        self.say(f"wd:{prop}", "rdf:type", iri("wikibase:Property"))
        name = DATATYPES.get(datatype, "Other")
        self.say(f"wd:{prop}", "wikibase:propertyType", iri(f"wikibase:{name}"))

    def entity(self, entity: Any) -> None:
        key = entity["id"]
        self.say(f"data:{key}", "schema:about", iri(f"wd:{key}"))
        for name, part, kind in (
            ("schema:version", "lastrevid", "integer"),
            ("schema:dateModified", "modified", "dateTime"),
        ):
            if part in entity:
                self.say(f"data:{key}", name, literal(str(entity[part]), XSD + kind))
        count = len(entity.get("sitelinks") or ())
        self.say(f"data:{key}", "wikibase:sitelinks", literal(str(count), XSD + "integer"))
        self.say(f"wd:{key}", "rdf:type", iri("wikibase:Item"))
        for language, label in (entity.get("labels") or {}).items():
            self.say(f"wd:{key}", "rdfs:label", f"{literal(label['value'])}@{language}")
        for language, aliases in (entity.get("aliases") or {}).items():
            for alias in aliases:
                self.say(f"wd:{key}", "skos:altLabel", f"{literal(alias['value'])}@{language}")
        for prop, statements in (entity["claims"] or {}).items():
            for statement in statements:
                self.statement(key, prop, statement)

    def statement(self, key: str, prop: str, statement: Any) -> None:
        name = f"s:{statement['id'].replace('$', '-')}"
        self.nodes = []
        self.say(f"wd:{key}", f"p:{prop}", iri(name))
        rank = statement["rank"].capitalize()
        self.say(name, "wikibase:rank", iri(f"wikibase:{rank}Rank"))
        self.snak(name, "ps", statement["mainsnak"])
        for snaks in (statement.get("qualifiers") or {}).values():
            for snak in snaks:
                self.snak(name, "pq", snak)
        for reference in statement.get("references", []):
            node = f"ref:{digest(reference['snaks'])}"
            self.say(name, "prov:wasDerivedFrom", iri(node))
            if node not in self.written:
                self.written.add(node)
                for snaks in reference["snaks"].values():
                    for snak in snaks:
                        self.snak(node, "pr", snak)

    def snak(self, subject: str, space: str, snak: Any) -> None:
        prop = snak["property"]
        if snak["snaktype"] == "novalue":
            self.say(subject, "rdf:type", iri(f"wdno:{prop}"))
            return
        if snak["snaktype"] == "somevalue":
            self.say(subject, f"{space}:{prop}", f"_:b{digest([subject, prop])}")
            return
        plain, whole = value_of(snak)
        self.say(subject, f"{space}:{prop}", plain)
        if whole and space != "pr":
            node = f"v:{digest(whole)}"
            self.say(subject, f"{space}v:{prop}", iri(node))
            if node not in self.written:
                self.written.add(node)
                for name, value in whole.items():
                    self.say(node, f"wikibase:{name}", value)


def value_of(snak: Any) -> tuple[str, dict[str, str] | None]:
    """The plain value, and the parts of the whole one."""
    value, kind = snak["datavalue"]["value"], snak["datavalue"]["type"]
    if kind == "wikibase-entityid":
        letter = {"item": "Q", "property": "P"}[value["entity-type"]]
        return iri(f"wd:{value.get('id') or letter + str(value['numeric-id'])}"), None
    if kind == "string":
        datatype = snak.get("datatype")
        if datatype == "url":
            return f"<{value}>", None
        if datatype == "commonsMedia":
            return f"<http://commons.wikimedia.org/wiki/Special:FilePath/{quote(value)}>", None
        return literal(value), None
    if kind == "monolingualtext":
        return f"{literal(value['text'])}@{value['language']}", None
    if kind == "quantity":
        unit = "wd:Q199" if value["unit"] == "1" else f"wd:{value['unit'].rpartition('/')[2]}"
        amount = literal(value["amount"], XSD + "decimal")
        node = {"quantityAmount": amount, "quantityUnit": iri(unit)}
        for part, name in BOUNDS.items():
            if name in value:
                node[part] = literal(value[name], XSD + "decimal")
        return amount, node
    if kind == "time":
        text = literal(gregorian(value), XSD + "dateTime")
        precision = literal(str(value["precision"]), XSD + "integer")
        calendar = f"<{value['calendarmodel']}>"
        parts = {"timeValue": text, "timePrecision": precision, "timeCalendarModel": calendar}
        return text, parts
    assert kind == "globecoordinate"
    names = {"latitude": "geoLatitude", "longitude": "geoLongitude", "precision": "geoPrecision"}
    parts = {
        name: literal(repr(value[part]), XSD + "double")
        for part, name in names.items()
        if value[part] is not None
    }
    parts["geoGlobe"] = f"<{value['globe']}>"
    return literal(f"Point({value['longitude']} {value['latitude']})", WKT), parts


def gregorian(value: Any) -> str:
    """The time as XSD has it: years astronomical, a Julian day as the Gregorian one."""
    text = value["time"]
    year, rest = int(text[: text.index("-", 1)]), text[text.index("-", 1) :]
    if value["calendarmodel"].endswith(JULIAN) and value["precision"] == 11:
        return to_iso(wikibase_interval(value)[0]) + "T00:00:00Z"
    year = year if year > 0 else year + 1
    return f"{'-' if year < 0 else ''}{abs(year):04d}{rest.replace('-00', '-01')}"


def iri(name: str) -> str:
    prefix, _, local = name.partition(":")
    return f"<{PREFIXES[prefix]}{local}>"


def literal(text: str, datatype: str = "") -> str:
    """A JSON string is one of N-Triples, but for pairs of surrogates."""
    quoted = json.dumps(text, ensure_ascii=False)
    return f"{quoted}^^<{datatype}>" if datatype else quoted


def digest(value: Any) -> str:
    return hashlib.sha1(json.dumps(value, sort_keys=True).encode()).hexdigest()
