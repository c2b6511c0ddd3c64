"""Turn values in Wikibase's RDF, plain ones and those with a node, into the snaks of its JSON.

Years in RDF are astronomical (`0000` is 1 BCE, `-0001` in JSON), and a day of the Julian calendar
is written as the Gregorian day. A triple does not show the datatype of its property. So every text
is a string, even if it is an identifier, unless the file declares the property before.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any
from urllib.parse import unquote

from pyoxigraph import BlankNode, Literal, NamedNode

from discovery.facts.dates import DAY, GREGORIAN, JULIAN, MONTH, YEAR
from discovery.sources.wikibase.numbering import REFERENCE_URL, STATED_IN, Numbering
from discovery.sources.wikibase.rdf.iris import GENID, NODE_PARTS, subject_of

MAX_NODES = 1 << 18
"""Nodes of values and references kept in memory."""
BOUNDS = {"quantityLowerBound": "lowerBound", "quantityUpperBound": "upperBound"}
"""Part of a quantity's node -> its name in JSON."""

ONE = ("http://www.wikidata.org/entity/Q199", "https://www.wikidata.org/entity/Q199")
"""The unit of a number without one, on every Wikibase."""
XSD = "http://www.w3.org/2001/XMLSchema#"

_FILE = re.compile(r"https?://commons\.wikimedia\.org/wiki/Special:FilePath/(.+)")
_DAY = re.compile(r"([+-]?)(\d+)-(\d\d-\d\dT\d\d:\d\d:\d\dZ)")
_TYPES = {
    "WikibaseItem": "wikibase-item",
    "String": "string",
    "Quantity": "quantity",
    "Time": "time",
}


class ValueNodes:
    """The nodes of values and references read last, and the datatypes of declared properties."""

    def __init__(self, numbering: Numbering) -> None:
        self._numbering = numbering
        self.base: str | None = None
        """Beginning of the IRIs of this Wikibase's entities; None where it is not known."""
        self.datatypes: dict[str, str] = {}
        """Property id -> the datatype that the file declares."""
        self._nodes: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def __contains__(self, node: str) -> bool:
        return node in self._nodes

    def take(self, node: str, name: str, prop: str, value: Any) -> None:
        """Add a triple to its node; beyond `MAX_NODES` drop the node used longest ago."""
        known = self._nodes.setdefault(node, {})
        self._nodes.move_to_end(node)
        if name == "timeValue" and isinstance(value, Literal):
            dated = value.datatype.value.endswith("#dateTime")
            known[name] = _time(value.value) if dated else value.value
        elif name in NODE_PARTS:
            known[name] = value.value
        elif name == "reference" and self._numbering.property(prop) in (STATED_IN, REFERENCE_URL):
            known.setdefault(prop, []).append(value)
        if len(self._nodes) > MAX_NODES:
            self._nodes.popitem(last=False)

    def reference(self, node: str) -> dict[str, list[dict[str, Any]]]:
        """The snaks of a reference's node; none if the node is not in memory."""
        known = self._nodes.get(node, {})
        return {
            prop: [self.snak(prop, value) for value in values]
            for prop, values in known.items()
            if prop not in NODE_PARTS
        }

    def whole(self, prop: str, node: str) -> dict[str, Any]:
        """The snak of a full value. Raises KeyError if its node is not in memory."""
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
            unit = "1" if unit in ONE else unit
            value = {"amount": known["quantityAmount"], "unit": unit}
            value |= {name: known[part] for part, name in BOUNDS.items() if part in known}
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

    def snak(self, prop: str, value: Any, *, dated: bool = False) -> dict[str, Any]:
        """The snak of a plain value.

        dated  read times too. Their precision is only in the value's node, so the first day of a
               year or month is taken to mean the whole year or month

        Raises KeyError for a time without `dated`.
        """
        if is_unknown(value):
            return {"snaktype": "somevalue", "property": prop, "datatype": self.datatype(prop)}
        if isinstance(value, NamedNode):
            if (key := self._entity(value.value)) is not None:
                datatype = "wikibase-item" if key[:1] == "Q" else "wikibase-property"
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
        plain = value.datatype.value == f"{XSD}string"
        datatype = self.datatype(prop) or ("string" if plain else value.datatype.value)
        return _with(prop, value.value, "string", datatype)

    def _entity(self, iri: str) -> str | None:
        """The id of the entity of this Wikibase that an IRI is; None for any other IRI, such as
        that of another Wikibase's entity, which is an address here."""
        if self.base is None:
            kind, key = subject_of(iri)
            return key if kind == "entity" else None
        key = iri.removeprefix(self.base)
        return key if iri.startswith(self.base) and "/" not in key else None

    def datatype(self, prop: str) -> str:
        """The datatype of a property in JSON; empty if the file has not declared it."""
        declared = self.datatypes.get(prop)
        return "" if declared is None else _TYPES.get(declared, declared)


def _with(prop: str, value: Any, kind: str, datatype: str) -> dict[str, Any]:
    """A snak with a value."""
    data = {"value": value, "type": kind}
    return {"snaktype": "value", "property": prop, "datatype": datatype, "datavalue": data}


def is_unknown(value: Any) -> bool:
    """Whether an RDF term stands for an unknown value."""
    if isinstance(value, BlankNode):
        return True
    return isinstance(value, NamedNode) and GENID.fullmatch(value.value) is not None


def _time(text: str) -> str:
    """An XSD date as Wikibase's JSON writes it; other text is returned as it is."""
    match = _DAY.fullmatch(text)
    if not match or text.startswith("+"):
        return text
    year = int(match[1] + match[2])
    return f"{'+' if year > 0 else '-'}{year if year > 0 else 1 - year:04d}-{match[3]}"
