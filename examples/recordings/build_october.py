"""Build `october/`: a month of a small Wikidata, out of real dated facts.

    python examples/recordings/build_october.py vdyknow_intervals.jsonl

The facts (who held which office of which country, from when to when) and their days are real. Built
are the ids (beyond those of Wikidata), the revisions in which they arrive, edits that change no
fact, vandalism and its reverts, a merge, a deletion, and the events of all these with the hourly
canaries. `october/SOURCES.md` says so too. The same input gives the same bytes.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
from collections import defaultdict
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "october"
BEGIN, END = datetime(2022, 10, 1, tzinfo=UTC), datetime(2022, 11, 1, tzinfo=UTC)
FIRST_SUBJECT, FIRST_OBJECT = 9_100_000_000, 9_200_000_000
NUM_SUBJECTS, NUM_NOISE = 36, 90
HEADS_OF_STATE = ("president", "monarch", "king", "emperor", "supreme leader")
GREGORIAN = "http://www.wikidata.org/entity/Q1985727"
USERS = ("Ada", "Bo", "Cyd", "DatesBot")


def relation_of(office: str) -> str | None:
    """Head of state (P35) or of government (P6), by the office's name."""
    words = office.lower()
    if words.startswith(HEADS_OF_STATE):
        return "P35"
    return "P6" if words.startswith(("prime minister", "federal chancellor", "premier")) else None


class World:
    """Entities as they are, and everything that was ever said of them."""

    def __init__(self) -> None:
        self.entities: dict[str, dict[str, Any]] = {}
        self.index: dict[str, Any] = {"format": 1, "labels": "labels.json.gz",
                                      "payloads": "payloads.json.gz", "events": "events.jsonl.gz",
                                      "entities": defaultdict(list), "redirects": {}, "deleted": {},
                                      "queries": {}}  # fmt: skip
        self.payloads: dict[str, Any] = {}
        self.events: list[tuple[datetime, dict[str, Any]]] = []
        self.revision = 1_700_000_000

    def save(self, key: str, at: datetime, user: str, comment: str | None) -> None:
        """The entity as it is now is its next revision; with a comment there is an event of it."""
        before, self.revision = self.revision, self.revision + random.randint(50, 5000)
        name, stamp = f"{key}@{self.revision}", text(at)
        entity = {**deepcopy(self.entities[key]), "lastrevid": self.revision, "modified": stamp}
        self.payloads[name] = entity
        self.index["entities"][key].append(
            {"revision": self.revision, "timestamp": stamp, "file": name, "user": user}
        )
        if comment is not None:
            self.tell(at, key, user, comment, revision={"old": before, "new": self.revision})

    def tell(self, at: datetime, title: str, user: str, comment: str, **more: Any) -> None:
        event = {"type": "edit", "namespace": 0, "title": title, "wiki": "wikidatawiki",
                 "comment": comment, "user": user, "timestamp": int(at.timestamp()),
                 "bot": user.endswith("Bot"), **more}  # fmt: skip
        self.events.append((at, event))


def text(at: datetime) -> str:
    return at.isoformat("T", "seconds").replace("+00:00", "Z")


def item(key: str) -> dict[str, Any]:
    value = {"entity-type": "item", "id": key, "numeric-id": int(key[1:])}
    return {"value": value, "type": "wikibase-entityid"}


def snak(name: str, datavalue: Any, datatype: str) -> dict[str, Any]:
    return {"snaktype": "value", "property": name, "datavalue": datavalue, "datatype": datatype}


def date_snak(name: str, day: str) -> dict[str, Any]:
    """A day as vdyknow has it: `+2022-10-22T00:00:00Z`, with `00` for an unknown month or day."""
    precision = 9 if day[6:8] == "00" else 10 if day[9:11] == "00" else 11
    value = {"time": day, "precision": precision, "calendarmodel": GREGORIAN, "timezone": 0,
             "before": 0, "after": 0}  # fmt: skip
    return snak(name, {"value": value, "type": "time"}, "time")


def statement(key: str, relation: str, holder: str, start: str | None, number: int) -> Any:
    made = {"id": f"{key}${number:08x}-0000-4000-8000-{int(holder[1:]):012x}", "rank": "normal",
            "type": "statement", "mainsnak": snak(relation, item(holder), "wikibase-item"),
            "qualifiers": {}, "references": []}  # fmt: skip
    if start:
        made["qualifiers"]["P580"] = [date_snak("P580", start)]
    for site in ("news.example.org", "gazette.example.com"):
        url = {"value": f"https://{site}/{key}/{holder}", "type": "string"}
        made["references"].append({"snaks": {"P854": [snak("P854", url, "url")]}})
    return made


def build(rows: list[dict[str, Any]]) -> World:
    world, offices = World(), defaultdict(list)
    for row in rows:
        relation = relation_of(row["relation"])
        if relation:
            offices[row["subject"]].append((relation, row))
    moved = {name for name, held in offices.items() if any(in_month(row) for _, row in held)}
    others = sorted(offices.keys() - moved)
    subjects = sorted(moved) + random.sample(others, NUM_SUBJECTS - len(moved))
    objects: dict[str, str] = {}
    keys = {name: f"Q{FIRST_SUBJECT + n}" for n, name in enumerate(sorted(subjects))}
    for name, key in keys.items():
        found(world, name, key, offices[name], objects)
    for name, key in keys.items():
        live(world, key, offices[name], objects)
    still = [keys[name] for name in sorted(subjects) if name not in moved]
    end_of_two(world, still[:3])
    noise(world, [key for key in keys.values() if key not in still[:3]])
    for hour in range(int((END - BEGIN).total_seconds()) // 3600):
        at = BEGIN + timedelta(hours=hour, minutes=30)
        world.events.append((at, {"canary": True}))
    world.index["queries"]["SELECT ?item WHERE { ?item wdt:P31 wd:Q6256 }"] = sorted(keys.values())
    world.labels = {key: labelled(key, name) for name, key in objects.items()}
    return world


def in_month(row: dict[str, Any]) -> bool:
    return any((row[end] or "")[1:8] == text(BEGIN)[:7] for end in ("start", "end"))


def labelled(key: str, name: str) -> dict[str, Any]:
    return {"type": "item", "id": key, "labels": {"en": {"language": "en", "value": name}}}


def found(world: World, name: str, key: str, held: list[Any], objects: dict[str, str]) -> None:
    """The entity as it stood before the month."""
    claims: dict[str, list[Any]] = {"P31": [statement(key, "P31", "Q6256", None, 0)]}
    for number, (relation, row) in enumerate(held, 1):
        holder = objects.setdefault(row["object"], f"Q{FIRST_OBJECT + len(objects)}")
        if (row["start"] or "+0")[1:11] >= text(BEGIN)[:10]:
            continue
        made = statement(key, relation, holder, row["start"], number)
        if row["end"] and row["end"][1:11] < text(BEGIN)[:10]:
            made["qualifiers"]["P582"] = [date_snak("P582", row["end"])]
        claims.setdefault(relation, []).append(made)
    links = {f"{code}wiki": {"site": f"{code}wiki", "title": name} for code in ("en", "de", "fr")}
    world.entities[key] = {**labelled(key, name), "aliases": {}, "claims": claims,
                           "sitelinks": links}  # fmt: skip
    world.save(key, BEGIN - timedelta(days=random.randint(2, 60)), random.choice(USERS), None)


def live(world: World, key: str, held: list[Any], objects: dict[str, str]) -> None:
    """What really happened to it in the month, each at noon of its day: an end, then a start."""
    month = text(BEGIN)[:7]
    days = sorted(
        (row[end], end, number)
        for number, (_, row) in enumerate(held, 1)
        for end in ("end", "start")
        if (row[end] or "")[1:8] == month
    )
    for day, end, number in days:
        relation, row = held[number - 1]
        holder, claims = (
            objects[row["object"]],
            world.entities[key]["claims"].setdefault(relation, []),
        )
        at = datetime.fromisoformat(day[1:]) + timedelta(hours=12, minutes=end == "start")
        if end == "start":
            claims.append(statement(key, relation, holder, day, number))
            comment = f"/* wbsetclaim-create:2||1 */ [[Property:{relation}]]: [[{holder}]]"
        else:
            (old,) = [made for made in claims if made["id"].startswith(f"{key}${number:08x}")]
            old["qualifiers"]["P582"] = [date_snak("P582", day)]
            comment = f"/* wbsetqualifier-add:1| */ [[Property:P582]]: {day[1:11]}"
        world.save(key, at, random.choice(USERS[:3]), comment)


def noise(world: World, keys: list[str]) -> None:
    """Edits that leave every fact as it was in the end, in the order of their times.

    A day's vandalism is taken back on the same day, at an hour when no other edit is made.
    """
    for n in range(NUM_NOISE):
        key, day = random.choice(keys), BEGIN + timedelta(days=n * 31 // NUM_NOISE)
        entity, at = world.entities[key], day + timedelta(minutes=random.randint(780, 1300))
        last = world.index["entities"][key][-1]["timestamp"]
        if last >= text(at):
            continue
        match n % 5:
            case 0:
                entity["sitelinks"][f"x{n}wiki"] = {"site": f"x{n}wiki", "title": "x"}
                world.save(key, at, "DatesBot", f"/* wbsetsitelink-add:1|x{n}wiki */ x")
            case 1:
                alias = {"language": "en", "value": f"alias {n}"}
                entity["aliases"].setdefault("en", []).append(alias)
                world.save(key, at, "Ada", f"/* wbsetaliases-add:1|en */ alias {n}")
            case 2:
                url = {"value": f"https://archive.example.net/{n}", "type": "string"}
                claim = random.choice(entity["claims"]["P31"])
                claim["references"].append({"snaks": {"P854": [snak("P854", url, "url")]}})
                world.save(key, at, "Bo", "/* wbsetreference-add:2| */ [[Property:P31]]")
            case 3:
                relation = random.choice(sorted(entity["claims"]))
                before = deepcopy(entity["claims"][relation])
                entity["claims"][relation] = []
                world.save(key, at, "192.0.2.1", "/* wbremoveclaims-remove:1| */ ")
                entity["claims"][relation] = before
                world.save(key, at + timedelta(minutes=9), "Cyd", "/* undo:0||1|192.0.2.1 */")
            case 4:
                world.tell(at, f"Talk:{key}", "Ada", "hello", namespace=1)
                world.tell(at, "Berlin", "Bo", "typo", wiki="dewiki")
                world.save(key, at, "Bo", "/* wbeditentity-update:0| */ nothing of note")


def end_of_two(world: World, keys: list[str]) -> None:
    """Of two entities nothing happened to, one is merged into another and one is deleted."""
    merged, target, deleted = keys
    at = BEGIN + timedelta(days=20, hours=23)
    before, world.revision = world.revision, world.revision + 1
    world.index["redirects"][merged] = {"to": target, "revision": world.revision,
                                        "timestamp": text(at), "user": "Ada"}  # fmt: skip
    world.tell(at, merged, "Ada", f"/* wbcreateredirect:0||{merged}|{target} */",
               revision={"old": before, "new": world.revision})  # fmt: skip
    at = BEGIN + timedelta(days=25, hours=23)
    world.index["deleted"][deleted] = text(at)
    world.tell(at, deleted, "Cyd", "content was a duplicate", type="log", log_type="delete")


def shaped(number: int, at: datetime, event: dict[str, Any]) -> dict[str, str]:
    """An event as EventStreams sends it: schema mediawiki/recentchange/1.0.0."""
    stamp, offset = int(at.timestamp() * 1000) + number % 1000, 5_600_000_000 + number
    topics = [{"topic": "eqiad.mediawiki.recentchange", "partition": 0, "timestamp": stamp},
              {"topic": "codfw.mediawiki.recentchange", "partition": 0, "offset": -1}]  # fmt: skip
    canary = event.pop("canary", False)
    meta = {"dt": text(at), "stream": "mediawiki.recentchange", "id": f"built-{number}",
            "topic": "eqiad.mediawiki.recentchange", "partition": 0, "offset": offset,
            "domain": "canary" if canary else "www.wikidata.org"}  # fmt: skip
    data = {"$schema": "/mediawiki/recentchange/1.0.0", "meta": meta, "id": number, **event}
    return {"id": json.dumps(topics, separators=(",", ":")),
            "data": json.dumps(data, separators=(",", ":"))}  # fmt: skip


def write(world: World) -> None:
    OUT.mkdir(exist_ok=True)
    ordered = sorted(world.events, key=lambda pair: pair[0])
    lines = [json.dumps(shaped(n, at, event)) for n, (at, event) in enumerate(ordered)]
    for name, content in (
        ("events.jsonl.gz", "\n".join(lines)),
        ("labels.json.gz", json.dumps(world.labels, sort_keys=True)),
        ("payloads.json.gz", json.dumps(world.payloads, sort_keys=True, separators=(",", ":"))),
    ):
        (OUT / name).write_bytes(gzip.compress(content.encode(), mtime=0))
    index = json.dumps(world.index, indent=1, sort_keys=True) + "\n"
    (OUT / "index.json").write_text(index, encoding="utf-8")


if __name__ == "__main__":
    random.seed(2022)
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    write(build([json.loads(line) for line in lines]))
