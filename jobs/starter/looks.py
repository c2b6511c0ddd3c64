"""Look at what a user names: which columns a table has, whether a file is packed, what is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from discovery.sources.tabular.database import Database
from discovery.sources.tabular.row_reader import REQUIRED
from discovery.sources.tabular.sql_config import one_query
from discovery.sources.tabular.table import TableConfig, TableSource
from infra.errors import ConfigError, DamageError
from infra.files.decompress import BZIP2, GZIP, ZSTD, decompress
from infra.secrets.scrubber import Scrubber
from infra.settings import validate
from jobs.starter.question import Answers, Look, Place

HEAD_PIECES = 4
"""Pieces of a file that are looked at."""
PACKINGS = {GZIP: "gzip", BZIP2: "bzip2", ZSTD: "Zstandard"}
NAMES: Mapping[str, Sequence[str]] = {
    "subject": ("subject", "person", "name", "who", "entity", "employee", "player", "member"),
    "relation": ("relation", "property", "predicate", "attribute", "relationship"),
    "object": (
        *("object", "value", "employer", "team", "club", "company", "organisation"),
        *("organization", "target", "new_value"),
    ),
    "start": ("start", "valid_from", "start_date", "from", "since", "begin", "begin_date"),
    "end": ("end", "valid_to", "valid_until", "end_date", "to", "until", "finish"),
    "date": ("date", "valid_from", "as_of", "day", "year", "since", "updated", "timestamp"),
    "key": ("id", "key", "row_id", "uuid", "rowid"),
}
"""Role -> names that columns of it often have."""


def look_at_table(answers: Answers, place: Place) -> Look:
    """The columns of a table, and which role each seems to have."""
    path = answers["path"]
    settings = {"kind": "table", "name": "table", "path": path}
    config = validate(TableConfig, settings, f"table {path}")
    columns = TableSource(config, place.here).columns()
    return _columns(columns, f"{path} has the columns {', '.join(columns)}.")


def look_at_query(answers: Answers, place: Place) -> Look:
    """The columns of a query's result. Raises ConfigError, SourceError."""
    try:
        query = one_query(answers["query"])
    except ValueError as error:
        raise ConfigError(f"{error}.") from None
    database = Database(
        source="sql",
        connect=connected(answers["connect"], place),
        module=None,
        arguments={},
        base_dir=place.config,
        scrubber=Scrubber(),
    )
    statement = f"SELECT * FROM (\n{query}\n) corrigenda_rows"
    with database.rows(statement, size=1) as (names, _):
        return _columns(names, f"The query gives the columns {', '.join(names)}.")


def connected(text: str, place: Place) -> str:
    """A database as it is written into the config. Raises ConfigError for another form."""
    kind, colon, path = text.partition(":")
    if kind not in ("duckdb", "sqlite") or not colon:
        raise ConfigError(f"connect {text!r}: write duckdb:PATH, sqlite:PATH or duckdb: alone.")
    if path and not (place.here / path).is_file():
        raise ConfigError(f"connect {text!r}: there is no file {path} here.")
    return f"{kind}:{place.written(path)}" if path else text


def look_at_file(answers: Answers, place: Place) -> Look:
    """Whether a file is packed, and whether it is a Wikibase's RDF."""
    path = place.here / Path(answers["path"]).expanduser()
    with path.open("rb") as stream:
        begin = stream.read(4)
    packing = next((name for magic, name in PACKINGS.items() if begin.startswith(magic)), None)
    try:
        head = b"".join(islice(decompress(path), HEAD_PIECES))
    except DamageError as error:
        raise ConfigError(f"{answers['path']} cannot be unpacked: {error}.") from None
    is_wikibase = b"wikiba.se/ontology" in head or b"/prop/statement/" in head
    size = path.stat().st_size
    how = f"packed with {packing}" if packing else "not packed"
    note = f"{answers['path']} is a file of {size:,} bytes, {how}."
    return Look((note,), {"wikibase": "yes" if is_wikibase else "no"})


def _columns(columns: Sequence[str], note: str) -> Look:
    """What is proposed for each role of a table's columns."""
    known = {name.lower(): name for name in columns}
    found = {
        role: next((known[name] for name in names if name in known), "")
        for role, names in NAMES.items()
    }
    if found["date"] == found["start"]:  # with an end it is a beginning, else a day
        found["date" if found["end"] else "start"] = ""
    notes = [note]
    lacking = [role for role in REQUIRED if not found[role]]
    if "relation" in lacking:
        notes.append(
            "No column looks like the relation (what the row says of the subject: a Wikidata "
            "property id such as P108, employer). Where there is none, add it by a query: kind "
            "sql, connect duckdb:, query \"SELECT *, 'P108' AS relation FROM 'FILE.csv'\"."
        )
    return Look(tuple(notes), {role: name for role, name in found.items() if name})
