"""Every row of a table is a fact or is counted with its reason; none vanishes."""

import sqlite3
from contextlib import closing
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from discovery_helpers import stated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sql_helpers import crawled
from test_table import read, write

from discovery.sources.tabular.row_reader import LATER, WITHOUT_ID
from discovery.sources.tabular.sql_config import SqlConfig

DATES = ["", "2012", "2012-05", "20120501", "2030", "2012-13-01", "1556668800", "0000-00-00"]
DATES += ["9999-12-31", "01/02/2012", "soon"]
CELLS = {
    "subject_id": st.sampled_from(["", "1", "1.0", "9007199254740993.0", "x" * 10_001]),
    "subject": st.sampled_from(["", "Ada", "Bob", "A\0da"]),
    "relation": st.sampled_from(["P54", "P108", ""]),
    "object": st.sampled_from(["", "Ajax", "Navy", "NULL", "A\0jax"]),
    "date": st.sampled_from(DATES),
    "start": st.sampled_from(DATES),
    "end": st.sampled_from(DATES),
}
ROWS = st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=12)
PROFILE = {
    "max_examples": 60,
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}


def check(rows, facts, skips):
    """The rows add up: those stated, and those counted; each unreadable fact is counted too."""
    counted = [skip for skip in skips if skip.reason != WITHOUT_ID]
    assert len(stated(facts)) + sum(skip.count for skip in counted) == len(rows)
    assert len(facts) - len(stated(facts)) <= len(counted)
    assert len({fact.statement_id for fact in facts}) == len(facts)
    for fact in facts:
        assert (fact.snaktype == "value") == bool(fact.value)
        assert fact.subject and fact.relation


@settings(**PROFILE)
@given(ROWS, st.sampled_from(["t.jsonl", "t.json", "t.csv", "t.parquet"]))
def test_rows_of_a_file_add_up(tmp_path, rows, name):
    """In any format: each row is one fact or one count, and repeated rows, rows of a later day and
    empty rows are counted as what they are."""
    if name == "t.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    else:
        write(tmp_path / name, rows)
    parsed = read(tmp_path / name)
    check(rows, parsed.facts, parsed.skips)


@settings(**{**PROFILE, "max_examples": 25})
@given(ROWS, st.booleans(), st.integers(1, 4))
def test_rows_of_a_database_add_up(tmp_path_factory, rows, cursor, page_rows):
    """With a cursor column and without, in pages of any size, with keys and cursors that are
    NULL."""
    base_dir = tmp_path_factory.mktemp("sql")
    names = list(CELLS)
    with closing(sqlite3.connect(base_dir / "t.sqlite")) as connection:
        connection.execute(f"CREATE TABLE t (id, written, {', '.join(names)})")
        marks = ", ".join("?" * (len(names) + 2))
        for n, row in enumerate(rows):
            written = None if n % 3 == 1 else n
            key = None if n % 4 == 3 else n
            connection.execute(f"INSERT INTO t VALUES ({marks})", [key, written, *row.values()])
        connection.commit()
    config = SqlConfig(
        name="t",
        connect="sqlite:t.sqlite",
        query="SELECT * FROM t",
        key="id",
        cursor="written" if cursor else None,
        page_rows=page_rows,
    )
    facts, skips, _, _ = crawled(config, base_dir, date(2016, 8, 31))
    counted = [skip for skip in skips if skip.reason != WITHOUT_ID]
    assert len(stated(facts.values())) + sum(skip.count for skip in counted) == len(rows)
    without_key = [skip for skip in skips if skip.reason == "row without key"]
    assert all(skip.damage for skip in without_key)


def test_a_row_is_counted_as_what_it_is(tmp_path):
    """Each kind of row by its own reason; those of unknown subjects mark the damage."""
    good = {"subject_id": "", "subject": "Ada", "relation": "P54", "object": "Ajax", "date": "2012"}
    rows = [
        good,
        dict(good),
        {**good, "date": "2030"},
        {**good, "object": ""},
        {**good, "date": "soon"},
        {**good, "subject": ""},
        {**good, "relation": ""},
        {**good, "subject_id": "9e+18"},
        dict.fromkeys(good, ""),
        {**good, "subject_id": "1", "subject": ""},
    ]
    write(tmp_path / "t.csv", rows)
    parsed = read(tmp_path / "t.csv")
    assert [(skip.reason, skip.damage) for skip in parsed.skips] == [
        ("row says what another one says", False),
        (LATER, False),
        ("row without object", False),
        ("date is not an ISO date or a year", False),
        ("row without subject", True),
        ("row without relation", True),
        ("subject_id is a floating-point number too large to be exact", True),
        ("row is empty", False),
        ("row without subject", False),
        *[(WITHOUT_ID, False)] * 3,
    ]
    kinds = [(fact.subject, fact.snaktype) for fact in parsed.facts]
    assert kinds == [("Ada", "value"), *[("Ada", "unreadable")] * 2, ("1", "unreadable")]


def test_what_can_be_read_of_an_unreadable_fact_is_kept(tmp_path):
    """Its subject, relation and dates, and the id that it has when all can be read."""
    row = {"subject": "Ada", "relation": "P54", "object": "Ajax", "start": "2012", "end": "2013"}
    found = []
    for end in ("2013", "soon"):
        write(tmp_path / "t.csv", [{**row, "end": end}])
        found += read(tmp_path / "t.csv").facts
    good, unreadable = found
    assert unreadable.statement_id == good.statement_id
    assert (unreadable.start, unreadable.end, good.end is None) == (good.start, None, False)
    assert (unreadable.value, unreadable.value_type) == ("", "other")


@pytest.mark.parametrize("cursor", [None, "written"])
def test_a_row_of_a_database_that_is_mended_takes_the_place_of_the_unreadable_one(tmp_path, cursor):
    """Its key is its id, so that the group is decided again as soon as the row can be read, also
    where the row had no cursor."""
    config = SqlConfig(
        name="t", connect="sqlite:t.sqlite", query="SELECT * FROM t", key="id", cursor=cursor
    )
    found = []
    with closing(sqlite3.connect(tmp_path / "t.sqlite")) as connection:
        connection.execute("CREATE TABLE t (id, written, subject, relation, object, end)")
        connection.execute("INSERT INTO t VALUES (7, NULL, 'Ada', 'P54', 'Ajax', 'soon')")
        connection.commit()
        found.append(crawled(config, tmp_path))
        connection.execute("UPDATE t SET end = '2013', written = 5")
        connection.commit()
        found.append(crawled(config, tmp_path))
    (before, skips, _, _), (after, none, _, _) = found
    assert before.keys() == after.keys() and len(skips) == 1 and not none
    assert [fact.snaktype for fact in before.values()] == ["unreadable"]
    assert [fact.snaktype for fact in after.values()] == ["value"]
