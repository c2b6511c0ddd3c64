"""Read facts and names from an RDF file in any of the usual formats, compressed or not.

The RDF of a Wikibase is first turned into its JSON (`discovery.sources.wikibase.rdf.reader`). In
any other RDF each triple is a fact (`discovery.sources.rdf.plain`). Names of a subject are combined
only if its triples follow each other in the file.

One process parses the file (pyoxigraph, about a million triples a second); workers make the facts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from discovery.facts.fact import Entity
from discovery.sources.blocks import BLOCK_BYTES, Block, split_lines
from discovery.sources.local_files import cannot_read
from discovery.sources.observation import Coverage, Parsed, Skip, tally
from discovery.sources.rdf.plain import PlainReader
from discovery.sources.rdf.triples import FORMATS, Triples, by_subject
from discovery.sources.settings import SourceSettings
from discovery.sources.wikibase.dump import LATE
from discovery.sources.wikibase.entities import name_entity, parse_entity
from discovery.sources.wikibase.numbering import Properties, numbering_of, unnamed
from discovery.sources.wikibase.rdf.reader import Entry, WikibaseReader
from infra.errors import SourceError
from infra.files.decompress import suffix_of


class RdfConfig(SourceSettings):
    """Settings of an RDF file."""

    renamed: ClassVar[frozenset[str]] = frozenset({"path"})

    kind: Literal["rdf"] = "rdf"
    path: str
    """File, relative to the config file: `.nt`, `.ttl`, `.nq`, `.trig`, `.n3`, `.rdf`, `.owl` or
    `.jsonld`, with `.gz`, `.bz2` or `.zst` behind it or not."""
    wikibase: bool = False
    """Whether it is Wikibase's own RDF."""
    properties: Properties | None = None
    """The properties of a Wikibase that numbers them itself (`PropertyNames`), as all but Wikidata
    do; `wikidata` for a copy of Wikidata under other IRIs. Unset, the IRIs of the properties must
    be Wikidata's."""
    relations: tuple[str, ...] | None = None
    """Which are read, as they are called once the prefixes are off, or as the Wikibase has them;
    None is all."""
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
        self.numbering = numbering_of(config.properties)
        self.relations = None if config.relations is None else frozenset(config.relations)
        self._plain = PlainReader(config.name, self.relations, config.prefixes)

    def blocks(self, as_of: date) -> Iterator[Block]:
        """The file's subjects, a line of JSON each: a Wikibase's entity JSON, or `{"subject",
        "triples"}` of other RDF.

        Raises SourceError where the file cannot be read or holds no triple, or is of a Wikibase
        whose properties are not named.
        """
        skips: list[Skip] = []
        lines: list[bytes] = []
        held, number, found = 0, 0, False
        triples = Triples(self.path, self.name, as_of, skips)
        grouped = self._wikibase(triples, skips) if self.config.wikibase else by_subject(triples)
        try:
            for entry in grouped:
                line = json.dumps(entry, ensure_ascii=False).encode(errors="replace") + b"\n"
                lines.append(line)
                held, found = held + len(line), True
                if held >= BLOCK_BYTES:
                    yield _block(number, as_of, lines, skips)
                    number, held = number + 1, 0
        except OSError as error:
            raise cannot_read(self.name, self.path, error) from error
        if triples.count == 0:
            raise SourceError(
                f"source {self.name}: {self.path} holds no triple"
                + (f" ({skips[0].reason}: {skips[0].sample[:60]!r})" if skips else "")
                + ". Give N-Triples (.nt) or Turtle (.ttl), packed with gzip, bzip2 or Zstandard "
                "or not."
            )
        if not found and not any(skip.damage for skip in skips):
            raise SourceError(
                f"source {self.name}: {self.path} holds no "
                + (
                    "entity of a Wikibase; leave `wikibase` unset for"
                    if self.config.wikibase
                    else "subject that has a name of its own, which is needed to read"
                )
                + " other RDF."
            )
        if lines or skips:
            yield _block(number, as_of, lines, skips)

    def read(self, block: Block) -> Parsed:
        """Facts, names and counted skips of a block. Pure."""
        facts, entities, skips = [], [], list(block.skips)
        for line in split_lines(block.lines):
            entry = json.loads(line)
            parsed = (
                self._item(entry, block.as_of) if self.config.wikibase else self._plain.read(entry)
            )
            facts += parsed.facts
            entities += parsed.entities
            skips += parsed.skips
        return Parsed(tuple(facts), tuple(entities), tuple(tally(skips)))

    def _wikibase(self, triples: Triples, skips: list[Skip]) -> Iterator[dict[str, Any]]:
        """The JSON of each entity of a Wikibase; adds to `skips` what could not be used."""
        reader = WikibaseReader(self.relations, self.numbering)
        seen, is_known = 0, self.config.properties is not None
        for triple in triples:
            is_damaged, seen = triples.num_faults > seen, triples.num_faults
            if is_damaged:  # a lost triple may be of the entity before or of this one
                reader.note_damage()
            yield from self._used(reader.take(*triple), skips)
            if is_damaged:
                reader.note_damage()
            if not is_known and reader.property_site:
                self._check_site(reader.property_site)
                is_known = True
        if triples.num_faults > seen:
            reader.note_damage()
        yield from self._used(reader.end(), skips)

    def _used(self, entries: Iterator[Entry], skips: list[Skip]) -> Iterator[dict[str, Any]]:
        """The entities of some entries; adds what could not be used to `skips`."""
        for entity, faults in entries:
            skips += [Skip(self.name, why, sample, damage=lost) for why, sample, lost in faults]
            if entity is not None:
                yield entity

    def _check_site(self, site: str) -> None:
        """Raises SourceError where the properties are not Wikidata's."""
        if site.partition("://")[2] != "www.wikidata.org":
            what = f"its properties are those of {site}: it is not Wikidata's"
            raise SourceError(f"source {self.name}: {self.path}: {unnamed(what)}.")

    def _item(self, entity: dict[str, Any], as_of: date) -> Parsed:
        """The facts of an entity of a Wikibase, by the same rules as those of a dump."""
        key = entity["id"]
        if "redirect" in entity:
            target = entity["redirect"]
            return Parsed(entities=(Entity(id=key, label=None, redirect=target, source=self.name),))
        if entity["type"] == "property" and self.numbering.human is not None:
            named, faults = name_entity(entity, key, self.name, self.numbering)
            return Parsed((), (named,), tuple(Skip(self.name, text, key) for text in faults))
        if entity["type"] != "item":
            reason = f"entity is a {entity['type']}, not an item"
            return Parsed(skips=(Skip(self.name, reason, key),))
        late = (entity["modified"] or "")[:10] > as_of.isoformat()
        skips = (Skip(self.name, LATE, key),) if late else ()
        entity["sitelinks"] = range(entity["sitelinks"])
        parsed = parse_entity(entity, self.name, numbering=self.numbering, late=late)
        return Parsed(parsed.facts, parsed.entities, (*skips, *parsed.skips))


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
