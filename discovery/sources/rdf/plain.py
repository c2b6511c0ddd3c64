"""Read the triples of one subject of any RDF other than a Wikibase's as facts.

Subject, predicate and object are IRIs, shortened by the prefixes of the config, or the object is a
literal with a datatype. `rdfs:label` and `skos:altLabel` are the subject's names, `rdf:type` is its
type.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from discovery.facts.dates import iso_interval, to_iso
from discovery.facts.fact import Entity, Fact, ValueType
from discovery.sources.observation import MAX_SAMPLE, Parsed, Skip
from discovery.sources.wikibase.names import LANGUAGE, MAX_NAME, SHARED
from discovery.sources.wikibase.snaks import MAX_VALUE

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
LABEL = "http://www.w3.org/2000/01/rdf-schema#label"
ALIAS = "http://www.w3.org/2004/02/skos/core#altLabel"
XSD = "http://www.w3.org/2001/XMLSchema#"
DATES = ("date", "dateTime", "gYear", "gYearMonth")
NUMBERS = (
    *("decimal", "integer", "double", "float", "int", "long", "short", "byte"),
    *("nonNegativeInteger", "positiveInteger", "nonPositiveInteger", "negativeInteger"),
    *("unsignedLong", "unsignedInt", "unsignedShort", "unsignedByte"),
)
_ZONE = re.compile(r"(?:Z|[+-]\d\d:\d\d)$")
"""Time zone of an XSD date, which is the day where the source is."""


class PlainReader:
    """Reads entries of `discovery.sources.rdf.triples.by_subject`. Pure."""

    def __init__(
        self, name: str, relations: Container[str] | None, prefixes: Mapping[str, str]
    ) -> None:
        """
        name       name of the source
        relations  which are read, without their prefixes; None reads all
        prefixes   beginning of an IRI -> what is put in its place; the longest goes first
        """
        self.name, self.relations = name, relations
        self._prefixes = sorted(prefixes.items(), key=lambda item: -len(item[0]))
        self._type = self._short(f"{RDF}type")

    def read(self, entry: dict[str, Any]) -> Parsed:
        """The facts in the triples of one subject of other RDF."""
        subject = self._short(entry["subject"])
        if len(subject) > MAX_VALUE:
            reason = f"subject is longer than {MAX_VALUE} characters"
            return Parsed(skips=(Skip(self.name, reason, subject[:MAX_SAMPLE], damage=True),))
        facts: dict[str, Fact] = {}
        names: dict[str, list[tuple[int, str]]] = {LABEL: [], ALIAS: []}
        skips: list[Skip] = []
        for predicate, kind, value, datatype, language in entry["triples"]:
            relation = self._short(predicate)
            sample = f"{subject} {relation} {value}"[:MAX_SAMPLE]
            place = _place(language)
            if place is None:
                skips.append(Skip(self.name, f"text is not in {LANGUAGE}", sample))
                continue
            if predicate in names:
                if kind == "literal" and len(value) <= MAX_NAME:
                    names[predicate].append((place, value))
                else:
                    reason = f"name is no text of {MAX_NAME} characters at most"
                    skips.append(Skip(self.name, reason, sample))
                continue
            if self.relations is not None and relation not in self.relations:
                continue
            # the label of a blank node is another at each reading
            shown = value if kind != "node" else f"_:{len(facts)}"
            identity = "\n".join((entry["subject"], predicate, shown, datatype, language))
            digest = hashlib.sha256(identity.encode()).hexdigest()[:24]
            fact = Fact(
                statement_id=f"{self.name}${digest}",
                subject=subject,
                relation=relation,
                value="",
                value_type="other",
                snaktype="unreadable",
                source=self.name,
            )
            try:
                text, value_type = self._value(kind, value, datatype)
                fact = replace(fact, value=text, value_type=value_type, snaktype="value")
            except ValueError as error:
                skips.append(Skip(self.name, str(error), sample))
            if fact.statement_id in facts:
                skips.append(Skip(self.name, "remark: triple is repeated", sample))
            facts[fact.statement_id] = fact
        types = {fact.value for fact in facts.values() if fact.relation == self._type} - {""}
        labels = [label for _, label in sorted(names[LABEL])]
        entity = Entity(
            id=subject,
            label=labels[0] if labels else None,
            aliases=tuple(sorted({*labels[1:], *(alias for _, alias in names[ALIAS])})),
            types=tuple(sorted(types)),
            source=self.name,
        )
        return Parsed(tuple(facts.values()), (entity,), tuple(skips))

    def _value(self, kind: str, value: str, datatype: str) -> tuple[str, ValueType]:
        """Canonical text and type of an object. Raises ValueError with the reason."""
        if len(value) > MAX_VALUE:
            raise ValueError(f"value is longer than {MAX_VALUE} characters")
        if kind == "iri":
            return self._short(value), "entity"
        if kind != "literal":
            raise ValueError("object has no name of its own")
        name = datatype.removeprefix(XSD) if datatype.startswith(XSD) else ""
        if name in DATES:
            try:
                return to_iso(iso_interval(_ZONE.sub("", value))), "time"
            except ValueError:
                raise ValueError("literal is no date, which its datatype says it is") from None
        if name in NUMBERS:
            try:
                amount = Decimal(value)
            except InvalidOperation:
                amount = Decimal("NaN")
            if not amount.is_finite() or abs(amount.adjusted()) > MAX_NAME:
                raise ValueError("literal is no number, which its datatype says it is")
            return f"{amount:+f}", "quantity"
        return value, "string" if name == "string" or datatype == f"{RDF}langString" else "other"

    def _short(self, iri: str) -> str:
        """The IRI with the longest configured prefix replaced."""
        for prefix, short in self._prefixes:
            if iri.startswith(prefix):
                return short + iri[len(prefix) :]
        return iri


def _place(language: str) -> int | None:
    """The place of a text's language in the order in which labels are taken; None for one that is
    not read. A text without a language counts as English."""
    if language in ("", LANGUAGE):
        return 0
    if language == SHARED:
        return 1
    return 2 if language.partition("-")[0] == LANGUAGE else None
