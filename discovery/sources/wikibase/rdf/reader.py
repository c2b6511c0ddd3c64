"""Turn Wikibase's RDF into its JSON, entity by entity, so that both give the same facts.

The format is mediawiki.org *Wikibase/Indexing/RDF Dump Format*: `p:` leads from an entity to its
statements, `ps:` to a statement's value, `psv:` to the node of the full value (precision and
calendar of a time, unit of a quantity), `pq:` and `pqv:` likewise to those of qualifiers, and
`prov:wasDerivedFrom` to references.

A dump writes the node of a value or reference once, where it is first used; so the nodes read last
are kept in memory. A value whose node is not in memory is one that cannot be read, as one that is
malformed; what that means for its statement is decided as for JSON. A statement that refers to such
a reference is used without it, and counted. An entity among whose triples the file is damaged is
not used: without, say, its end date a statement would mean something else.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pyoxigraph import Literal, NamedNode

from discovery.sources.wikibase.names import LANGUAGES
from discovery.sources.wikibase.numbering import WIKIDATA, Numbering
from discovery.sources.wikibase.rdf.iris import predicate_of, subject_of
from discovery.sources.wikibase.rdf.values import ValueNodes, is_unknown
from discovery.sources.wikibase.snaks import FAULT

MAX_TRIPLES = 1 << 20
"""Triples of one entity, at most; the largest entities of Wikidata have about 100,000."""
UNKNOWN_NODE = "value is not in the file before"
NO_ENTITY = "statement belongs to no entity in the file"
NO_VALUE = "statement has no value in the file"
SEVERAL = "statement has several values"
INCOMPLETE = "entity is not used, because the file is damaged among its triples"
UNKNOWN_REFERENCE = "remark: statement has a reference that is not in the file before"
MALFORMED = "value is malformed"
TOO_MANY = "entity has more than {} triples: the rest is lost"
TRUTHY = "remark: truthy statement, without qualifiers, references and rank"


class Entry(NamedTuple):
    """One entity as JSON, and the parts of it that could not be used."""

    entity: dict[str, Any] | None
    """None where it is not used."""
    faults: list[tuple[str, str, bool]]
    """Reason and sample of each part that could not be used, and whether facts of unknown subjects
    may be lost with it."""


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
    base: str | None = None
    """Beginning of the IRIs of this Wikibase's entities."""
    names: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    """Texts by `label` or `alias` and language."""
    links: dict[tuple[str, str], None] = field(default_factory=dict)
    """Property and statement id, for each statement of the entity, in the order of the file."""
    statements: dict[str, _Statement] = field(default_factory=lambda: defaultdict(_Statement))
    truthy: list[tuple[str, Any]] = field(default_factory=list)
    num_triples: int = 0
    is_whole: bool = True
    """Whether all its triples could be read."""


class WikibaseReader:
    """Reads triples in the order of the file, and yields an entity when the next one begins."""

    def __init__(self, relations: frozenset[str] | None, numbering: Numbering = WIKIDATA) -> None:
        """
        relations  property ids that are read, as the Wikibase has them; None reads all
        numbering  how its ids are known in facts
        """
        self.relations = relations
        self.property_site = ""
        """Origin of the IRIs of properties; empty before the first one."""
        self._current: _Entity | None = None
        self.values = ValueNodes(numbering)

    def note_damage(self) -> None:
        """Say that triples are lost where the file is read, so that the entity is not whole."""
        if self._current is not None:
            self._current.is_whole = False

    def take(self, subject: Any, predicate: str, value: Any) -> Iterator[Entry]:
        """Read one triple. If it begins a new entity, yield the entity before."""
        if not isinstance(subject, NamedNode):
            return
        kind, key = subject_of(subject.value)
        if kind in ("entity", "data") and (self._current is None or self._current.key != key):
            yield from self.end()
            self._current = _Entity(key)
        if kind == "entity" and self._current is not None:
            self._current.base = subject.value.removesuffix(key)
        name, prop = predicate_of(predicate)
        if prop and not self.property_site:
            self.property_site = predicate[: predicate.index("/prop/")]
        if kind == "value" or kind == "reference":
            self.values.take(f"{kind}/{key}", name, prop, value)
        elif self._current is not None and name:
            self._current.num_triples += 1
            if self._current.num_triples > MAX_TRIPLES:
                self._current.is_whole = False
            else:
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
            elif prop and value not in (values := statement.parts[name, prop]):
                values.append(value)
        elif name == "p":
            entity.links[prop, subject_of(value.value)[1]] = None
        elif name == "direct":
            entity.truthy.append((prop, value))
        elif name in ("label", "alias"):
            if isinstance(value, Literal) and value.language in LANGUAGES:
                entity.names[name, value.language].append(value.value)
        elif name == "same" and entity.base is not None:
            if value.value.startswith(entity.base):
                entity.facts["redirect"] = value.value.removeprefix(entity.base)
        elif name == "propertyType":
            self.values.datatypes[entity.key] = value.value.rpartition("#")[2]

    def _entry(self, of: _Entity) -> Entry:
        """The entity as JSON."""
        faults: list[tuple[str, str, bool]] = []
        if of.num_triples > MAX_TRIPLES:
            faults.append((TOO_MANY.format(MAX_TRIPLES), of.key, True))
        if not of.is_whole:
            return Entry(None, [*faults, (INCOMPLETE, of.key, True)])
        self.values.base = of.base
        linked = {key for _, key in of.links}
        for key in of.statements:
            if key not in linked:
                faults.append((NO_ENTITY, f"{of.key} {key}", True))
        claims: dict[str, list[Any]] = {}
        for prop, key in of.links:
            if self._is_wanted(prop):
                content = of.statements.get(key, _Statement())
                claims.setdefault(prop, []).append(self._statement(prop, key, content))
                if any(node not in self.values for node in content.references):
                    faults.append((UNKNOWN_REFERENCE, f"{of.key} {prop} {key}", False))
        stated = {prop for prop, _ in of.links}
        for prop, value in of.truthy:
            if prop not in stated and self._is_wanted(prop):
                digest = hashlib.sha256(f"{prop} {value}".encode()).hexdigest()[:24]
                snak = self._snak(prop, value, dated=True)
                statement = {"id": f"{of.key}$truthy-{digest}", "mainsnak": snak}
                claims.setdefault(prop, []).append(statement)
                faults.append((TRUTHY, f"{of.key} {prop} {value}", False))
        labels = {code: texts for (name, code), texts in of.names.items() if name == "label"}
        aliases = {code: texts for (name, code), texts in of.names.items() if name == "alias"}
        entity = {
            "type": {"Q": "item", "P": "property", "L": "lexeme"}[of.key[0]],
            "id": of.key,
            "lastrevid": _integer(of.facts.get("version")),
            "modified": of.facts.get("modified"),
            "labels": {code: {"value": texts[0]} for code, texts in labels.items()},
            "aliases": {code: [{"value": t} for t in texts] for code, texts in aliases.items()},
            "sitelinks": _integer(of.facts.get("sitelinks")) or 0,
            "claims": claims,
        }
        if "redirect" in of.facts:
            entity["redirect"] = of.facts["redirect"]
        return Entry(entity, faults)

    def _is_wanted(self, prop: str) -> bool:
        """Whether the statements of a property are read."""
        return self.relations is None or prop in self.relations

    def _statement(self, prop: str, key: str, of: _Statement) -> dict[str, Any]:
        """A statement as JSON; what cannot be read of it is a snak with a fault."""
        main = self._snaks(prop, of, "statement")
        names = {name for space, name in of.parts if space.startswith("qualifier")}
        names |= {name for kind in of.types if (name := _novalue(kind)) and name != prop}
        return {
            "id": key.replace("-", "$", 1),
            "rank": of.rank,
            "mainsnak": main[0] if len(main) == 1 else _fault(prop, SEVERAL if main else NO_VALUE),
            "qualifiers": {name: self._snaks(name, of, "qualifier") for name in sorted(names)},
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
        snaks = [self._snak(prop, node, is_node=True) for node in nodes]
        for value in of.parts.get((space, prop), []):
            if not nodes or is_unknown(value):
                snaks.append(self._snak(prop, value))
        return snaks

    def _snak(
        self, prop: str, value: Any, *, is_node: bool = False, dated: bool = False
    ) -> dict[str, Any]:
        """The snak of a value, or of its node; one with a fault where it cannot be read."""
        try:
            if is_node:
                return self.values.whole(prop, value.value)
            return self.values.snak(prop, value, dated=dated)
        except KeyError:
            return _fault(prop, UNKNOWN_NODE)
        except (ValueError, AttributeError):
            return _fault(prop, MALFORMED)


def _fault(prop: str, reason: str) -> dict[str, Any]:
    """A snak whose value cannot be read."""
    return {"snaktype": "value", "property": prop, FAULT: reason}


def _integer(text: str | None) -> int | None:
    """The number in a text of at most 18 digits, which fits in 63 bits; None for other text."""
    if text is None or not text.isdecimal() or len(text) > 18:
        return None
    return int(text)


def _novalue(iri: str) -> str | None:
    """The property that has no value, according to a type of a statement; None for other types."""
    name, prop = predicate_of(iri)
    return prop if name == "novalue" else None
