"""Tables as they should not be: every row that is not a fact is counted, and the others are
read."""

import csv
import io
import json
import struct
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from discovery_helpers import stated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_table import ROWS, read, write

from discovery.facts.fact import FACT_SCHEMA
from discovery.facts.tables import to_table
from infra.errors import ConfigError, CorrigendaError, SourceError

GOOD = {"subject": "Ada", "relation": "P54", "object": "Ajax"}
HEADER = "subject,relation,object\n"
HUGE = "x" * 10_000_000


def reasons(parsed):
    return Counter(skip.reason for skip in parsed.skips)


def test_a_row_in_another_encoding_does_not_cost_the_others(tmp_path):
    """Of a file in Windows-1252 the rows that are not UTF-8 too are counted; ASCII rows are read,
    and the sample is text that a table can hold."""
    text = HEADER + "Ada,P54,Ajax\nPelé,P54,Santos\nZoë,P54,Ajax\n"
    (tmp_path / "t.csv").write_bytes(text.encode("cp1252"))
    parsed = read(tmp_path / "t.csv")
    assert [fact.subject for fact in parsed.facts] == ["Ada"]
    assert reasons(parsed) == {"subject is not UTF-8 text": 2}
    assert "Pel" in parsed.skips[0].sample
    pa.array([skip.sample for skip in parsed.skips])


def test_a_header_in_another_encoding_is_named(tmp_path):
    """A column whose name is not UTF-8 cannot be found, and the message can be printed."""
    (tmp_path / "t.csv").write_bytes("sübject,relation,object\nA,B,C\n".encode("cp1252"))
    with pytest.raises(ConfigError, match="no column 'subject'") as caught:
        read(tmp_path / "t.csv")
    str(caught.value).encode()


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (HUGE, "object is longer than 10000 characters"),
        ("Aj\0ax", "object holds a NUL character"),
    ],
)
def test_cells_that_are_no_names(tmp_path, name, cell, reason):
    """A cell of ten megabytes or with a NUL costs its own row, in any format, and its sample is
    short."""
    write(tmp_path / name, [GOOD, {**GOOD, "object": cell}, {**GOOD, "object": "Betis"}])
    parsed = read(tmp_path / name)
    assert [fact.value for fact in stated(parsed.facts)] == ["Ajax", "Betis"]
    assert reasons(parsed) == {reason: 1}
    assert len(parsed.skips[0].sample) <= 200


def test_ragged_rows(tmp_path):
    """A row longer or shorter than the header is not guessed at; a blank line is no row."""
    text = HEADER + "Ada,P54,Ajax\n\nAda,P54\nAda,P54,Ajax,1998\nBob,P54,Betis\n"
    (tmp_path / "t.csv").write_text(text)
    parsed = read(tmp_path / "t.csv")
    assert [fact.subject for fact in parsed.facts] == ["Ada", "Bob"]
    assert reasons(parsed) == {
        "row has fewer cells than the header": 1,
        "row has more cells than the header": 1,
    }
    assert "line 4" in parsed.skips[0].sample


def test_quotes(tmp_path):
    """A cell may span lines inside quotes; a stray quote costs its row, one that is never closed
    everything behind it, which is said."""
    text = HEADER + 'Ada,P54,"Ajax\nAmsterdam"\n"A"da,P54,Ajax\nBob,P54,Betis\n"Eve,P54,Celtic\n'
    (tmp_path / "t.csv").write_text(text)
    parsed = read(tmp_path / "t.csv")
    assert [fact.value for fact in parsed.facts] == ["Ajax\nAmsterdam", "Betis"]
    assert len(parsed.skips) == 2
    assert all(skip.reason.startswith("row is not CSV") for skip in parsed.skips)


def test_the_limit_of_the_csv_module_is_left_as_it_was(tmp_path):
    """The standard library's limit on cells is one for the process: others find it unchanged."""
    before = csv.field_size_limit()
    write(tmp_path / "t.csv", [GOOD])
    read(tmp_path / "t.csv")
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_column_that_is_there_twice_is_refused(tmp_path, name):
    """Which of two columns of one name is meant is not guessed; others may repeat."""
    path = tmp_path / name

    def make(*header):
        if name == "t.csv":
            path.write_text(",".join(header) + "\nA,B,C,D\n")
        else:
            pq.write_table(pa.Table.from_arrays([pa.array(["x"])] * 4, names=list(header)), path)

    make("subject", "relation", "object", "object")
    with pytest.raises(ConfigError, match="'object' 2 times"):
        read(path)
    if name == "t.csv":
        path.write_text("subject,relation,object,note,note\nA,B,C,D,E\n")
        assert len(read(path).facts) == 1


def test_rows_that_are_nested(tmp_path):
    """JSON nested deeper than the parser goes, and cells that are lists or maps, cost their
    rows."""
    deep = '{"subject": ' + "[" * 100_000 + "]" * 100_000 + "}"
    rows = [GOOD, {**GOOD, "object": ["Ajax"]}, {**GOOD, "subject": {"id": 1}}]
    rows += [{**GOOD, "object": float("nan")}]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "t.jsonl").write_text("\n".join([*lines, deep, "9" * 5000]))
    parsed = read(tmp_path / "t.jsonl")
    assert len(stated(parsed.facts)) == 1
    assert reasons(parsed) == {
        "object is not text, a number or a date": 1,
        "subject is not text, a number or a date": 1,
        "object is not a finite number": 1,
        "row is nested too deeply": 1,
        "row is not JSON": 1,
    }


def test_a_lone_surrogate_is_no_text(tmp_path):
    """JSON can name half of a character, which no table can hold."""
    (tmp_path / "t.jsonl").write_text('{"subject":"\\ud800","relation":"P54","object":"Ajax"}')
    assert reasons(read(tmp_path / "t.jsonl")) == {"subject is not UTF-8 text": 1}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_parquet_file_cut_anywhere_is_one_line(tmp_path, data):
    """However short a Parquet file is cut, the answer is a SourceError in one line."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), buffer)
    whole = buffer.getvalue()
    cut = data.draw(st.integers(1, len(whole) - 1))
    (tmp_path / "t.parquet").write_bytes(whole[:cut])
    with pytest.raises(SourceError, match="is not parquet") as caught:
        read(tmp_path / "t.parquet")
    assert "\n" not in str(caught.value)


def test_a_parquet_file_with_a_broken_page_is_one_line(tmp_path):
    """A page that does not decompress is a SourceError too, though Arrow raises an OSError."""
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS * 50), path, compression="zstd", use_dictionary=False)
    content = bytearray(path.read_bytes())
    (footer,) = struct.unpack("<I", content[-8:-4])
    for place in range(40, len(content) - footer - 8):
        content[place] ^= 0xA5
    path.write_bytes(bytes(content))
    with pytest.raises(SourceError, match="is not parquet"):
        read(path)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(["t.csv", "t.jsonl"]), st.binary(max_size=300))
def test_any_bytes_are_facts_skips_or_one_line(tmp_path, name, noise):
    """Whatever stands between two good rows, the answer is facts and counted skips, or one clear
    error: never another exception, and what is kept can be written."""
    good = HEADER + "Ada,P54,Ajax\n" if name == "t.csv" else json.dumps(GOOD) + "\n"
    (tmp_path / name).write_bytes(good.encode() + noise)
    try:
        parsed = read(tmp_path / name)
    except CorrigendaError as error:
        assert "\n" not in str(error)
        return
    assert parsed.facts[0].subject == "Ada"
    pa.array([text for skip in parsed.skips for text in (skip.reason, skip.sample)], pa.string())
    pa.array([fact.value for fact in parsed.facts], pa.string())


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
@pytest.mark.parametrize("role", ["subject", "relation", "object_id", "date"])
def test_no_role_takes_ten_megabytes(tmp_path, name, role):
    """Whichever cell it is, it costs its own row."""
    rows = [{"object_id": "Q2", "date": "2015", **GOOD}] * 2
    write(tmp_path / name, [rows[0], {**rows[1], role: HUGE}])
    parsed = read(tmp_path / name)
    assert [(fact.subject, fact.value) for fact in stated(parsed.facts)] == [("Ada", "Q2")]
    assert reasons(parsed) == {f"{role} is longer than 10000 characters": 1}
    assert len(parsed.skips[0].sample) <= 200


def test_a_row_of_a_million_cells(tmp_path):
    """It is longer than the header, and its sample is short."""
    (tmp_path / "t.csv").write_text(HEADER + "Ada,P54,Ajax\n" + "x," * 1_000_000 + "\n")
    parsed = read(tmp_path / "t.csv")
    assert len(parsed.facts) == 1
    assert reasons(parsed) == {"row has more cells than the header": 1}
    assert len(parsed.skips[0].sample) <= 200


@pytest.mark.parametrize("depth", [20, 300])
def test_parquet_that_is_nested(tmp_path, depth):
    """A cell that is a list of lists costs its row; a schema deeper than the reader goes is one
    line."""
    deep = pa.array(["Ajax"])
    for _ in range(depth):
        deep = pa.ListArray.from_arrays([0, 1], deep)
    pq.write_table(pa.table({"subject": ["A"], "relation": ["B"], "object": deep}),
                   tmp_path / "t.parquet")  # fmt: skip
    if depth == 20:
        assert reasons(read(tmp_path / "t.parquet")) == {
            "object is not text, a number or a date": 1
        }
        return
    with pytest.raises(SourceError, match="nested") as caught:
        read(tmp_path / "t.parquet")
    assert "\n" not in str(caught.value)


def test_a_number_without_end(tmp_path):
    """An integer of four hundred digits costs its row."""
    rows = [GOOD, {**GOOD, "object": 10**400}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    parsed = read(tmp_path / "t.jsonl")
    assert [fact.value for fact in stated(parsed.facts)] == ["Ajax"] and len(parsed.skips) == 1


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
@pytest.mark.parametrize("role", ["date", "start", "end"])
def test_a_year_without_end(tmp_path, name, role):
    """A date of twenty digits costs its row: what is kept can be written."""
    write(tmp_path / name, [{**GOOD, role: "2015"}, {**GOOD, role: "-99999999999999999999"}])
    parsed = read(tmp_path / name)
    assert to_table(parsed.facts, FACT_SCHEMA).num_rows == 2
    assert len(stated(parsed.facts)) == 1 and len(parsed.skips) == 1
