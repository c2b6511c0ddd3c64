"""One table, exported by different tools or twice by one: the same facts with the same ids."""

import csv
import io
import json
import sqlite3
from contextlib import closing
from decimal import Decimal

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from discovery_helpers import stated
from sql_helpers import crawled
from test_table import read, write

from discovery.sources.tabular.row_reader import REPEATED, WITHOUT_ID
from discovery.sources.tabular.sql_config import SqlConfig

ROWS = [
    {"subject_id": 1234, "subject": "Ada", "relation": "P108", "object_id": 9, "object": "Navy",
     "date": 20150301},
    {"subject_id": 77, "subject": "Bob", "relation": "P571", "object_id": 10, "object": "Army",
     "date": 2014},
]  # fmt: skip
NUMBERS = ("subject_id", "object_id", "date")


def stored(kind):
    """The rows with their numbers as one type."""
    return [{name: kind(cell) if name in NUMBERS else cell for name, cell in row.items()}
            for row in ROWS]  # fmt: skip


def cents(number):
    """A number as decimals of two places hold it."""
    return Decimal(number).quantize(Decimal("1.00"))


def said(facts):
    """What facts are, however they came."""
    return sorted((f.statement_id, f.subject, f.relation, f.value, f.point.earliest) for f in facts)


def with_a_gap(tmp_path, name):
    """The table with one more row without numbers, by pandas, which makes them floating point."""
    more = {"subject": "Eve", "relation": "P108", "object": "Navy"}
    frame = pd.DataFrame([*ROWS, more])
    assert str(frame["subject_id"].dtype) == "float64"
    path = tmp_path / name
    if name.endswith(".csv"):
        frame.to_csv(path, index=False)
    elif name.endswith(".parquet"):
        frame.to_parquet(path)
    elif name.endswith(".jsonl"):
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_json(path, orient="records")
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.jsonl", "t.json"])
def test_a_missing_id_changes_no_other(tmp_path, name):
    """pandas writes 1234.0 as soon as one id is missing; the facts of the others stay what they
    were, the row without is known by its name, and that is counted."""
    write(tmp_path / "before.jsonl", ROWS)
    before = read(tmp_path / "before.jsonl")
    after = read(with_a_gap(tmp_path, name))
    assert set(said(before.facts)) == set(said(f for f in after.facts if f.point))
    assert [(f.subject, f.value) for f in after.facts if not f.point] == [("Eve", "Navy")]
    assert [skip.reason for skip in after.skips] == [WITHOUT_ID] and not before.skips


@pytest.mark.parametrize("kind", [int, float, str, Decimal, cents])
def test_a_whole_number_is_one_id_in_every_format(tmp_path, kind):
    """As integer, floating point, decimal or text; in Parquet, JSON, CSV, SQLite and DuckDB."""
    rows = stored(kind)
    write(tmp_path / "base.jsonl", ROWS)
    expected = said(read(tmp_path / "base.jsonl").facts)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert said(read(tmp_path / "t.parquet").facts) == expected
    plain = [{n: c if isinstance(c, int | float) else str(c) for n, c in r.items()} for r in rows]
    write(tmp_path / "t.jsonl", plain)
    write(tmp_path / "t.csv", plain)
    (tmp_path / "t.json").write_text(json.dumps(plain, indent=1))
    for name in ("t.jsonl", "t.csv", "t.json"):
        assert said(read(tmp_path / name).facts) == expected
    names = list(ROWS[0])
    values = [[n, *row.values()] for n, row in enumerate(plain)]
    marks = ", ".join("?" * (len(names) + 1))
    with closing(sqlite3.connect(tmp_path / "t.sqlite")) as connection:
        connection.execute(f"CREATE TABLE t (id, {', '.join(names)})")
        connection.executemany(f"INSERT INTO t VALUES ({marks})", values)
        connection.commit()
    with closing(duckdb.connect(str(tmp_path / "t.duckdb"))) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS id, * FROM read_parquet(?)",
                           [str(tmp_path / "t.parquet")])  # fmt: skip
        connection.execute("UPDATE t SET id = rowid")
    found = []
    for place in ("sqlite:t.sqlite", "duckdb:t.duckdb"):
        settings = SqlConfig(name="t", connect=place, query="SELECT * FROM t", key="id")
        facts = crawled(settings, tmp_path)[0]
        found.append(said(facts.values()))
        assert {row[1:] for row in found[-1]} == {row[1:] for row in expected}
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("cell", "subject"),
    [
        ("1234", "1234"),
        ("1234.0", "1234"),
        ("1234.00", "1234"),
        ("-7.0", "-7"),
        ("007", "007"),
        ("007.0", "007.0"),
        ("1.5", "1.5"),
        ("1e10", "1e10"),  # digits of a hash
        ("NA", "NA"),  # Namibia
        ("9007199254740993.0", None),
        ("1.2345678901234568e+18", None),
        ("\\N", "Ada"),
        ("NULL", "Ada"),
        ("nan", "Ada"),
        ("None", "Ada"),
    ],
)
def test_ids_that_are_text(tmp_path, cell, subject):
    """Text stays as it is but for whole numbers that an export made floating point; one that lost
    its last digits names no one, so that facts of anyone may be lost; words for a missing id are
    none."""
    row = {"subject_id": cell, "subject": "Ada", "relation": "P108", "object": "Navy"}
    for name in ("t.csv", "t.jsonl", "t.parquet"):
        write(tmp_path / name, [row])
        parsed = read(tmp_path / name)
        assert [fact.subject for fact in parsed.facts] == ([subject] if subject else [])
        assert subject or parsed.skips[0].damage


def test_names_and_values_that_are_text_stay_as_they_are(tmp_path):
    """`3.0` is a version, not a number."""
    row = {"subject": "1234.0", "relation": "P348", "object": "3.0"}
    write(tmp_path / "t.csv", [row])
    (fact,) = read(tmp_path / "t.csv").facts
    assert (fact.subject, fact.value) == ("1234.0", "3.0")


@pytest.mark.parametrize("missing", ["NULL", "\\N", "<NA>", "NaT", "nan"])
def test_a_word_for_a_missing_value_is_none(tmp_path, missing):
    """It is no one's employer: the row says nothing that can be read."""
    write(tmp_path / "t.csv", [{"subject": "Ada", "relation": "P108", "object": missing}])
    parsed = read(tmp_path / "t.csv")
    assert not stated(parsed.facts) and len(parsed.facts) == 1
    assert [skip.reason for skip in parsed.skips] == ["row without object"]


def test_rows_that_differ_in_their_end_alone_are_told_apart(tmp_path):
    """Two times in one club: both are kept, in any order, and the one that still holds keeps the
    id that it has alone; equal rows are counted."""
    row = {"subject": "Ada", "relation": "P54", "object": "Ajax", "start": "", "end": ""}
    ended, long_ago = {**row, "end": "2012"}, {**row, "end": "2002"}
    found = []
    for rows in ([row], [row, ended, long_ago], [long_ago, row, ended, row]):
        write(tmp_path / "t.csv", rows)
        parsed = read(tmp_path / "t.csv")
        found.append({fact.statement_id: fact.end for fact in parsed.facts})
        assert [skip.reason for skip in parsed.skips] == [REPEATED] * (len(rows) == 4)
    assert found[1] == found[2] and len(found[1]) == 3
    assert found[0].items() <= found[1].items()


EXCEL = [dict.fromkeys(ROWS[0], ""), *ROWS]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("head", ["", "\ufeff", "sep="])
def test_csv_of_any_spreadsheet(tmp_path, delimiter, end, head):
    """Whatever stands between the cells and behind the lines, with a byte order mark, with the
    line by which Excel says the delimiter, spaces in the header, and rows without any cell."""
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=end)
    writer.writerow([f" {name} " for name in ROWS[0]])
    writer.writerows(row.values() for row in EXCEL)
    begin = f"sep={delimiter}{end}" if head == "sep=" else head
    (tmp_path / "t.csv").write_bytes((begin + stream.getvalue()).encode())
    write(tmp_path / "t.jsonl", ROWS)
    parsed = read(tmp_path / "t.csv")
    assert said(parsed.facts) == said(read(tmp_path / "t.jsonl").facts)
    assert [(skip.reason, skip.damage) for skip in parsed.skips] == [("row is empty", False)]
