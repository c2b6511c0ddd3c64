"""Read facts and names from an RDF file, N-Triples or Turtle, compressed or not.

The RDF of a Wikibase is first turned into its JSON (`discovery.sources.wikibase.rdf.reader`). In any other
RDF each triple is a fact: subject, predicate and object are IRIs, shortened by the prefixes of the
config, or the object is a literal with a datatype. `rdfs:label` and `skos:altLabel` are the
subject's names, `rdf:type` is its type. Names of a subject are combined only if its triples follow
each other in the file.

One process parses the file (pyoxigraph, about a million triples a second); workers make the facts.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from discovery.facts.dates import iso_interval, to_iso
from discovery.facts.fact import Entity, Fact, ValueType
from discovery.sources.blocks import BLOCK_BYTES, Block, split_lines
from discovery.sources.observation import MAX_SAMPLE, Coverage, Parsed, Skip, tally
from discovery.sources.rdf.triples import FORMATS, Triples, by_subject, suffix_of
from discovery.sources.settings import SourceSettings
from discovery.sources.wikibase.dump import LATE
from discovery.sources.wikibase.entities import LANGUAGE, MAX_NAME, parse_entity
from discovery.sources.wikibase.rdf.reader import WikibaseReader
from discovery.sources.wikibase.snaks import MAX_VALUE
from infra.errors import SourceError

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
LABEL = "http://www.w3.org/2000/01/rdf-schema#label"
ALIAS = "http://www.w3.org/2004/02/skos/core#altLabel"
XSD = "http://www.w3.org/2001/XMLSchema#"
DATES = ("date", "dateTime", "gYear", "gYearMonth")
NUMBERS = ("decimal", "integer", "double", "float", "int", "long", "nonNegativeInteger")


class RdfConfig(SourceSettings):
    """Settings of an RDF file."""

    kind: Literal["rdf"] = "rdf"
    path: str
    """File, relative to the config file: `.nt` or `.ttl`, with `.gz` or `.bz2` behind it or not."""
    wikibase: bool = False
    """Whether it is Wikibase's own RDF."""
    relations: tuple[str, ...] | None = None
    """Which are read, as they are called once the prefixes are off; None is all."""
    prefixes: Mapping[str, str] = Field(default_factory=dict)
    """Beginning of an IRI -> what is put in its place, of other RDF; the longest goes first."""

    def local_paths(self, base_dir: Path) -> list[Path]:
        """The one file."""
        return [base_dir / self.path]

    @field_validator("path")
    @classmethod
    def _format(cls, path: str) -> str:
        if suffix_of(path) not in FORMATS:
            raise ValueError(f"{path!r} is not one of {', '.join(FORMATS)}, nor one of them packed")
        return path


class RdfSource:
    """One file, read in blocks. A line of a block holds the triples of one subject."""

    coverage: Coverage = "source"

    def __init__(self, config: RdfConfig, base_dir: Path = Path()) -> None:
        self.config, self.name = config, config.name
        self.path = base_dir / config.path
        self.relations = None if config.relations is None else frozenset(config.relations)
        self._prefixes = sorted(config.prefixes.items(), key=lambda item: -len(item[0]))

    def blocks(self, as_of: date) -> Iterator[Block]:
        """The file's subjects, a line of JSON each: a Wikibase's entity JSON, or `{"subject",
        "triples"}` of other RDF.

        Raises SourceError where the file cannot be read or holds no triple.
        """
        skips: list[Skip] = []
        lines: list[bytes] = []
        held = number = 0
        triples = Triples(self.path, self.name, as_of, skips)
        grouped = self._wikibase(triples, skips) if self.config.wikibase else by_subject(triples)
        try:
            for entry in grouped:
                line = json.dumps(entry, ensure_ascii=False).encode(errors="replace") + b"\n"
                lines.append(line)
                held += len(line)
                if held >= BLOCK_BYTES:
                    yield _block(number, as_of, lines, skips)
                    number, held = number + 1, 0
        except OSError as error:
            raise SourceError(
                f"source {self.name}: cannot read {self.path}: {error.strerror}. Check `path`, "
                "which is relative to the config file."
            ) from error
        if triples.count == 0:
            raise SourceError(
                f"source {self.name}: {self.path} holds no triple"
                + (f" ({skips[0].reason}: {skips[0].sample[:60]!r})" if skips else "")
                + ". Give N-Triples (.nt) or Turtle (.ttl), packed with gzip or bzip2 or not."
            )
        if lines or skips:
            yield _block(number, as_of, lines, skips)

    def read(self, block: Block) -> Parsed:
        """Facts, names and counted skips of a block. Pure."""
        facts, entities, skips = [], [], list(block.skips)
        for line in split_lines(block.lines):
            entry = json.loads(line)
            parsed = self._item(entry, block.as_of) if self.config.wikibase else self._plain(entry)
            facts += parsed.facts
            entities += parsed.entities
            skips += parsed.skips
        return Parsed(tuple(facts), tuple(entities), tuple(tally(skips)))

    def _wikibase(self, triples: Triples, skips: list[Skip]) -> Iterator[dict[str, Any]]:
        """The JSON of each entity of a Wikibase; adds to `skips` what could not be used."""
        reader = WikibaseReader(self.relations)
        for triple in triples:
            for entity, faults in reader.take(*triple):
                skips += [Skip(self.name, *fault) for fault in faults]
                yield entity
        for entity, faults in reader.end():
            skips += [Skip(self.name, *fault) for fault in faults]
            yield entity

    def _item(self, entity: dict[str, Any], as_of: date) -> Parsed:
        """The facts of an entity of a Wikibase, by the same rules as those of a dump."""
        key, skips = entity["id"], []
        if "redirect" in entity:
            target = entity["redirect"]
            return Parsed(entities=(Entity(id=key, label=None, redirect=target, source=self.name),))
        if entity["type"] != "item":
            reason = f"entity is a {entity['type']}, not an item"
            return Parsed(skips=(Skip(self.name, reason, key),))
        if (entity["modified"] or "")[:10] > as_of.isoformat():
            skips.append(Skip(self.name, LATE, key))
            entity["claims"] = {}
        entity["sitelinks"] = range(entity["sitelinks"])
        parsed = parse_entity(entity, self.name)
        return Parsed(parsed.facts, parsed.entities, (*skips, *parsed.skips))

    def _plain(self, entry: dict[str, Any]) -> Parsed:
        """The facts in the triples of one subject of other RDF."""
        subject = self._short(entry["subject"])
        if len(subject) > MAX_VALUE:
            reason = f"subject is longer than {MAX_VALUE} characters"
            return Parsed(skips=(Skip(self.name, reason, subject[:MAX_SAMPLE]),))
        facts: dict[str, Fact] = {}
        names: dict[str, list[str]] = defaultdict(list)
        skips: list[Skip] = []
        for predicate, kind, value, datatype, language in entry["triples"]:
            relation = self._short(predicate)
            try:
                if language and language.split("-")[0] != LANGUAGE:
                    raise ValueError(f"text is not in {LANGUAGE}")
                if predicate in (LABEL, ALIAS):
                    if kind != "literal" or len(value) > MAX_NAME:
                        raise ValueError(f"name is no text of {MAX_NAME} characters at most")
                    names[predicate].append(value)
                    continue
                if self.relations is not None and relation not in self.relations:
                    continue
                text, value_type = self._value(kind, value, datatype)
            except ValueError as error:
                sample = f"{subject} {relation} {value}"[:MAX_SAMPLE]
                skips.append(Skip(self.name, str(error), sample))
                continue
            if predicate == f"{RDF}type":
                names[predicate].append(text)
            identity = "\n".join((entry["subject"], predicate, value, datatype, language))
            digest = hashlib.sha256(identity.encode()).hexdigest()[:24]
            fact = Fact(
                statement_id=f"{self.name}${digest}",
                subject=subject,
                relation=relation,
                value=text,
                value_type=value_type,
                source=self.name,
            )
            facts[fact.statement_id] = fact
        labels = sorted(names[LABEL])
        entity = Entity(
            id=subject,
            label=labels[0] if labels else None,
            aliases=tuple(sorted({*labels[1:], *names[ALIAS]})),
            types=tuple(sorted(names[f"{RDF}type"])),
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
                return to_iso(iso_interval(value.removesuffix("Z"))), "time"
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


def _block(number: int, as_of: date, lines: list[bytes], skips: list[Skip]) -> Block:
    """A block of the given lines and skips; both lists are emptied."""
    block = Block(
        id=f"{number:07d}",
        as_of=as_of,
        lines=b"".join(lines),
        num_lines=len(lines),
        skips=tuple(tally(skips)),
    )
    lines.clear()
    skips.clear()
    return block
