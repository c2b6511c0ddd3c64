"""The questions about each kind of source.

A kind that is registered in `discovery.sources` has its line in `KINDS`, which a test requires.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from discovery.sources.web.items import is_web
from infra.errors import ConfigError
from jobs.starter.looks import connected, look_at_file, look_at_query, look_at_table
from jobs.starter.question import (
    Kind,
    Place,
    Question,
    Unset,
    a_contact,
    a_file,
    pairs,
    words,
    yes_or_no,
)


def addresses(text: str, place: Place) -> list[str]:
    """Addresses of the web. Raises ConfigError for one that is none."""
    found = words(text, place)
    for url in found:
        if not is_web(url):
            raise ConfigError(f"{url!r} is no http or https address.")
    return found


def properties(text: str, place: Place) -> Any:
    """`wikidata`, or the properties of a Wikibase. Raises ConfigError for text that is neither."""
    if text == "wikidata":
        return text
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError(
            f"properties {text!r} is neither `wikidata` nor a JSON object that says which property "
            'means what: {"start": "P5", ...}.'
        )
    return found


def _column(role: str, text: str, comment: str, optional: bool = True) -> Question:
    return Question(key=role, text=text, comment=comment, optional=optional, table="columns")


COLUMNS = (
    _column("subject", "Column of the subject", "whom or what a row is about", optional=False),
    _column(
        "relation",
        "Column of the relation",
        "what it says: Wikidata property ids such as P108 (employer)",
        optional=False,
    ),
    _column("object", "Column of the object", "the value, such as the employer", optional=False),
    _column("date", "Column of the day from which it is so", "from when on it is so"),
    _column("start", "Column of the day on which it began", "when it began"),
    _column("end", "Column of the day on which it ended", "when it ended; empty while it lasts"),
    _column("subject_id", "Column of the subject's id", "an id of the subject, if it has one"),
    _column("object_id", "Column of the object's id", "an id of the object, if it has one"),
)
"""The roles of a table's columns."""
CONTACT = Question(
    key="contact",
    text="Your e-mail address or URL, which is sent with every request",
    comment="Sent with every request, so that the site's operators can reach you. They ask for it.",
    read=a_contact,
)
RELATIONS = Question(
    key="relations",
    text="Relations to read, such as P6,P54 (empty for all)",
    comment="The relations that are read, by their ids. Without this line all are.",
    read=words,
    optional=True,
)
PROPERTIES = Question(
    key="properties",
    text="Of a copy of Wikidata elsewhere: wikidata. Of another Wikibase: its properties as JSON",
    comment="What the Wikibase's properties mean (docs/sources.md): `wikidata` for a copy of it.",
    read=properties,
    optional=True,
)
PATH = "File, relative to this config."
PAUSE = Unset("min_interval_s = 1.0", "Seconds between two requests to the site.")

KINDS: Mapping[str, Kind] = {
    "table": Kind(
        what="a CSV, JSON or Parquet file, a fact a row",
        questions=(
            Question(key="path", text="File of the table", comment=PATH, read=a_file),
            *COLUMNS,
        ),
        look_after="path",
        look=look_at_table,
    ),
    "sql": Kind(
        what="a query of a database",
        questions=(
            Question(
                key="connect",
                text="Database: sqlite:PATH, duckdb:PATH, or duckdb: for a query of files",
                comment="The database. For others see `module` in discovery/sources/tabular.",
                read=connected,
            ),
            Question(
                key="query",
                text="Query, one SELECT",
                comment="Gives the rows, a fact each. Nothing is ever written to the database.",
            ),
            Question(
                key="key",
                text="Column that is unique to a row",
                comment="Column that is unique to a row, by which a row that changes is known.",
            ),
            *COLUMNS,
        ),
        unset=(
            Unset(
                'cursor = "updated"',
                "Column that grows whenever a row is written: then only new rows are read.",
            ),
        ),
        look_after="query",
        look=look_at_query,
    ),
    "feed": Kind(
        what="RSS, Atom and HTML pages",
        questions=(
            Question(
                key="feeds",
                text="Addresses of RSS or Atom feeds",
                comment="RSS or Atom feeds.",
                read=addresses,
                optional=True,
            ),
            Question(
                key="pages",
                text="Addresses of HTML pages",
                comment="HTML pages.",
                read=addresses,
                optional=True,
            ),
            Question(
                key="relations",
                text="Relations to look for, such as P26,P108",
                comment="The relations that are looked for in the text, by their ids.",
                read=words,
            ),
            CONTACT,
        ),
        unset=(
            Unset("follow = true", "Read the pages that entries lead to, and not the feed alone."),
            PAUSE,
        ),
        one_of=("feeds", "pages"),
    ),
    "dump": Kind(
        what="a JSON dump of a Wikibase, such as Wikidata's",
        questions=(
            Question(key="path", text="File of the dump", comment=PATH, read=a_file),
            RELATIONS,
            PROPERTIES,
        ),
        unset=(
            Unset('entities = ["Q42"]', "Read the facts of these items alone."),
            Unset('names = "facts"', "Read the names of items with facts alone, which is faster."),
        ),
        look_after="path",
        look=look_at_file,
    ),
    "rdf": Kind(
        what="N-Triples or Turtle",
        questions=(
            Question(key="path", text="File of RDF", comment=PATH, read=a_file),
            Question(
                key="wikibase",
                text="Is it the RDF of a Wikibase, such as Wikidata's (yes or no)",
                comment="Whether it is a Wikibase's own RDF; if not, each triple is a fact.",
                read=yes_or_no,
            ),
            RELATIONS,
            Question(
                key="prefixes",
                text="Beginnings of IRIs and what is put in their place, IRI=SHORT",
                comment="Beginning of an IRI -> what is put in its place. A relation has questions "
                "only if it is called by its id, such as P108.",
                read=pairs,
                optional=True,
            ),
            PROPERTIES,
        ),
        look_after="path",
        look=look_at_file,
    ),
    "wikidata": Kind(
        what="Wikidata, or another Wikibase, over its API",
        questions=(
            Question(
                key="entities",
                text="Items to keep current, such as Q42,Q2112",
                comment="The items that are kept current.",
                read=words,
                optional=True,
            ),
            Question(
                key="query",
                text="SPARQL query that selects items, as ?item",
                comment="SPARQL that selects further items, by the variable ?item.",
                optional=True,
            ),
            RELATIONS,
            CONTACT,
            Question(
                key="endpoint",
                text="Site",
                comment="The site.",
                default="https://www.wikidata.org",
            ),
            PROPERTIES,
        ),
        unset=(
            Unset(
                'stream = "https://stream.wikimedia.org/v2/stream/recentchange"',
                "Hear of changes instead of comparing all items each time.",
            ),
            PAUSE,
        ),
        one_of=("entities", "query"),
    ),
}
"""Kind of source -> what is asked about it."""
