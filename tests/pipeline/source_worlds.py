"""The same four people as every kind of source and format says them, in two editions.

In the first edition all four work for `OLD`. In the second one still does, one works for `NEW`, one
has left, and one is not mentioned any more. Each source has people of its own.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pyoxigraph as ox
from feed_site import Site, article, rss
from rdf_writer import Writer

from discovery.sources.rdf.triples import FORMATS as RDF_FORMATS
from infra.files.decompress import suffix_of

OLD, NEW = "Contoso Works", "Fabrikam Yards"
STAYS, CHANGES, ENDS, WITHDRAWN = "Ada", "Ben", "Cleo", "Dora"
"""First names, by what happens in the second edition; the last name is that of the source."""
RELATION = "P108"
ORGANISATIONS = {OLD: "Q900001", NEW: "Q900002"}


@dataclass(frozen=True)
class Row:
    """Who works for whom, and since when until when."""

    subject: str
    object: str
    start: date
    end: date | None = None


def rows(last: str, second: bool, *, ends: bool = True) -> list[Row]:
    """What a source says in one of the editions.

    ends  whether it can say that something has ended; if not, it says nothing of it any more
    """
    began = date(2015, 3, 1)

    def row(first: str, end: date | None = None, now: str = OLD) -> Row:
        return Row(f"{first} {last}", now, date(2021, 9, 1) if now == NEW else began, end)

    if not second:
        return [row(first) for first in (STAYS, CHANGES, ENDS, WITHDRAWN)]
    return [
        row(STAYS),
        *([row(CHANGES, date(2021, 9, 1)), row(ENDS, date(2021, 10, 1))] if ends else []),
        row(CHANGES, now=NEW),
    ]


@dataclass(frozen=True)
class Place:
    """Where a source is written."""

    folder: Path
    site: Site
    """A site on loopback."""
    last: str
    """Last name of the people, which is also the name of the source and of its file."""
    number: int
    """Number of the source."""

    def file(self, suffix: str) -> Path:
        """A file of the source."""
        return self.folder / f"{self.last}{suffix}"


Source = Callable[[Place, bool], str]
"""Writes the state of an edition, and returns the source's settings as TOML."""


def table(suffix: str, write: Callable[[Path, list[dict[str, Any]]], None]) -> Source:
    """A table in a file."""

    def put(place: Place, second: bool) -> str:
        found = [
            {"subject": r.subject, "relation": RELATION, "object": r.object, "start": r.start,
             "end": r.end, "wage": Decimal("12.50")}
            for r in rows(place.last, second)
        ]  # fmt: skip
        write(place.file(suffix), found)
        return f'kind = "table"\npath = "{place.file(suffix).name}"'

    return put


def json_lines(path: Path, found: list[dict[str, Any]]) -> None:
    """ISO dates as text, as pandas and Polars write them."""
    text = "".join(json.dumps(row, default=str) + "\n" for row in found)
    path.write_bytes(packed(path.name, text.encode()))


def json_array(path: Path, found: list[dict[str, Any]]) -> None:
    """All rows as one array, as `pandas.to_json` and web exports write them."""
    path.write_bytes(packed(path.name, json.dumps(found, default=str, indent=1).encode()))


def separated(by: str) -> Callable[[Path, list[dict[str, Any]]], None]:
    """Cells separated by a character; dates in ISO's basic form, as warehouses key them; open ends
    as `9999-12-31`."""

    def write(path: Path, found: list[dict[str, Any]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(found[0]), delimiter=by, lineterminator="\r\n")
        writer.writeheader()
        for row in found:
            end = f"{row['end']:%Y%m%d}" if row["end"] else "9999-12-31"
            writer.writerow({**row, "start": f"{row['start']:%Y%m%d}", "end": end})
        path.write_bytes(packed(path.name, text.getvalue().encode()))

    return write


def columns(path: Path, found: list[dict[str, Any]]) -> None:
    """Columns of dates, timestamps, decimals and a dictionary, as DuckDB and Spark write them."""
    schema = pa.schema(
        [
            ("subject", pa.large_string()),
            ("relation", pa.dictionary(pa.int32(), pa.string())),
            ("object", pa.string_view()),
            ("start", pa.date32()),
            ("end", pa.timestamp("us")),
            ("wage", pa.decimal128(9, 2)),
        ]
    )
    ends = [row["end"] and datetime.combine(row["end"], time()) for row in found]
    filled = [{**row, "end": end} for row, end in zip(found, ends, strict=True)]
    pq.write_table(pa.Table.from_pylist(filled, schema=schema), path)


def database(connect: str) -> Source:
    """A table of a database in a file, with the types of its driver."""

    def put(place: Place, second: bool) -> str:
        path = place.file(".db")
        path.unlink(missing_ok=True)
        found = [
            (n, r.subject, RELATION, r.object, r.start.isoformat(), r.end and r.end.isoformat())
            for n, r in enumerate(rows(place.last, second))
        ]
        create = "CREATE TABLE jobs (id INTEGER, subject TEXT, relation TEXT, object TEXT, " \
            '"start" DATE, "end" DATE)'  # fmt: skip
        opened = sqlite3.connect(path) if connect == "sqlite" else duckdb.connect(str(path))
        opened.execute(create)
        opened.executemany("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?)", found)
        opened.commit()
        opened.close()
        return f"""
kind = "sql"
connect = "{connect}:{path}"
key = "id"
query = "SELECT * FROM jobs"
"""

    return put


def item(key: str, label: str, jobs: list[Row]) -> dict[str, Any]:
    """An item in Wikibase's JSON."""

    def snak(prop: str, kind: str, value: Any, datatype: str) -> dict[str, Any]:
        return {"snaktype": "value", "property": prop, "datatype": datatype,
                "datavalue": {"type": kind, "value": value}}  # fmt: skip

    def when(prop: str, day: date) -> list[dict[str, Any]]:
        calendar = "http://www.wikidata.org/entity/Q1985727"
        value = {"time": f"+{day}T00:00:00Z", "precision": 11, "calendarmodel": calendar,
                 "timezone": 0, "before": 0, "after": 0}  # fmt: skip
        return [snak(prop, "time", value, "time")]

    statements = []
    for row in jobs:
        organisation = ORGANISATIONS[row.object]
        value = {"entity-type": "item", "numeric-id": int(organisation[1:]), "id": organisation}
        dates = {"P580": when("P580", row.start)}
        if row.end is not None:
            dates["P582"] = when("P582", row.end)
        statements.append(
            {
                "id": f"{key}${organisation}",
                "type": "statement",
                "rank": "normal",
                "mainsnak": snak(RELATION, "wikibase-entityid", value, "wikibase-item"),
                "qualifiers": dates,
                "qualifiers-order": list(dates),
            }
        )
    return {
        "type": "item",
        "id": key,
        "labels": {"en": {"language": "en", "value": label}},
        "aliases": {},
        "claims": {RELATION: statements} if statements else {},
        "sitelinks": {},
    }


def items(place: Place, second: bool) -> list[dict[str, Any]]:
    """The people of a source as items, with the organisations; who is withdrawn has no claim."""
    found = rows(place.last, second)
    people = [
        item(f"Q{place.number}{n}", f"{first} {place.last}",
             [row for row in found if row.subject == f"{first} {place.last}"])
        for n, first in enumerate((STAYS, CHANGES, ENDS, WITHDRAWN), 1)
    ]  # fmt: skip
    named = [item(key, label, []) for label, key in ORGANISATIONS.items()]
    moment = {"lastrevid": 2 if second else 1, "modified": moment_of(second)}
    return [{**found, **moment} for found in (*people, *named)]


def moment_of(second: bool) -> str:
    """When the state of an edition was written."""
    return "2021-11-01T00:00:00Z" if second else "2021-01-01T00:00:00Z"


def packed(name: str, content: bytes) -> bytes:
    """The content as the last suffix of a file's name says."""
    packing = {
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".zst": lambda content: pa.compress(content, "zstd", asbytes=True),
    }
    return packing.get(Path(name).suffix, bytes)(content)


def dump(suffix: str) -> Source:
    """A JSON dump of a Wikibase."""

    def put(place: Place, second: bool) -> str:
        lines = ",\n".join(json.dumps(found) for found in items(place, second))
        path = place.file(suffix)
        path.write_bytes(packed(path.name, f"[\n{lines}\n]\n".encode()))
        return f'kind = "dump"\npath = "{path.name}"\nrelations = ["{RELATION}"]'

    return put


def rdf(suffix: str, *, of_wikibase: bool) -> Source:
    """The RDF of a Wikibase, or of a vocabulary of one's own, which has no dates."""
    form = RDF_FORMATS[suffix_of(f"x{suffix}")]

    def put(place: Place, second: bool) -> str:
        path = place.file(suffix)
        if not of_wikibase:
            path.write_bytes(packed(path.name, written(triples(place, second).encode(), form)))
            prefixes = '{ "http://example.org/prop/" = "", "http://example.org/" = "ex:" }'
            return f'kind = "rdf"\npath = "{path.name}"\nprefixes = {prefixes}'
        writer = Writer()
        writer.declare(RELATION, "wikibase-item")
        for found in items(place, second):
            writer.entity(found)
        path.write_bytes(packed(path.name, written(writer.text(), form)))
        return f'kind = "rdf"\npath = "{path.name}"\nwikibase = true'

    return put


def written(lines: bytes, form: ox.RdfFormat) -> bytes:
    """N-Triples in another format, in the same order."""
    found = ox.parse(lines, format=ox.RdfFormat.N_TRIPLES)
    return cast(bytes, ox.serialize(found, format=form))


def triples(place: Place, second: bool) -> str:
    """N-Triples of a vocabulary of one's own."""
    label = "<http://www.w3.org/2000/01/rdf-schema#label>"
    lines = []

    def name(text: str) -> str:
        iri = f"<http://example.org/{text.replace(' ', '_')}>"
        lines.append(f'{iri} {label} "{text}"@en .')
        return iri

    for row in rows(place.last, second, ends=False):
        lines.append(
            f"{name(row.subject)} <http://example.org/prop/{RELATION}> {name(row.object)} ."
        )
    return "\n".join(lines) + "\n"


def wikibase(place: Place, second: bool) -> str:
    """A recording of a Wikibase's API, which holds the state of both editions."""
    folder = place.file("-recording")
    folder.mkdir(exist_ok=True)
    entities: dict[str, Any] = {}
    payloads: dict[str, Any] = {}
    for later in (False, True):
        for found in items(place, later):
            key, revision = found["id"], found["lastrevid"]
            file = f"{key}-{revision}.json"
            payloads[file] = found
            entities.setdefault(key, []).append(
                {"revision": revision, "timestamp": found["modified"], "file": file}
            )
    labels = {key: payloads[f"{key}-1.json"] for key in ORGANISATIONS.values()}
    for name, content in (("labels", labels), ("payloads", payloads)):
        (folder / f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(content).encode()))
    index = {"format": 1, "labels": "labels.json.gz", "payloads": "payloads.json.gz"}
    (folder / "index.json").write_text(json.dumps({**index, "entities": entities}))
    people = [f"Q{place.number}{n}" for n in range(1, 5)]
    return f"""
kind = "wikidata"
entities = {json.dumps(people)}
relations = ["{RELATION}"]
endpoint = "replay:{folder}"
contact = "ops@example.org"
"""


def feed(form: str) -> Source:
    """One article for each person in a feed, or a page; no sentence says that something ended."""

    def put(place: Place, second: bool) -> str:
        said = {row.subject: row.object for row in rows(place.last, second, ends=False)}
        people = [f"{first} {place.last}" for first in (STAYS, CHANGES, ENDS, WITHDRAWN)]
        texts = [
            f"{who} works for {said[who]}. Both are well." if who in said else "Nothing is known."
            for who in people
        ]
        path = f"/{place.last}"
        if form == "page":
            url = place.site.put(path, article(*texts), Content_Type="text/html")
        elif form == "rss":
            entries = [
                {"title": f"On {n}", "guid": str(n), "link": f"https://example.org/{n}",
                 "pubDate": "Mon, 04 Jan 2021 10:00:00 GMT", "description": text}
                for n, text in enumerate(texts)
            ]  # fmt: skip
            url = place.site.put(path, rss(*entries))
        else:
            entries = "".join(
                f"<a:entry><a:id>tag:example.org,2021:{n}</a:id><a:title>On {n}</a:title>"
                f"<a:updated>2021-0{1 + second}-04T10:00:00Z</a:updated>"
                f"<a:summary>{text}</a:summary></a:entry>"
                for n, text in enumerate(texts)
            )
            url = place.site.put(
                path,
                '<?xml version="1.0"?><a:feed xmlns:a="http://www.w3.org/2005/Atom">'
                f"<a:id>tag:example.org,2021:feed</a:id><a:title>t</a:title>{entries}</a:feed>",
            )
        return f"""
kind = "feed"
{"pages" if form == "page" else "feeds"} = ["{url}"]
relations = ["{RELATION}"]
contact = "ops@example.org"
min_interval_s = 0
"""

    return put
