"""Cells of every type that files and databases have, in a column that plays a part and beside."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from discovery_helpers import stated
from sql_helpers import crawled
from test_table import read

from discovery.crawl.stage import local_inputs
from discovery.facts.dates import iso_interval, to_iso
from discovery.sources.tabular.sql_config import SqlConfig
from discovery.sources.tabular.table import TableConfig

DAY = date(2015, 3, 1)
NOON = datetime(2015, 3, 1, 12)
BERLIN = datetime(2015, 3, 1, 0, 30, tzinfo=ZoneInfo("Europe/Berlin"))
KEY = UUID("12a9d0dc-e48d-4d4f-aa74-e6e808085692")
REFUSED = "object is not text, a number or a date"

ARROW = [
    (pa.string(), "Navy", "Navy"),
    (pa.large_string(), "Navy", "Navy"),
    (pa.string_view(), "Navy", "Navy"),
    (pa.dictionary(pa.int8(), pa.string()), "Navy", "Navy"),
    (pa.binary(), b"Navy", "Navy"),
    (pa.large_binary(), b"Navy", "Navy"),
    (pa.binary_view(), b"Navy", "Navy"),
    (pa.int8(), 7, "7"),
    (pa.uint64(), 2**64 - 1, "18446744073709551615"),
    (pa.float16(), 0.1, "0.1"),
    (pa.float16(), 7, "7"),
    (pa.float32(), 0.1, "0.1"),
    (pa.float32(), 2**23, "8388608"),
    (pa.float64(), 0.1, "0.1"),
    (pa.float64(), 2015, "2015"),
    (pa.float64(), -0.0, "0"),
    (pa.decimal128(9, 2), Decimal("1234.00"), "1234"),
    (pa.decimal256(60, 2), Decimal("1234.00"), "1234"),
    (pa.decimal128(9, 2), Decimal("1.50"), "1.50"),
    (pa.bool_(), True, "true"),
    (pa.date32(), DAY, "2015-03-01"),
    (pa.date64(), DAY, "2015-03-01"),
    *((pa.timestamp(unit), datetime(2015, 3, 1), "2015-03-01") for unit in ("s", "ms", "us", "ns")),
    (pa.timestamp("ns"), np.datetime64("2015-03-01T12:00:00.000000001"),
     "2015-03-01T12:00:00.000000001"),
    (pa.timestamp("us"), NOON, "2015-03-01T12:00:00"),
    (pa.timestamp("us", "UTC"), NOON, "2015-03-01T12:00:00+00:00"),
    (pa.timestamp("us", "Europe/Berlin"), BERLIN, "2015-03-01T00:30:00+01:00"),
    (pa.time32("s"), time(12), "12:00:00"),
    (pa.time64("ns"), time(12), "12:00:00"),
    (pa.uuid(), KEY.bytes, str(KEY)),
    (pa.json_(), "Navy", "Navy"),
]  # fmt: skip
"""Type, a value, and the text that it is."""
NO_ARROW = [
    (pa.duration("ms"), timedelta(1), REFUSED),
    (pa.binary(4), b"Navy", REFUSED),
    (pa.list_(pa.string()), ["Navy"], REFUSED),
    (pa.list_(pa.string(), 1), ["Navy"], REFUSED),
    (pa.map_(pa.string(), pa.int64()), [("Navy", 1)], REFUSED),
    (pa.struct([("name", pa.string())]), {"name": "Navy"}, REFUSED),
    (pa.binary(), b"\xe9", REFUSED),
    (pa.float64(), float("nan"), "object is not a finite number"),
    (pa.float64(), 2.0**53, "object is a floating-point number too large to be exact"),
    (pa.float64(), 1e20, "object is a floating-point number too large to be exact"),
    (pa.float32(), 2.0**24, "object is a floating-point number too large to be exact"),
    (pa.timestamp("us", "Mars/Olympus"), NOON, "object is a time in a zone that is unknown here"),
    (pa.null(), None, "row without object"),
]
"""Type, a value, and why it is refused."""


def table(path, kind, value, role):
    """A Parquet file of one row of which one column has the type."""
    cells = {"subject": "Ada", "relation": "P108", "object": "Navy", "beside": "x"}
    arrays = {name: pa.array([text]) for name, text in cells.items()}
    whole = {pa.float16(): np.float16, pa.float64(): float, pa.float32(): np.float32}
    if kind in whole and value is not None:
        value = whole[kind](value)
    pq.write_table(pa.table({**arrays, role: pa.array([value], kind)}), path)


@pytest.mark.parametrize(("kind", "value", "text"), ARROW, ids=str)
def test_a_cell_of_any_type_is_read(tmp_path, kind, value, text):
    """As object it is its text; its file is known by its bytes, whatever its columns are."""
    table(tmp_path / "t.parquet", kind, value, "object")
    parsed = read(tmp_path / "t.parquet")
    assert [fact.value for fact in parsed.facts] == [text] and not parsed.skips
    assert local_inputs([TableConfig(name="t", path="t.parquet")], tmp_path)


@pytest.mark.parametrize(("kind", "value", "reason"), NO_ARROW, ids=str)
def test_a_cell_that_is_no_value_costs_its_row(tmp_path, kind, value, reason):
    """It is counted with its reason, and the fact of that subject and relation is unreadable."""
    table(tmp_path / "t.parquet", kind, value, "object")
    parsed = read(tmp_path / "t.parquet")
    assert [skip.reason for skip in parsed.skips] == [reason]
    assert not parsed.skips[0].damage
    (fact,) = parsed.facts
    assert (fact.subject, fact.relation, fact.value) == ("Ada", "P108", "")
    assert fact.snaktype == "unreadable"


@pytest.mark.parametrize(("kind", "value", "_"), ARROW + NO_ARROW, ids=str)
def test_a_column_that_plays_no_part_does_not_matter(tmp_path, kind, value, _):
    """Whatever type it has."""
    table(tmp_path / "t.parquet", kind, value, "beside")
    parsed = read(tmp_path / "t.parquet")
    assert [fact.value for fact in parsed.facts] == ["Navy"] and not parsed.skips
    assert local_inputs([TableConfig(name="t", path="t.parquet")], tmp_path)


DATED = [
    (pa.date32(), DAY),
    (pa.date64(), DAY),
    (pa.timestamp("s"), NOON),
    (pa.timestamp("ns"), NOON),
    (pa.timestamp("us", "UTC"), NOON),
    (pa.timestamp("us", "Europe/Berlin"), BERLIN),
    (pa.timestamp("us", "+02:00"), NOON),
    (pa.int32(), 20150301),
    (pa.float64(), 20150301.0),
    (pa.decimal128(9, 0), Decimal(20150301)),
    (pa.string(), "2015-03-01"),
    (pa.binary(), b"2015-03-01"),
]


@pytest.mark.parametrize(("kind", "value"), DATED, ids=str)
@pytest.mark.parametrize("role", ["date", "start", "end"])
def test_a_date_of_any_type_is_the_same_date(tmp_path, kind, value, role):
    """Its day is that of its own clock, and the statement has one id whatever the type."""
    table(tmp_path / "t.parquet", kind, value, role)
    table(tmp_path / "u.parquet", pa.string(), "2015-03-01", role)
    ((fact,), (other,)) = (read(tmp_path / name).facts for name in ("t.parquet", "u.parquet"))
    dates = {"date": fact.point, "start": fact.start, "end": fact.end}
    assert {name: to_iso(day) for name, day in dates.items() if day} == {role: "2015-03-01"}
    assert fact == other


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.timestamp("us"), datetime(9999, 12, 31)),
        (pa.date32(), date(9999, 12, 31)),
        (pa.timestamp("us"), 2**63 - 1),  # DuckDB's infinity
        (pa.timestamp("us", "UTC"), 2**63 - 1),
        (pa.date32(), 2**31 - 1),
        (pa.float64(), float("nan")),
        (pa.timestamp("ns"), None),
        (pa.null(), None),
        (pa.int64(), 99991231),
        (pa.date32(), date(1, 1, 1)),
    ],
    ids=str,
)
def test_an_end_that_is_none_leaves_the_fact_open(tmp_path, kind, value):
    """In any type; with Spark's old times, too, which overflow in nanoseconds."""
    table(tmp_path / "t.parquet", kind, value, "end")
    (fact,) = read(tmp_path / "t.parquet").facts
    assert fact.end is None and fact.value == "Navy"


@pytest.mark.parametrize(
    ("kind", "value"),
    [(pa.timestamp("s"), 10**12), (pa.date32(), 2**30), (pa.bool_(), True), (pa.int64(), 10**9)],
    ids=str,
)
def test_an_end_that_is_no_date_does_not_leave_it_open(tmp_path, kind, value):
    """A time beyond the year 9999, a truth value, a count: the fact is unreadable, and counted."""
    table(tmp_path / "t.parquet", kind, value, "end")
    parsed = read(tmp_path / "t.parquet")
    assert len(parsed.skips) == 1 and parsed.facts[0].snaktype == "unreadable"


def test_the_times_of_spark(tmp_path):
    """INT96 times, of which the year 9999 is no other year."""
    ends = [datetime(9999, 12, 31), datetime(2015, 3, 1), None]
    rows = {"subject": ["a", "b", "c"], "relation": ["P1"] * 3, "object": ["x"] * 3}
    arrays = {**rows, "end": pa.array(ends, pa.timestamp("us"))}
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(arrays), path, use_deprecated_int96_timestamps=True)
    facts = read(path).facts
    assert [fact.end and to_iso(fact.end) for fact in facts] == [None, "2015-03-01", None]


def test_what_pandas_writes(tmp_path):
    """Index columns, categories, missing values of each kind, and nested columns beside."""
    frame = pd.DataFrame(
        {
            "subject_id": pd.array([7, None], "Int64"),
            "subject": pd.Categorical(["Ada", "Bob"]),
            "relation": ["P108", "P108"],
            "object": ["Navy", None],
            "start": pd.to_datetime(["2015-03-01", None]),
            "end": [float("nan"), None],
            "pay": [{"a": 1}, None],
        },
        index=["x", "y"],
    )
    frame.to_parquet(tmp_path / "t.parquet")
    parsed = read(tmp_path / "t.parquet")
    assert [(fact.subject, fact.value) for fact in parsed.facts] == [("7", "Navy"), ("Bob", "")]
    assert parsed.skips[0].reason == "row without object"


DUCKDB = [
    ("'Navy'", "Navy"),
    ("'Navy'::ENUM('Navy')", "Navy"),
    ("'Navy'::BLOB", "Navy"),
    ("7::UTINYINT", "7"),
    ("170141183460469231731687303715884105727::HUGEINT", "170141183460469231731687303715884105727"),
    ("0.1::FLOAT", "0.1"),
    ("2015::DOUBLE", "2015"),
    ("1234.00::DECIMAL(9,2)", "1234"),
    ("true", "true"),
    ("DATE '2015-03-01'", "2015-03-01"),
    ("TIMESTAMP '2015-03-01'", "2015-03-01"),
    ("TIMESTAMP_NS '2015-03-01 12:00:00'", "2015-03-01T12:00:00"),
    ("TIME '12:00:00'", "12:00:00"),
    (f"'{KEY}'::UUID", str(KEY)),
    ("INTERVAL 1 DAY", None),
    ("[1]", None),
    ("MAP {'a': 1}", None),
    ("{'a': 1}", None),
    ("1e20::DOUBLE", None),
    ("NULL", None),
]


@pytest.mark.parametrize(("cell", "text"), DUCKDB)
@pytest.mark.parametrize("role", ["object", "beside"])
def test_cells_of_duckdb(tmp_path, cell, text, role):
    """Each type of its driver is a text or costs its row; beside it does not matter."""
    cells = {"subject": "'Ada'", "relation": "'P108'", "object": "'Navy'", role: cell}
    columns = ", ".join(f"{value} AS {name}" for name, value in cells.items())
    settings = SqlConfig(name="d", connect="duckdb:", query=f"SELECT 1 AS id, {columns}", key="id")
    facts, skips, _, _ = crawled(settings, tmp_path)
    found = [fact.value for fact in stated(facts.values())]
    assert found == (["Navy"] if role == "beside" else [] if text is None else [text])
    assert len(skips) == (role == "object" and text is None) and len(facts) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (7.0, "7"), ("7.0", "7.0"), (0.1, "0.1"), (b"Navy", "Navy"), (b"\xe9", None),
     (2.0**60, None), (None, None), ("NULL", None)],
)  # fmt: skip
def test_cells_of_sqlite(tmp_path, value, text):
    """SQLite has types of cells, not of columns."""
    with closing(sqlite3.connect(tmp_path / "t.sqlite")) as connection:
        connection.execute("CREATE TABLE t (id, subject, relation, object)")
        connection.execute("INSERT INTO t VALUES (1, 'Ada', 'P108', ?)", [value])
        connection.commit()
    settings = SqlConfig(name="d", connect="sqlite:t.sqlite", query="SELECT * FROM t", key="id")
    facts, skips, _, _ = crawled(settings, tmp_path)
    assert [fact.value for fact in facts.values()] == [text or ""]
    assert len(skips) == (text is None)


@pytest.mark.parametrize(
    ("cell", "text"),
    [("7", "7"), ("7.0", "7"), ("7e0", "7"), ("0.5", "0.5"), ("true", "true"), ('"7.0"', "7.0"),
     ("1e20", None), ("NaN", None), ("null", None), ("[7]", None), ('{"a": 7}', None)],
)  # fmt: skip
def test_cells_of_json(tmp_path, cell, text):
    """JSON has numbers, text and truth values; what else it has costs its row."""
    row = {"subject": "Ada", "relation": "P108"}
    line = json.dumps(row)[:-1] + f', "object": {cell}, "beside": [{cell}]}}\n'
    (tmp_path / "t.jsonl").write_text(line)
    parsed = read(tmp_path / "t.jsonl")
    assert [fact.value for fact in parsed.facts] == [text or ""]
    assert len(parsed.skips) == (text is None)


def test_a_time_of_a_driver_with_a_zone_is_the_day_of_its_clock(tmp_path):
    """As that of a file; the clock is that of the connection."""
    noon = datetime(2015, 3, 1, 12, tzinfo=UTC)
    with closing(duckdb.connect(str(tmp_path / "t.duckdb"))) as connection:
        connection.execute("CREATE TABLE t (began TIMESTAMPTZ)")
        connection.execute("INSERT INTO t VALUES (?)", [noon])
        clock = connection.execute("SELECT began FROM t").fetchall()[0][0]
    query = "SELECT 1 AS id, 'Ada' AS subject, 'P108' AS relation, 'Navy' AS object, began AS start"
    settings = SqlConfig(name="d", connect="duckdb:t.duckdb", query=f"{query} FROM t", key="id")
    facts, skips, _, _ = crawled(settings, tmp_path)
    assert not skips
    assert [fact.start for fact in facts.values()] == [iso_interval(clock.date().isoformat())]
