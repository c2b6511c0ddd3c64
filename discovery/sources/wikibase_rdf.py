"""Wikibase's RDF -> its JSON, entity by entity, so that both say the same.

The format is mediawiki.org *Wikibase/Indexing/RDF Dump Format*: `p:` leads from an entity to its
statements, `ps:` to a statement's value and `psv:` to the node of the whole value (precision and
calendar of a time, unit of a quantity), `pq:` and `pqv:` likewise for qualifiers, and
`prov:wasDerivedFrom` to references. Years are astronomical (`0000` is 1 BCE, JSON's `-0001`), and a
Julian day is given as the Gregorian one. A triple does not say which datatype its property has, so
text is text, whatever identifier it may be, unless the property was declared before.

Nodes of values and references are written once in a dump, where they are used first; the last
`MAX_NODES` are remembered. A statement that refers to one that is not known is a skip, for without
its end date it would be another; one with such a reference is used without it, and counted.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

from pyoxigraph import BlankNode, Literal, NamedNode

from discovery.dates import DAY, GREGORIAN, JULIAN, MONTH, YEAR
from discovery.sources.wikibase_iris import GENID, NODE_PARTS, predicate_of, subject_of
from discovery.sources.wikibase_json import LANGUAGE, REFERENCE_URL, STATED_IN

MAX_NODES = 1 << 18
MAX_TRIPLES = 1 << 20
"""Of one entity; the largest of Wikidata have about 100,000."""
UNKNOWN_NODE = "statement refers to a value that is not in the file before"
UNKNOWN_REFERENCE = "remark: statement has a reference that is not in the file before"
MALFORMED = "statement is malformed"
TRUTHY = "remark: truthy statement, without qualifiers, references and rank"

_FILE = re.compile(r"https?://commons\.wikimedia\.org/wiki/Special:FilePath/(.+)")
_DAY = re.compile(r"([+-]?)(\d+)-(\d\d-\d\dT\d\d:\d\d:\d\dZ)")
_TYPES = {
    "WikibaseItem": "wikibase-item",
    "String": "string",
    "Quantity": "quantity",
    "Time": "time",
}


class Entry(NamedTuple):
    """One entity's JSON, and what of it could not be used."""

    entity: dict[str, Any]
    faults: list[tuple[str, str]]
    """Reasons and samples."""


@dataclass
class _Statement:
    """What the triples of a statement say."""

    rank: str = "normal"
    types: set[str] = field(default_factory=set)
    parts: dict[tuple[str, str], list[Any]] = field(default_factory=lambda: defaultdict(list))
    """Values by namespace (`statement`, `qualifier/value`, ...) and property."""
    references: list[str] = field(default_factory=list)


@dataclass
class _Entity:
    """What the triples of an entity say."""

    key: str
    facts: dict[str, Any] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    links: list[tuple[str, str]] = field(default_factory=list)
    """Property, and the statement it leads to."""
    statements: dict[str, _Statement] = field(default_factory=lambda: defaultdict(_Statement))
    truthy: list[tuple[str, Any]] = field(default_factory=list)
    num_triples: int = 0


class WikibaseReader:
    """Takes triples in the order of the file, and gives each entity when the next one begins."""

    def __init__(self, relations: frozenset[str] | None) -> None:
        self.relations = relations
        self._current: _Entity | None = None
        self._nodes: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._datatypes: dict[str, str] = {}

    def take(self, subject: Any, predicate: str, value: Any) -> Iterator[Entry]:
        """One triple; yields the entity before, where another begins."""
        if not isinstance(subject, NamedNode):
            return
        kind, key = subject_of(subject.value)
        if kind in ("entity", "data") and (self._current is None or self._current.key != key):
            yield from self.end()
            self._current = _Entity(key)
        name, prop = predicate_of(predicate)
        if kind == "value" or kind == "reference":
            self._take_node(f"{kind}/{key}", name, prop, value)
        elif self._current is not None and name:
            self._current.num_triples += 1
            if self._current.num_triples <= MAX_TRIPLES:
                self._take(self._current, kind, key, name, prop, value)

    def end(self) -> Iterator[Entry]:
        """The last entity."""
        if self._current is not None:
            yield self._entry(self._current)
        self._current = None

    def _take(self, entity: _Entity, kind: str, key: str, name: str, prop: str, value: Any) -> None:
        if kind == "data":
            entity.facts[name] = value.value
        elif kind == "statement":
            statement = entity.statements[key]
            if name == "rank":
                statement.rank = value.value.rpartition("#")[2].removesuffix("Rank").lower()
            elif name == "derived":
                statement.references.append(f"reference/{subject_of(value.value)[1]}")
            elif name == "type":
                statement.types.add(value.value)
            elif prop:
                statement.parts[name, prop].append(value)
        elif name == "p":
            entity.links.append((prop, subject_of(value.value)[1]))
        elif name == "direct":
            entity.truthy.append((prop, value))
        elif name in ("label", "alias"):
            if isinstance(value, Literal) and value.language == LANGUAGE:
                entity.names[name].append(value.value)
        elif name == "same":
            entity.facts["redirect"] = subject_of(value.value)[1]
        elif name == "propertyType":
            self._datatypes[entity.key] = value.value.rpartition("#")[2]

    def _take_node(self, node: str, name: str, prop: str, value: Any) -> None:
        known = self._nodes.setdefault(node, {})
        self._nodes.move_to_end(node)
        if name == "timeValue" and isinstance(value, Literal):
            dated = value.datatype.value.endswith("#dateTime")
            known[name] = _time(value.value) if dated else value.value
        elif name in NODE_PARTS:
            known[name] = value.value
        elif name == "reference" and prop in (STATED_IN, REFERENCE_URL):
            known.setdefault(prop, []).append(value)
        if len(self._nodes) > MAX_NODES:
            self._nodes.popitem(last=False)

    def _entry(self, of: _Entity) -> Entry:
        """The entity as JSON has it."""
        faults: list[tuple[str, str]] = []
        if of.num_triples > MAX_TRIPLES:
            faults.append((f"entity has more than {MAX_TRIPLES} triples: the rest is lost", of.key))
        claims: dict[str, list[Any]] = {}
        for prop, key in of.links:
            if self.relations is None or prop in self.relations:
                try:
                    statement = self._statement(prop, key, of.statements[key])
                except (KeyError, ValueError) as error:
                    reason = UNKNOWN_NODE if isinstance(error, KeyError) else MALFORMED
                    faults.append((reason, f"{of.key} {prop} {key}"))
                    continue
                if any(node not in self._nodes for node in of.statements[key].references):
                    faults.append((UNKNOWN_REFERENCE, f"{of.key} {prop} {key}"))
                claims.setdefault(prop, []).append(statement)
        labels = of.names["label"]
        linked = {prop for prop, _ in of.links}
        for prop, value in of.truthy:
            if prop not in linked and (self.relations is None or prop in self.relations):
                try:
                    snak = self._snak(prop, value, dated=True)
                except (KeyError, ValueError):
                    faults.append((MALFORMED, f"{of.key} {prop} {value}"))
                    continue
                digest = hashlib.sha256(f"{prop} {value}".encode()).hexdigest()[:24]
                statement = {"id": f"{of.key}$truthy-{digest}", "mainsnak": snak}
                claims.setdefault(prop, []).append(statement)
                faults.append((TRUTHY, f"{of.key} {prop} {value}"))
        entity = {
            "type": {"Q": "item", "P": "property", "L": "lexeme"}[of.key[0]],
            "id": of.key,
            "lastrevid": _integer(of.facts.get("version")),
            "modified": of.facts.get("modified"),
            "labels": {LANGUAGE: {"value": labels[0]}} if labels else {},
            "aliases": {LANGUAGE: [{"value": alias} for alias in of.names["alias"]]},
            "sitelinks": _integer(of.facts.get("sitelinks")) or 0,
            "claims": claims,
        }
        if "redirect" in of.facts:
            entity["redirect"] = of.facts["redirect"]
        return Entry(entity, faults)

    def _statement(self, prop: str, key: str, of: _Statement) -> dict[str, Any]:
        """A statement as JSON has it. Raises KeyError for an unknown node."""
        (main,) = self._snaks(prop, of, "statement")[:1] or [None]
        if main is None:
            raise KeyError(key)
        names = {name for space, name in of.parts if space.startswith("qualifier")}
        names |= {name for kind in of.types if (name := _novalue(kind)) and name != prop}
        qualifiers = {name: self._snaks(name, of, "qualifier") for name in sorted(names)}
        references = [self._nodes.get(node, {}) for node in of.references]
        return {
            "id": key.replace("-", "$", 1),
            "rank": of.rank,
            "mainsnak": main,
            "qualifiers": qualifiers,
            "references": [
                {"snaks": {name: [self._snak(name, v) for v in values]}}
                for known in references
                for name, values in known.items()
            ],
        }

    def _snaks(self, prop: str, of: _Statement, space: str) -> list[dict[str, Any]]:
        """The snaks of a property: of whole values where there are such, else of plain ones."""
        if any(_novalue(kind) == prop for kind in of.types) and not of.parts.get((space, prop)):
            return [{"snaktype": "novalue", "property": prop, "datatype": self._datatype(prop)}]
        nodes = of.parts.get((f"{space}/value", prop), [])
        snaks = [self._whole(prop, node.value) for node in nodes]
        for value in of.parts.get((space, prop), []):
            if not nodes or _unknown(value):
                snaks.append(self._snak(prop, value))
        return snaks

    def _whole(self, prop: str, node: str) -> dict[str, Any]:
        """The snak of a value's node. Raises KeyError where it is not known."""
        node = f"value/{subject_of(node)[1]}"
        known = self._nodes[node]
        self._nodes.move_to_end(node)
        if "timeValue" in known:
            calendar = known["timeCalendarModel"]
            precision = int(known["timePrecision"])
            if calendar.endswith(f"/{JULIAN}") and precision >= DAY:
                calendar = GREGORIAN
            time = {"time": known["timeValue"], "precision": precision}
            return _with(prop, {**time, "calendarmodel": calendar}, "time", "time")
        if "quantityAmount" in known:
            unit = known["quantityUnit"]
            unit = "1" if unit.endswith("/Q199") else unit
            value = {"amount": known["quantityAmount"], "unit": unit}
            return _with(prop, value, "quantity", "quantity")
        precision = known.get("geoPrecision")
        value = {
            "latitude": float(known["geoLatitude"]),
            "longitude": float(known["geoLongitude"]),
            "altitude": None,
            "precision": None if precision is None else float(precision),
            "globe": known["geoGlobe"],
        }
        return _with(prop, value, "globecoordinate", "globe-coordinate")

    def _snak(self, prop: str, value: Any, *, dated: bool = False) -> dict[str, Any]:
        """The snak of a plain value; where `dated`, also of a time, whose precision its node alone
        says: the first of a year or month is taken for all of it. Raises KeyError for a time else.
        """
        if _unknown(value):
            return {"snaktype": "somevalue", "property": prop, "datatype": self._datatype(prop)}
        if isinstance(value, NamedNode):
            kind, key = subject_of(value.value)
            if kind == "entity":
                datatype = "wikibase-item" if key[0] == "Q" else "wikibase-property"
                return _with(prop, {"id": key}, "wikibase-entityid", datatype)
            file = _FILE.fullmatch(value.value)
            text = unquote(file[1]) if file else value.value
            return _with(prop, text, "string", "commonsMedia" if file else "url")
        if value.language:
            text = {"text": value.value, "language": value.language}
            return _with(prop, text, "monolingualtext", "monolingualtext")
        datatype = value.datatype.value.rpartition("#")[2]
        if datatype == "decimal":
            return _with(prop, {"amount": value.value, "unit": "1"}, "quantity", "quantity")
        if datatype == "dateTime":
            if not dated:
                raise KeyError(prop)
            text = _time(value.value)
            precision = YEAR if "-01-01T" in text else MONTH if "-01T" in text else DAY
            time = {"time": text, "precision": precision, "calendarmodel": GREGORIAN}
            return _with(prop, time, "time", "time")
        return _with(prop, value.value, "string", self._datatype(prop) or "string")

    def _datatype(self, prop: str) -> str:
        """Of a property that was declared; empty where it was not."""
        declared = self._datatypes.get(prop)
        return "" if declared is None else _TYPES.get(declared, declared)


def _with(prop: str, value: Any, kind: str, datatype: str) -> dict[str, Any]:
    data = {"value": value, "type": kind}
    return {"snaktype": "value", "property": prop, "datatype": datatype, "datavalue": data}


def _unknown(value: Any) -> bool:
    """Whether it stands for some value that is not known."""
    if isinstance(value, BlankNode):
        return True
    return isinstance(value, NamedNode) and GENID.fullmatch(value.value) is not None


def _time(text: str) -> str:
    """An XSD date as Wikibase writes it in JSON; what is none is left as it is."""
    match = _DAY.fullmatch(text)
    if not match or text.startswith("+"):
        return text
    year = int(match[1] + match[2])
    return f"{'+' if year > 0 else '-'}{year if year > 0 else 1 - year:04d}-{match[3]}"


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _novalue(iri: str) -> str | None:
    """The property that a statement's type says has no value."""
    name, prop = predicate_of(iri)
    return prop if name == "novalue" else None
