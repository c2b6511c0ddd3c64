"""Read facts and names from a Wikibase JSON dump, compressed or not, in blocks of lines.

A dump is one JSON array with an entity in each line (Wikibase `docs/topics/json.md`; a comma may
stand behind all lines but the last, behind all, or behind none), or what other programs make of
one: lines without the array, or an array in any other layout, whose entities are then put on lines
first. It is read once from beginning to end. Lines are parsed in place (simdjson), and Python
objects are made only of the wanted statements and names, which then are read as those of any entity
(`discovery.sources.wikibase.entities`). Where names are wanted only of entities with facts, lines
without the id of a wanted relation are not parsed at all.

A dump is not of one moment: its entities are written over several days. What the statements of an
entity that was modified after the crawl's day were on that day is unknown, so its facts are
unreadable, and it is counted as a skip. Its names are used, since names are always today's. If an
entity is in the dump twice, the snapshot keeps the later revision.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import simdjson

from discovery.sources.blocks import (
    BLOCK_BYTES,
    Block,
    read_blocks,
    split_lines,
    too_long,
)
from discovery.sources.local_files import cannot_read
from discovery.sources.observation import MAX_SAMPLE, Coverage, Parsed, Skip, joined, tally
from discovery.sources.wikibase.config import DumpConfig
from discovery.sources.wikibase.entities import name_entity, parse_entity
from discovery.sources.wikibase.names import LANGUAGES
from discovery.sources.wikibase.numbering import (
    ITEM_ID,
    is_property,
    numbering_of,
    strange_property,
    unnamed,
)
from infra.errors import SourceError
from infra.files.decompress import decompress
from infra.files.json_objects import objects_by_line, split_objects

KINDS = ("property", "lexeme", "mediainfo")
"""Types of entities other than items."""
BESIDE = b", \r\t"
"""Characters that may surround an entity in its line."""
_OTHER_ID = re.compile(r"[A-Z]{1,3}[1-9]\d{0,14}")
_OBJECT = re.compile(rb'\{\s*"')
LATE = "modified after the day that is wanted: its facts are not used"
CUT = "the dump does not end with a bracket: it may have been cut off"


class DumpSource:
    """A dump in one file, read in blocks of lines."""

    coverage: Coverage = "source"

    def __init__(self, config: DumpConfig, base_dir: Path = Path()) -> None:
        self.config, self.name = config, config.name
        self.path = base_dir / config.path
        self._parser = simdjson.Parser()
        self.numbering = numbering_of(config.properties)
        self._relations = None if config.relations is None else frozenset(config.relations)
        self._entities = None if config.entities is None else frozenset(config.entities)
        self._filter = None
        if self._relations and config.names == "facts":
            numbers = _alternatives([key[1:] for key in self._relations])
            self._filter = re.compile(f'P(?<="P){numbers}":'.encode())

    def blocks(self, as_of: date) -> Iterator[Block]:
        """The file's lines in blocks. Raises SourceError where it cannot be read or is no dump."""
        head = tail = b""
        block, empty = None, True
        bounds = {"block_bytes": BLOCK_BYTES, "max_line_bytes": self.config.max_line_bytes}
        try:
            pieces = objects_by_line(decompress(self.path))
            for block in read_blocks(pieces, self.name, as_of, **bounds):
                empty = empty and b"{" not in block.lines
                head = head or block.lines[:MAX_SAMPLE].lstrip()
                tail = block.lines[-MAX_SAMPLE:].rstrip() or tail
                if head and not head.startswith((b"[", b"{")):
                    raise self._no_dump(f"it begins with {head[:40].decode(errors='replace')!r}")
                if not head and block.damaged:
                    raise self._no_dump(block.skips[-1].reason)
                yield block
        except OSError as error:
            raise cannot_read(self.name, self.path, error) from error
        if block is None:
            raise self._no_dump("it is empty")
        if empty and not any(skip.damage for skip in block.skips):
            raise self._no_dump("it holds no entity")
        if head.startswith(b"[") and not tail.endswith(b"]") and not block.damaged:
            sample = tail[-MAX_SAMPLE:].decode(errors="replace")
            yield block.after(Skip(self.name, CUT, sample, damage=True))

    def read(self, block: Block) -> Parsed:
        """Facts, names and counted skips of a block. Pure."""
        facts, entities, skips = [], [], list(block.skips)
        for line in self._lines(block):
            if not line.strip(b"[] "):
                continue
            parsed = self._line(line, block.as_of)
            facts += parsed.facts
            entities += parsed.entities
            skips += parsed.skips
        return Parsed(tuple(facts), tuple(entities), tuple(tally(skips)))

    def _lines(self, block: Block) -> Iterator[bytes]:
        """The block's lines. With a filter, only those that it matches, and those that do not look
        like a JSON object, which have to be counted as skips."""
        wanted, lines = self._filter, block.lines
        if wanted is not None and _objects(lines):
            end = 0
            while match := wanted.search(lines, end):
                start = lines.rfind(b"\n", 0, match.start()) + 1
                end = lines.find(b"\n", match.end())
                yield lines[start : end - 1]  # without its comma
            return
        for line in split_lines(lines):
            bare = line.strip(BESIDE)
            if (
                wanted is None
                or not (bare.startswith(b"{") and bare.endswith(b"}"))
                or wanted.search(line)
            ):
                yield bare

    def _line(self, line: bytes, as_of: date) -> Parsed:
        """The facts and names of the entity in one line."""
        if len(line) > self.config.max_line_bytes:
            return self._skip(too_long(self.config.max_line_bytes), line)
        try:
            document = self._parser.parse(line)
        except UnicodeDecodeError:
            return self._skip("line is not UTF-8", line)
        except (ValueError, RuntimeError) as error:
            return self._several(line, as_of, f"line is not JSON: {_general(error)}")
        try:
            return self._entity(document, line, as_of)
        except (ValueError, UnicodeError) as error:
            return self._skip(f"entity is malformed: {_general(error)}", line)

    def _several(self, line: bytes, as_of: date, reason: str) -> Parsed:
        """The facts and names in a line that holds several entities, if it does; else a skip."""
        objects = [part for part in split_objects(line) if part.strip(b"[]")]
        if line in objects or not all(map(_OBJECT.match, objects)):
            return self._skip(reason, line)
        return joined([self._line(part, as_of) for part in objects])

    def _entity(self, document: Any, line: bytes, as_of: date) -> Parsed:
        """The wanted facts and names of a parsed line. No reference to the document may be kept,
        because the parser reuses it."""
        if not isinstance(document, simdjson.Object):
            return self._skip("line is no entity", line)
        if isinstance(inside := document.get("entities"), simdjson.Object):
            return joined([self._entity(inside[name], line, as_of) for name in inside])
        key, kind = document.get("id"), document.get("type", "item")
        if kind == "property" and isinstance(key, str) and is_property(key):
            return self._property(document, key, line)
        if kind != "item" and kind in KINDS:
            return self._skip(f"entity is a {kind}, not an item", line, damage=False)
        is_item = isinstance(key, str) and ITEM_ID.fullmatch(key) is not None
        if isinstance(key, str) and kind != "item" and not is_item and _OTHER_ID.fullmatch(key):
            return self._skip("entity is of a kind that is not read", line, damage=False)
        if kind != "item" or not isinstance(key, str) or not is_item:
            return self._skip("line is no entity", line)
        modified = document.get("modified")
        late = isinstance(modified, str) and modified[:10] > as_of.isoformat()
        wanted = self._entities is None or key in self._entities
        claims = self._claims(document.get("claims")) if wanted else {}
        thin = {
            "lastrevid": document.get("lastrevid"),
            "modified": modified,
            "claims": claims,
            "sitelinks": _sized(document.get("sitelinks")),
            **_named(document, key),
        }
        skips = (Skip(self.name, LATE, key),) if late else ()
        parsed = parse_entity(thin, self.name, numbering=self.numbering, late=late)
        named = parsed.entities if claims or self.config.names == "all" else ()
        return Parsed(parsed.facts, named, (*skips, *parsed.skips))

    def _property(self, document: Any, key: str, line: bytes) -> Parsed:
        """The name of a property of a Wikibase of one's own, for which we have no templates; of
        Wikidata's, a skip.

        Raises SourceError where its name shows that the dump is not Wikidata's.
        """
        named, faults = name_entity(_named(document, key), key, self.name, self.numbering)
        if self.config.properties is None and strange_property(named):
            what = f"its {key} is called {named.label!r}: it is not Wikidata's"
            raise SourceError(f"source {self.name}: {self.path}: {unnamed(what)}.")
        if self.numbering.human is None or self.config.names != "all":
            return self._skip("entity is a property, not an item", line, damage=False)
        return Parsed((), (named,), tuple(Skip(self.name, text, key) for text in faults))

    def _claims(self, claims: Any) -> Any:
        """The statements of the wanted relations, as Python objects; None where there is no map of
        them."""
        if isinstance(claims, simdjson.Object):
            wanted = self._relations
            return {
                name: _plain(claims[name])
                for name in claims
                if wanted is None or name in wanted or not is_property(name)
            }
        return {} if isinstance(claims, simdjson.Array) and len(claims) == 0 else None

    def _skip(self, reason: str, line: bytes, *, damage: bool = True) -> Parsed:
        """A skip of a whole line.

        damage  whether facts of unknown subjects may be lost with it
        """
        sample = line[:MAX_SAMPLE].decode(errors="replace")
        return Parsed(skips=(Skip(self.name, reason, sample, damage=damage),))

    def _no_dump(self, why: str) -> SourceError:
        """The error for a file that is no dump."""
        return SourceError(
            f"source {self.name}: {self.path} is no Wikibase JSON dump: {why}. Give a file of one "
            "JSON array with an entity a line, by itself or packed with gzip, bzip2 or Zstandard."
        )


def _alternatives(words: list[str]) -> str:
    """A pattern for any of the words. It is a prefix tree, which looks at each character once and
    is faster than a plain alternation."""
    begins: dict[str, list[str]] = {}
    for word in sorted(set(words)):
        begins.setdefault(word[:1], []).append(word[1:])
    parts = [first + (_alternatives(rest) if first else "") for first, rest in begins.items()]
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


def _objects(lines: bytes) -> bool:
    """Whether every line begins with `{` and ends with `},`; fast, without parsing."""
    if not (lines.startswith(b"{") and lines.endswith(b"},\n")):
        return False
    end, last = lines.find(b"\n"), len(lines) - 1
    while end < last and lines[end - 2 : end + 2] == b"},\n{":
        end = lines.find(b"\n", end + 1)
    return end == last


def _plain(value: Any) -> Any:
    """A part of a document as Python objects."""
    if isinstance(value, simdjson.Array):
        return value.as_list()
    return value.as_dict() if isinstance(value, simdjson.Object) else value


def _sized(value: Any) -> range:
    """A range as long as the map: only the number of sitelinks counts."""
    return range(len(value) if isinstance(value, simdjson.Object) else 0)


def _named(document: Any, key: str) -> dict[str, Any]:
    """An entity's id and names in the languages that are read, as Python objects."""
    thin: dict[str, Any] = {"id": key}
    for part in ("labels", "aliases"):
        terms = document.get(part)
        if isinstance(terms, simdjson.Object):
            found = {code: terms.get(code) for code in LANGUAGES}
            thin[part] = {code: _plain(term) for code, term in found.items() if term is not None}
    return thin


def _general(error: Exception) -> str:
    """A parser's message without details, so that equal faults are counted together."""
    return re.sub(r"\s+", " ", str(error)).partition("(")[0].strip(" .")[:80]
