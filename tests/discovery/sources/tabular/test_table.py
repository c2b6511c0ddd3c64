"""Tables of dated facts in three formats."""

import csv
import json
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from discovery_helpers import stated
from pydantic import ValidationError

from discovery.facts.dates import iso_interval
from discovery.sources import make_source
from discovery.sources.observation import Since
from discovery.sources.tabular.table import TableConfig
from infra.errors import ConfigError, SourceError

ROWS = [
    {"subject_id": "Q1", "subject": "Ada", "relation": "P54", "object_id": "Q2", "object": "Ajax",
     "date": "2015"},
    {"subject_id": "Q1", "subject": "Ada", "relation": "P54", "object_id": "Q3", "object": "Betis",
     "date": "2016"},
    {"subject_id": "Q1", "subject": "Ada", "relation": "P54", "object_id": "Q4", "object": "Celtic",
     "date": "2016-08-31"},
]  # fmt: skip


def write(path, rows):
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def read(path, as_of=date(2016, 8, 31), **config):
    source = make_source(TableConfig(name="t", path=path.name, **config), path.parent)
    (partition,) = source.partitions(as_of, Since(), None)
    (observation,) = source.fetch(partition, None)
    return source.parse(observation)


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.parquet"])
def test_formats_say_the_same(tmp_path, name):
    """The same rows in any format are the same facts, known by the last day their date may mean."""
    write(tmp_path / name, ROWS)
    parsed = read(tmp_path / name)
    assert [(f.value, f.point) for f in parsed.facts] == [
        ("Q2", iso_interval("2015")),
        ("Q4", iso_interval("2016-08-31")),
    ]
    assert {e.id: e.label for e in parsed.entities} == {"Q1": "Ada", "Q2": "Ajax", "Q4": "Celtic"}
    later = read(tmp_path / name, date(2016, 12, 31))
    assert [f.value for f in later.facts] == ["Q2", "Q3", "Q4"]
    assert {f.statement_id for f in parsed.facts} < {f.statement_id for f in later.facts}


def test_end_dates_are_not_known_before_they_come(tmp_path):
    """A row with an end in 2018 has none in a snapshot of 2016, and keeps its statement id."""
    rows = [{"subject": "Ada", "relation": "P54", "object": "Ajax", "start": "2014", "end": "2018"}]
    write(tmp_path / "t.jsonl", rows)
    (early,) = read(tmp_path / "t.jsonl").facts
    (late,) = read(tmp_path / "t.jsonl", date(2020, 1, 1)).facts
    assert early.end is None and late.end == iso_interval("2018")
    assert early.statement_id == late.statement_id
    assert (late.subject, late.value, late.value_type) == ("Ada", "Ajax", "string")


def test_columns_can_have_other_names(tmp_path):
    """A mapping of roles to columns reads any table."""
    write(tmp_path / "t.csv", [{"who": "Ada", "what": "P54", "whom": "Ajax", "when": "2012"}])
    names = {"subject": "who", "relation": "what", "object": "whom", "date": "when"}
    (fact,) = read(tmp_path / "t.csv", columns=names).facts
    assert (fact.subject, fact.value, fact.point) == ("Ada", "Ajax", iso_interval("2012"))


def test_unknown_columns_name_the_nearest(tmp_path):
    """A misspelt column or role is a ConfigError with what was probably meant."""
    write(tmp_path / "t.csv", ROWS)
    with pytest.raises(ConfigError, match="did you mean 'subject'"):
        read(tmp_path / "t.csv", columns={"subject": "subjct"})
    with pytest.raises(ValidationError, match="did you mean 'object'"):
        TableConfig(name="t", path="t.csv", columns={"objct": "x"})


def test_malformed_rows_are_counted(tmp_path):
    """What is no row is a skip with its reason and a sample; the others are read."""
    path = tmp_path / "t.jsonl"
    bad = [{**ROWS[0], "date": "soon"}, {**ROWS[0], "object": " "}, [1], "text"]
    path.write_text(
        "\n".join([json.dumps(row) for row in (ROWS[0], *bad)] + ['{"subject":', "", ""])
    )
    parsed = read(path)
    assert len(stated(parsed.facts)) == 1
    reasons = sorted(skip.reason for skip in parsed.skips)
    assert reasons == [
        "date is not an ISO date or a year",
        "row is not JSON",
        *["row is not an object of columns"] * 2,
        "row without object",
    ]
    assert any("soon" in skip.sample for skip in parsed.skips)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.parquet", b"PAR1 not really", "is not parquet"),
        ("t.csv", b"\xff\xfe\x00", "is UTF-16"),
        ("t.csv", b"subject,relation,object\nAda,P54\n", "holds no row"),
        ("t.jsonl", b"", "holds no row"),
        ("t.jsonl", b"<html>", "holds no row"),
        ("t.jsonl", None, "cannot read"),
    ],
)
def test_a_file_that_is_no_table_is_one_line(tmp_path, name, content, words):
    """A whole file that cannot be read is a SourceError, not a list of skips."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=words) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)
