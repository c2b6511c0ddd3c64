"""Turn Wikibase's RDF into its JSON, entity by entity, so that both give the same facts.

The format is mediawiki.org *Wikibase/Indexing/RDF Dump Format*: `p:` leads from an entity to its
statements, `ps:` to a statement's value, `psv:` to the node of the full value (precision and
calendar of a time, unit of a quantity), `pq:` and `pqv:` likewise to those of qualifiers, and
`prov:wasDerivedFrom` to references.

A dump writes the node of a value or reference once, where it is first used; so the nodes read last
are kept in memory. A statement that refers to a value node that is not in memory is a skip, since
without, say, its end date it would mean something else. A statement that refers to such a reference
is used without it, and counted.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pyoxigraph import Literal, NamedNode

from discovery.sources.wikibase.entities import LANGUAGE
from discovery.sources.wikibase.rdf.iris import predicate_of, subject_of
from discovery.sources.wikibase.rdf.values import ValueNodes, is_unknown

MAX_TRIPLES = 1 << 20
"""Triples of one entity, at most; the largest entities of Wikidata have about 100,000."""
UNKNOWN_NODE = "statement refers to a value that is not in the file before"
UNKNOWN_REFERENCE = "remark: statement has a reference that is not in the file before"
MALFORMED = "statement is malformed"
TRUTHY = "remark: truthy statement, without qualifiers, references and rank"


class Entry(NamedTuple):
    """One entity as JSON, and the parts of it that could not be used."""

    entity: dict[str, Any]
    faults: list[tuple[str, str]]
    """Reason and sample of each part that could not be used."""


@dataclass
class _Statement:
    """The content of a statement's triples."""

    rank: str = "normal"
    types: set[str] = field(default_factory=set)
    parts: dict[tuple[str, str], list[Any]] = field(default_factory=lambda: defaultdict(list))
    """Values by namespace (`statement`, `qualifier/value`, ...) and property."""
    references: list[str] = field(default_factory=list)


@dataclass
class _Entity:
    """The content of an entity's triples."""

    key: str
    facts: dict[str, Any] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    links: list[tuple[str, str]] = field(default_factory=list)
    """Property and statement id, for each statement of the entity."""
    statements: dict[str, _Statement] = field(default_factory=lambda: defaultdict(_Statement))
    truthy: list[tuple[str, Any]] = field(default_factory=list)
    num_triples: int = 0


class WikibaseReader:
    """Reads triples in the order of the file, and yields an entity when the next one begins."""

    def __init__(self, relations: frozenset[str] | None) -> None:
        """
        relations  property ids that are read; None reads all
        """
        self.relations = relations
        self._current: _Entity | None = None
        self.values = ValueNodes()

    def take(self, subject: Any, predicate: str, value: Any) -> Iterator[Entry]:
        """Read one triple. If it begins a new entity, yield the entity before."""
        if not isinstance(subject, NamedNode):
            return
        kind, key = subject_of(subject.value)
        if kind in ("entity", "data") and (self._current is None or self._current.key != key):
            yield from self.end()
            self._current = _Entity(key)
        name, prop = predicate_of(predicate)
        if kind == "value" or kind == "reference":
            self.values.take(f"{kind}/{key}", name, prop, value)
        elif self._current is not None and name:
            self._current.num_triples += 1
            if self._current.num_triples <= MAX_TRIPLES:
                self._take(self._current, kind, key, name, prop, value)

    def end(self) -> Iterator[Entry]:
        """Yield the last entity, behind the last triple."""
        if self._current is not None:
            yield self._entry(self._current)
        self._current = None

    def _take(self, entity: _Entity, kind: str, key: str, name: str, prop: str, value: Any) -> None:
        """Add a triple to the entity's content."""
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
            self.values.datatypes[entity.key] = value.value.rpartition("#")[2]

    def _entry(self, of: _Entity) -> Entry:
        """The entity as JSON."""
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
                if any(node not in self.values for node in of.statements[key].references):
                    faults.append((UNKNOWN_REFERENCE, f"{of.key} {prop} {key}"))
                claims.setdefault(prop, []).append(statement)
        labels = of.names["label"]
        linked = {prop for prop, _ in of.links}
        for prop, value in of.truthy:
            if prop not in linked and (self.relations is None or prop in self.relations):
                try:
                    snak = self.values.snak(prop, value, dated=True)
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
        """A statement as JSON. Raises KeyError for a value node that is not in memory."""
        (main,) = self._snaks(prop, of, "statement")[:1] or [None]
        if main is None:
            raise KeyError(key)
        names = {name for space, name in of.parts if space.startswith("qualifier")}
        names |= {name for kind in of.types if (name := _novalue(kind)) and name != prop}
        qualifiers = {name: self._snaks(name, of, "qualifier") for name in sorted(names)}
        return {
            "id": key.replace("-", "$", 1),
            "rank": of.rank,
            "mainsnak": main,
            "qualifiers": qualifiers,
            "references": [{"snaks": self.values.reference(node)} for node in of.references],
        }

    def _snaks(self, prop: str, of: _Statement, space: str) -> list[dict[str, Any]]:
        """The snaks of a property in a namespace, from full values where there are any, else from
        plain ones."""
        if any(_novalue(kind) == prop for kind in of.types) and not of.parts.get((space, prop)):
            return [
                {"snaktype": "novalue", "property": prop, "datatype": self.values.datatype(prop)}
            ]
        nodes = of.parts.get((f"{space}/value", prop), [])
        snaks = [self.values.whole(prop, node.value) for node in nodes]
        for value in of.parts.get((space, prop), []):
            if not nodes or is_unknown(value):
                snaks.append(self.values.snak(prop, value))
        return snaks


def _integer(text: str | None) -> int | None:
    """The number in a text of at most 18 digits, which fits in 63 bits; None for other text."""
    if text is None or not text.isdecimal() or len(text) > 18:
        return None
    return int(text)


def _novalue(iri: str) -> str | None:
    """The property that has no value, according to a type of a statement; None for other types."""
    name, prop = predicate_of(iri)
    return prop if name == "novalue" else None
