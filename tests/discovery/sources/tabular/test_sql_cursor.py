"""A database with a cursor column: what was written since, and nothing twice or never."""

import json
import sqlite3
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal

import duckdb
import pytest
from discovery_helpers import make_crawl, put_snapshot, stated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sql_helpers import NEW, change, config, crawled, make
from test_stages import run_snapshot

from discovery.facts.dates import iso_interval
from discovery.facts.fact import FACT_SCHEMA, Fact
from discovery.facts.tables import from_table, to_table
from discovery.snapshot.output import bucket_file
from discovery.sources import make_source
from discovery.sources.tabular.sql_config import SqlConfig


@pytest.fixture(params=["hr.sqlite", "hr.duckdb"])
def path(request, tmp_path):
    return make(tmp_path / request.param)


def test_slices_are_up_to_the_end_of_the_day(path, tmp_path):
    """Rows written after the day are not read; those written by then are, whatever the dates in
    them say: what is due later is for the diff."""
    facts, _, _, cursor = crawled(config(path, cursor="written"), tmp_path, date(2017, 12, 31))
    assert {fact.subject for fact in facts.values()} == {"Ada", "Bob", "Eve"}
    assert next(f.start for f in facts.values() if f.subject == "Eve") == iso_interval("2018-01-01")
    more, _, _, _ = crawled(config(path, cursor="written"), tmp_path, NEW, cursor)
    assert {fact.subject for fact in more.values()} == {"Kim"}
    assert crawled(config(path, cursor="written"), tmp_path, NEW, cursor)[0] == more


def test_a_row_written_again_takes_the_place_of_what_it_was(path, tmp_path):
    """An update moves the row beyond the cursor and keeps its statement's id."""
    settings = config(path, cursor="written")
    before, _, _, cursor = crawled(settings, tmp_path, NEW)
    change(path, "UPDATE job SET whom = 'IBM', written = '2020-05-05 00:00:00' WHERE id = 1")
    after, _, _, _ = crawled(settings, tmp_path, NEW, cursor)
    ((key, fact),) = after.items()
    assert fact.value == "IBM" and before[key].value == "Navy"
    assert {**before, **after} == crawled(settings, tmp_path, NEW)[0]


def test_rows_without_a_cursor_are_counted(path, tmp_path):
    """A row whose cursor is NULL belongs to no slice, and is not lost silently."""
    change(path, "UPDATE job SET written = NULL WHERE id < 3")
    facts, skips, _, _ = crawled(config(path, cursor="written", page_rows=1), tmp_path)
    assert len(stated(facts.values())) == 2
    assert [skip.reason for skip in skips] == ["row without cursor"] * 2


@pytest.mark.parametrize(
    "values",
    [
        [Decimal("1.5"), Decimal("2.25"), Decimal("10.125")],
        [date(2016, 1, 1), date(2017, 1, 1), date(2018, 1, 1)],
        [datetime(2016, 1, 1, 1, 2, 3, 456789), datetime(2016, 1, 2), datetime(2017, 1, 1)],
        [7, 8, 2**62],
        [0.1, 0.2, 0.30000000000000004],
    ],
    ids=["decimal", "date", "timestamp", "integer", "float"],
)
def test_a_cursor_survives_json(tmp_path, values):
    """Each kind of column is gone on from exactly where it was left: nothing twice, nothing
    lost."""
    kinds = {Decimal: "DECIMAL(18,3)", date: "DATE", datetime: "TIMESTAMP", int: "BIGINT"}
    kind = kinds.get(type(values[0]), "DOUBLE")
    with closing(duckdb.connect(str(tmp_path / "c.duckdb"))) as connection:
        connection.execute(f"CREATE TABLE t (id INTEGER, written {kind})")
        connection.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(values)))
    query = "SELECT id, written, 's' AS subject, 'r' AS relation, id AS object FROM t"
    settings = SqlConfig(
        name="d", connect="duckdb:c.duckdb", query=query, key="id", cursor="written", page_rows=1
    )
    source = make_source(settings, tmp_path)
    cursor, seen = None, []
    for _ in values:
        with closing(duckdb.connect(str(tmp_path / "c.duckdb"))) as connection:
            connection.execute(
                f"CREATE OR REPLACE VIEW v AS SELECT * FROM t WHERE id <= {len(seen)}"
            )
        part = settings.model_copy(update={"query": query.replace("FROM t", "FROM v")})
        facts, _, _, cursor = crawled(part, tmp_path, NEW, json.loads(json.dumps(cursor)))
        seen.append(sorted(fact.value for fact in facts.values()))
    assert seen == [[str(n)] for n in range(len(values))]
    last = source.listen(NEW, cursor, None)
    assert last is not None and last.subjects == ()


writes = st.lists(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from("abc")), max_size=8), max_size=4
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(writes, st.integers(1, 3))
def test_incremental_crawls_find_what_one_full_crawl_finds(tmp_path_factory, batches, page_rows):
    """Insertions and updates in any order, many at one time, with a crawl after each batch: the
    statements put on top of one another are those of one crawl at the end, in slices of any
    size."""
    base_dir = tmp_path_factory.mktemp("sql")
    path = make(base_dir / "hr.sqlite", [])
    settings = config(path, cursor="written", page_rows=page_rows)
    union, cursor = {}, None
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE UNIQUE INDEX job_id ON job (id)")
        for n, batch in enumerate(batches):
            for key, name in batch:
                row = (key, f"s{key}", "P54", name, None, f"2016-01-{n + 1:02d}")
                connection.execute("INSERT OR REPLACE INTO job VALUES (?,?,?,?,?,?)", row)
            connection.commit()
            facts, _, _, cursor = crawled(settings, base_dir, NEW, cursor)
            union |= facts
    assert union == crawled(settings, base_dir)[0]


def test_a_snapshot_made_in_two_steps_is_the_one_made_in_one(path, tmp_path, workspace, runner):
    """Through the stages: a crawl from the cursor put on the snapshot before has the digest of a
    snapshot made at once, with a row changed in between, and one that moved to another subject."""
    sources = (config(path, cursor="written"),)
    options = {"sources": sources, "base_dir": tmp_path}
    first = run_snapshot(workspace, runner, date(2016, 12, 31), **options)
    assert first.json("manifest.json")["rows"]["facts"] == 2
    change(path, "UPDATE job SET who = 'Eva', written = '2019-05-05 00:00:00' WHERE id = 1")
    on = {"version": "on", "previous": first}
    crawl_on = make_crawl(workspace, runner, sources, NEW, base_dir=tmp_path, **on)
    assert crawl_on.json("crawl.json")["sources"]["hr"]["coverage"] == "statement"
    steps = put_snapshot(workspace, runner, crawl_on, sources, NEW, **on)
    whole = run_snapshot(workspace, runner, NEW, version="whole", **options)
    assert facts_of(steps) == facts_of(whole)
    assert {fact.subject for fact in facts_of(whole)} == {"Bob", "Eva", "Eve", "Kim"}
    assert steps.json("manifest.json")["snapshot_id"] == whole.json("manifest.json")["snapshot_id"]


def facts_of(artifact):
    buckets = range(artifact.json("manifest.json")["num_buckets"])
    return [f for n in buckets for f in from_table(artifact.table(bucket_file("facts", n)), Fact)]


# What is refused


@pytest.mark.parametrize("year", ["-99999999999999999999", "99999999999999999999"])
def test_a_year_without_end(path, tmp_path, year):
    """A date of twenty digits costs its row: what is kept can be written."""
    change(path, "UPDATE job SET began = ? WHERE id = 2", year)
    facts, skips, _, _ = crawled(config(path, cursor="written"), tmp_path, NEW)
    assert to_table(list(facts.values()), FACT_SCHEMA).num_rows == 4
    assert len(stated(facts.values())) == 3 and len(skips) == 1
