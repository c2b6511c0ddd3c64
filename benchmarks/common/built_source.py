"""Large dumps and RDF files, built of the statements recorded in examples/recordings/october.

An item is a country there, with an id and a number of its own: one statement of the head of its
government and one of its head of state, drawn from those recorded, with their references. In the
second edition a share of the items has another head of government, since a day between the two.
A file is written item by item, and depends on the number of items and the edition alone.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RECORDING = Path(__file__).parents[2] / "examples" / "recordings" / "october"
"""Directory of the recording (its SOURCES.md says what in it is real)."""
RELATIONS = ("P6", "P35")
"""Head of government and head of state: the relations that an item has statements of."""
DAYS = ("2022-08-31", "2022-10-31")
"""Days of the two editions."""
MOVED = "+2022-10-01T00:00:00Z"
"""Day on which the heads of government change, as Wikibase writes it."""
SHARE = 0.01
"""Share of the items that change between the editions."""
SUFFIXES = {"dump": ".json.gz", "rdf": ".nt.gz"}
"""Kind of source -> ending of its file."""
FIRST_ID = 100_000_000
"""Number of the id of the first item, beyond those recorded."""
DAY_CHARS = slice(1, 11)
"""Where the day stands in a time of Wikibase."""


def write_source(path: Path, kind: str, num: int, edition: int) -> int:
    """Write the source with `num` items and the persons that they name; the number of items that
    differ from those of edition 0.

    kind     `dump`, or `rdf`: truthy N-Triples of a Wikibase
    edition  0 or 1
    """
    changed = 0
    with gzip.open(path, "wb", compresslevel=1) as out:
        before = b"[\n" if kind == "dump" else b""
        for item, is_changed in _items(num, edition):
            changed += is_changed
            text = json.dumps(item, separators=(",", ":")) if kind == "dump" else _triples(item)
            out.write(before + text.encode())
            before = b",\n" if kind == "dump" else b""
        out.write(b"\n]\n" if kind == "dump" else b"")
    return changed


def _items(num: int, edition: int) -> Iterator[tuple[dict[str, Any], bool]]:
    """Each person, then each country, with whether it is another than in edition 0."""
    labels = json.loads(gzip.decompress((RECORDING / "labels.json.gz").read_bytes()))
    for key, person in sorted(labels.items()):
        about = {"claims": {}, "lastrevid": 1, "modified": "2020-01-01T00:00:00Z"}
        yield {**person, "id": key, **about}, False
    payloads = json.loads(gzip.decompress((RECORDING / "payloads.json.gz").read_bytes()))
    names = sorted({entity["labels"]["en"]["value"] for entity in payloads.values()})
    pools = {relation: _pool(payloads, relation) for relation in RELATIONS}
    for n in range(num):
        rng = random.Random(n)
        key, changes = f"Q{FIRST_ID + n}", rng.random() < SHARE and edition > 0
        claims = {
            relation: [_renamed(rng.choice(pool), key, number)]
            for number, (relation, pool) in enumerate(pools.items())
        }
        if changes:
            claims["P6"] += [_successor(rng, claims["P6"][0], pools["P6"], key)]
        yield (
            {
                "type": "item",
                "id": key,
                "labels": {"en": {"language": "en", "value": f"{names[n % len(names)]} {n}"}},
                "claims": claims,
                "sitelinks": {f"w{k}": {} for k in range(rng.randrange(1, 40))},
                "lastrevid": 2 + changes,
                "modified": "2022-10-10T00:00:00Z" if changes else "2022-01-01T00:00:00Z",
            },
            changes,
        )


def _pool(payloads: Any, relation: str) -> list[Any]:
    """The recorded statements of a relation that began before the first edition, as they were
    before they ended; each statement once."""
    found = {}
    for _, entity in sorted(payloads.items()):
        for statement in entity["claims"].get(relation, ()):
            starts = statement["qualifiers"].get("P580", ())
            if len(starts) == 1 and _time(starts[0])[DAY_CHARS] < DAYS[0]:
                found[statement["id"]] = {**statement, "qualifiers": {"P580": starts}}
    return [{**found[key], "rank": "normal"} for key in sorted(found)]


def _renamed(statement: Any, key: str, number: int) -> Any:
    """A recorded statement as one of the item `key`, with an id and references of its own."""
    text = json.dumps(statement).replace(statement["id"].partition("$")[0], key)
    return {**json.loads(text), "id": f"{key}${number}"}


def _successor(rng: random.Random, before: Any, pool: list[Any], key: str) -> Any:
    """A statement of another person since the day `MOVED`, on which the one before ends."""
    (start,) = before["qualifiers"]["P580"]
    moved = json.loads(json.dumps(start).replace(_time(start), MOVED))
    before["qualifiers"]["P582"] = [{**moved, "property": "P582"}]
    others = [s for s in pool if _value(s) != _value(before)]
    return {**_renamed(rng.choice(others), key, 2), "qualifiers": {"P580": [moved]}}


def _triples(item: dict[str, Any]) -> str:
    """The label of an item and its current statements, as truthy N-Triples."""
    entity = "http://www.wikidata.org/entity/"
    about = f"<{entity}{item['id']}>"
    label = json.dumps(item["labels"]["en"]["value"])
    lines = [f"{about} <http://www.w3.org/2000/01/rdf-schema#label> {label}@en .\n"]
    for relation, statements in item["claims"].items():
        for statement in statements:
            if "P582" not in statement["qualifiers"]:
                direct = f"<http://www.wikidata.org/prop/direct/{relation}>"
                lines.append(f"{about} {direct} <{entity}{_value(statement)}> .\n")
    return "".join(lines)


def _value(statement: Any) -> str:
    """Id of the entity that a statement names."""
    return statement["mainsnak"]["datavalue"]["value"]["id"]


def _time(snak: Any) -> str:
    """The time in a qualifier."""
    return snak["datavalue"]["value"]["time"]
