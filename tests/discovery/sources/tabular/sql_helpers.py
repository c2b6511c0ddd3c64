"""Databases in one line, and what a crawl of them finds."""

import json
import sqlite3
from contextlib import closing
from datetime import date

import duckdb

from discovery.sources import make_source
from discovery.sources.observation import Since
from discovery.sources.tabular.sql_config import SqlConfig

NEW = date(2023, 6, 30)
QUERY = (
    "SELECT id, who AS subject, what AS relation, whom AS object, began AS start, written FROM job"
)
ROWS = [
    (1, "Ada", "P108", "Navy", "2015", "2016-01-01 10:00:00"),
    (2, "Bob", "P108", "Apple", "2016-03", "2016-02-01 00:00:00"),
    (3, "Eve", "P54", "Ajax", "2018-01-01", "2017-12-31 23:59:59"),
    (4, "Kim", "P54", "Betis", "2030", "2018-01-01 00:00:00"),
]


def make(path, rows=ROWS):
    """A database of jobs, in the format of its suffix."""
    kind = "TIMESTAMP" if path.suffix == ".duckdb" else "TEXT"
    module = duckdb if path.suffix == ".duckdb" else sqlite3
    with closing(module.connect(str(path))) as connection:
        connection.execute(
            "CREATE TABLE job (id INTEGER, who TEXT, what TEXT, whom TEXT, began TEXT, "
            f"written {kind})"
        )
        connection.executemany("INSERT INTO job VALUES (?,?,?,?,?,?)", rows)
        connection.commit()
    return path


def change(path, statement, *values):
    module = duckdb if path.suffix == ".duckdb" else sqlite3
    with closing(module.connect(str(path))) as connection:
        connection.execute(statement, values)
        connection.commit()


def config(path, **settings):
    kind = "duckdb" if path.suffix == ".duckdb" else "sqlite"
    settings = {"connect": f"{kind}:{path.name}", "query": QUERY, "key": "id", **settings}
    return SqlConfig(name="hr", **settings)


def crawled(config, base_dir, as_of=NEW, cursor=None):
    """Facts by statement, skips, observations and the next cursor of a crawl of one source."""
    source = make_source(config.filled("source hr"), base_dir)
    signals = []
    while not signals or not signals[-1].done:
        signal = source.listen(as_of, signals[-1].cursor if signals else cursor, None)
        if signal is None:
            signals = None
            break
        signals.append(signal)
    if signals is not None:
        json.dumps([signal.cursor for signal in signals])
    parts = source.partitions(as_of, Since(cursor=cursor), signals)
    observations = [o for part in parts for o in source.fetch(part, None)]
    parsed = [source.parse(o) for o in observations]
    facts = {fact.statement_id: fact for p in parsed for fact in p.facts}
    skips = [skip for p in parsed for skip in p.skips]
    return facts, skips, observations, signals[-1].cursor if signals else None
