"""Dumps written and read, for the tests of bulk sources."""

from __future__ import annotations

import bz2
import gzip
import json
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

from discovery_helpers import EXAMPLES

from discovery.facts.fact import Entity, Fact
from discovery.sources import BulkConfig, make_bulk_source
from discovery.sources.observation import Skip
from discovery.sources.wikibase.config import DumpConfig
from discovery.sources.wikibase.entities import find_entity

DATA = Path(__file__).parent / "data"
AFTER_ALL = date(2030, 1, 1)
PACK = {".json": bytes, ".json.gz": gzip.compress, ".json.bz2": bz2.compress}


def payload(path: Path) -> Any:
    return json.loads(gzip.decompress(path.read_bytes()))


def recorded_entities() -> list[Any]:
    """All entities that were recorded, by themselves."""
    paths = sorted((EXAMPLES / "recordings" / "wikidata").glob("Q*.json.gz"))
    found = [find_entity(payload(path), path.name.split("-")[0]) for path in paths]
    return [*found, *(payload(DATA / f"{key}.json.gz") for key in ("Q217447", "Q328212", "Q582"))]


def line_of(entity: Any) -> bytes:
    return json.dumps(entity, separators=(",", ":"), ensure_ascii=False).encode()


def dump_of(*lines: bytes) -> bytes:
    """As Wikidata writes it."""
    return b"[\n" + b",\n".join(lines) + b"\n]\n"


def write(path: Path, content: bytes) -> Path:
    """Packed as the name says."""
    path.write_bytes(PACK["".join(path.suffixes)](content))
    return path


def read(config: BulkConfig, base_dir: Path, as_of: date = AFTER_ALL) -> Read:
    """Everything a source says, in one process."""
    source, read = make_bulk_source(config, base_dir), Read()
    for block in source.blocks(as_of):
        parsed = source.read(block)
        read.facts += parsed.facts
        read.entities += parsed.entities
        read.skips += parsed.skips
    return read


class Read:
    """What a source said."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.entities: list[Entity] = []
        self.skips: list[Skip] = []

    @property
    def reasons(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for skip in self.skips:
            counts[skip.reason] += skip.count
        return counts


def dump_config(path: str = "d.json.gz", **more: Any) -> DumpConfig:
    return DumpConfig(name="dump", path=path, **more)


def item(key: str = "Q1", value: str = "Q5", relation: str = "P31", **more: Any) -> dict[str, Any]:
    snak = {
        "snaktype": "value",
        "property": relation,
        "datavalue": {"value": {"entity-type": "item", "id": value}, "type": "wikibase-entityid"},
        "datatype": "wikibase-item",
    }
    statement = {"mainsnak": snak, "type": "statement", "id": f"{key}${value}", "rank": "normal"}
    return {
        "type": "item",
        "id": key,
        "labels": {"en": {"language": "en", "value": f"label of {key}"}},
        "claims": {relation: [statement]},
        **more,
    }


def items(number: int, **more: Any) -> list[bytes]:
    return [line_of(item(f"Q{n}", **more)) for n in range(1, number + 1)]


def spread(count: int) -> list[Any]:
    """Items with a statement each that points to another item of the dump."""
    (example,) = [e for e in recorded_entities() if e["id"] == "Q582"]
    statement = example["claims"]["P31"][0]
    made = []
    for n in range(1, count + 1):
        value = {"entity-type": "item", "id": f"Q{n % count + 1}"}
        snak = {
            **statement["mainsnak"],
            "datavalue": {"value": value, "type": "wikibase-entityid"},
        }
        claims = {"P31": [{**statement, "id": f"Q{n}$1", "mainsnak": snak}]} if n % 3 else {}
        label = {"en": {"language": "en", "value": f"thing {n}"}}
        modified = "2024-01-02T00:00:00Z" if n % 7 == 0 else "2023-01-01T00:00:00Z"
        item = {"type": "item", "id": f"Q{n}", "labels": label, "claims": claims}
        made.append({**item, "lastrevid": n, "modified": modified, "x": "x" * 3000})
    return made
