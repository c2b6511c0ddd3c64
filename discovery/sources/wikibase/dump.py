"""Read facts and names from a Wikibase JSON dump, compressed or not, in blocks of lines.

A dump is one JSON array with an entity in each line (Wikibase `docs/topics/json.md`; a comma may
stand behind all lines but the last, behind all, or behind none). It is read once from beginning to
end. Lines are parsed in place (simdjson), and Python objects are made only of the wanted statements
and the English names, which then are read as those of any entity
(`discovery.sources.wikibase.entities`). Where names are wanted only of entities with facts, lines
without the id of a wanted relation are not parsed at all.

A dump is not of one moment: its entities are written over several days. An entity that was modified
after the crawl's day gives no facts, and is counted as a skip. Its names are used, since names are
always today's. If an entity is in the dump twice, the snapshot keeps the later revision.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, Literal

import simdjson
from pydantic import Field, ValidationInfo, field_validator

from discovery.sources.blocks import (
    BLOCK_BYTES,
    MAX_LINE_BYTES,
    Block,
    read_blocks,
    split_lines,
    too_long,
)
from discovery.sources.observation import MAX_SAMPLE, Coverage, Parsed, Skip, tally
from discovery.sources.settings import SourceSettings
from discovery.sources.wikibase.config import ITEM_ID, PROPERTY_ID
from discovery.sources.wikibase.entities import LANGUAGE, parse_entity
from infra.errors import SourceError
from infra.files.decompress import decompress

KINDS = ("property", "lexeme", "mediainfo")
"""Types of entities other than items."""
BESIDE = b", \r\t"
"""Characters that may surround an entity in its line."""
LATE = "modified after the day that is wanted: its facts are not used"
CUT = "the dump does not end with a bracket: it may have been cut off"


class DumpConfig(SourceSettings):
    """Settings of a dump."""

    if_damaged: ClassVar[Coverage] = "subject"

    kind: Literal["dump"] = "dump"
    path: str
    """File, relative to the config file: JSON, by itself or packed with gzip or bzip2."""
    relations: tuple[str, ...] | None = None
    """Property ids that are read; None is all."""
    entities: tuple[str, ...] | None = None
    """Items whose facts are read; None is all."""
    names: Literal["all", "facts"] = "all"
    """Whose names are read: of all items, so that the objects of facts are called something; or of
    items with facts alone, which is faster, where another source names the objects."""
    max_line_bytes: int = Field(default=MAX_LINE_BYTES, ge=1)
    """A longer line is passed over and counted."""

    def local_paths(self, base_dir: Path) -> list[Path]:
        """The one file."""
        return [base_dir / self.path]

    @field_validator("entities", "relations")
    @classmethod
    def _ids(cls, ids: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        items = info.field_name == "entities"
        for key in ids or ():
            if not (ITEM_ID if items else PROPERTY_ID).fullmatch(key):
                kind, example = ("item", "Q42") if items else ("property", "P31")
                raise ValueError(f"{key!r} is no {kind} id such as {example}")
        return ids


class DumpSource:
    """A dump in one file, read in blocks of lines."""

    coverage: Coverage = "source"

    def __init__(self, config: DumpConfig, base_dir: Path = Path()) -> None:
        self.config, self.name = config, config.name
        self.path = base_dir / config.path
        self._parser = simdjson.Parser()
        self._relations = None if config.relations is None else frozenset(config.relations)
        self._entities = None if config.entities is None else frozenset(config.entities)
        self._filter = None
        if self._relations and config.names == "facts":
            numbers = _alternatives([key[1:] for key in self._relations])
            self._filter = re.compile(f'P(?<="P){numbers}":'.encode())

    def blocks(self, as_of: date) -> Iterator[Block]:
        """The file's lines in blocks. Raises SourceError where it cannot be read or is no dump."""
        head = tail = b""
        block = None
        bounds = {"block_bytes": BLOCK_BYTES, "max_line_bytes": self.config.max_line_bytes}
        try:
            for block in read_blocks(decompress(self.path), self.name, as_of, **bounds):
                head = head or block.lines[:MAX_SAMPLE].lstrip()
                tail = block.lines[-MAX_SAMPLE:].rstrip() or tail
                if head and not head.startswith((b"[", b"{")):
                    raise self._no_dump(f"it begins with {head[:40].decode(errors='replace')!r}")
                if not head and block.damaged:
                    raise self._no_dump(block.skips[-1].reason)
                yield block
        except OSError as error:
            raise SourceError(
                f"source {self.name}: cannot read {self.path}: {error.strerror}. Check `path`, "
                "which is relative to the config file."
            ) from error
        if block is None:
            raise self._no_dump("it is empty")
        if head.startswith(b"[") and not tail.endswith(b"]") and not block.damaged:
            yield block.after(Skip(self.name, CUT, tail[-MAX_SAMPLE:].decode(errors="replace")))

    def read(self, block: Block) -> Parsed:
        """Facts, names and counted skips of a block. Pure."""
        facts, entities, skips = [], [], list(block.skips)
        for line in self._lines(block):
            if line in (b"", b"[", b"]"):
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
            return self._skip(f"line is not JSON: {_general(error)}", line)
        try:
            return self._entity(document, line, as_of)
        except (ValueError, UnicodeError) as error:
            return self._skip(f"entity is malformed: {_general(error)}", line)

    def _entity(self, document: Any, line: bytes, as_of: date) -> Parsed:
        """The wanted facts and names of a parsed line. No reference to the document may be kept,
        because the parser reuses it."""
        if not isinstance(document, simdjson.Object):
            return self._skip("line is no entity", line)
        key, kind = document.get("id"), document.get("type", "item")
        if kind != "item" and kind in KINDS:
            return self._skip(f"entity is a {kind}, not an item", line)
        if kind != "item" or not isinstance(key, str) or not ITEM_ID.fullmatch(key):
            return self._skip("line is no entity", line)
        skips = []
        modified = document.get("modified")
        claims: Any = {}
        if isinstance(modified, str) and modified[:10] > as_of.isoformat():
            skips.append(Skip(self.name, LATE, key))
        elif self._entities is None or key in self._entities:
            claims = self._claims(document.get("claims"), key, skips)
        thin = {
            "id": key,
            "lastrevid": document.get("lastrevid"),
            "modified": modified,
            "claims": claims,
            "sitelinks": _sized(document.get("sitelinks")),
            **{name: _in_language(document.get(name)) for name in ("labels", "aliases")},
        }
        parsed = parse_entity(thin, self.name)
        named = parsed.entities if claims or self.config.names == "all" else ()
        return Parsed(parsed.facts, named, (*skips, *parsed.skips))

    def _claims(self, claims: Any, key: str, skips: list[Skip]) -> dict[str, Any]:
        """The statements of the wanted relations, as Python objects."""
        if isinstance(claims, simdjson.Object):
            wanted = self._relations
            return {
                name: _plain(claims[name]) for name in claims if wanted is None or name in wanted
            }
        if not (isinstance(claims, simdjson.Array) and len(claims) == 0):
            skips.append(Skip(self.name, "entity has no map of statements", key))
        return {}

    def _skip(self, reason: str, line: bytes) -> Parsed:
        """A skip of a whole line."""
        sample = line[:MAX_SAMPLE].decode(errors="replace")
        return Parsed(skips=(Skip(self.name, reason, sample),))

    def _no_dump(self, why: str) -> SourceError:
        """The error for a file that is no dump."""
        return SourceError(
            f"source {self.name}: {self.path} is no Wikibase JSON dump: {why}. Give a file of one "
            "JSON array with an entity a line, by itself or packed with gzip or bzip2."
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


def _in_language(value: Any) -> dict[str, Any]:
    """The entry for `LANGUAGE` of a map by language."""
    found = value.get(LANGUAGE) if isinstance(value, simdjson.Object) else None
    return {} if found is None else {LANGUAGE: _plain(found)}


def _general(error: Exception) -> str:
    """A parser's message without details, so that equal faults are counted together."""
    return re.sub(r"\s+", " ", str(error)).partition("(")[0].strip(" .")[:80]
