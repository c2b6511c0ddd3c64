"""Files that are cut, damaged, packed, or in another encoding: all is read, or it is said."""

import bz2
import gzip
import io
import json
import random
from contextlib import suppress
from datetime import date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from discovery_helpers import stated
from pydantic import ValidationError
from test_table import read, write

from discovery.crawl.stage import local_inputs
from discovery.sources.tabular.table import TableConfig
from infra.errors import ConfigError, CorrigendaError, SourceError

ROWS = [
    {"subject": f"S{n}", "relation": "P54", "object": f"O{n}", "date": "2015-03-01"}
    for n in range(40)
]
PACK = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json"])
@pytest.mark.parametrize("packed", PACK)
def test_packed_text_is_read_and_a_cut_file_marks_the_damage(tmp_path, name, packed):
    """The rows before the place where a packed file ends are read, the last only if it is whole,
    and what is lost may be facts of anyone."""
    write(tmp_path / name, ROWS)
    expected = read(tmp_path / name).facts
    whole = PACK[packed]((tmp_path / name).read_bytes())
    path = tmp_path / f"{name}{packed}"
    path.write_bytes(whole)
    parsed = read(path)
    assert parsed.facts == expected and not parsed.skips
    path.write_bytes(whole[: len(whole) - len(whole) // 5])
    with suppress(SourceError):  # a small file has one block: nothing of it can be read
        parsed = read(path)
        assert set(parsed.facts) < set(expected)
        assert parsed.skips[-1].damage and "the rest is lost" in parsed.skips[-1].reason


def test_a_large_packed_file_that_is_cut_gives_what_stands_before(tmp_path):
    """Thousands of rows are read, and no half of one."""
    noise = random.Random(1)
    rows = [{**row, "object": f"{noise.random()}"} for row in ROWS * 1000]
    write(tmp_path / "t.csv", [{**row, "subject": f"S{n}"} for n, row in enumerate(rows)])
    expected = set(read(tmp_path / "t.csv").facts)
    whole = gzip.compress((tmp_path / "t.csv").read_bytes())
    (tmp_path / "t.csv.gz").write_bytes(whole[: len(whole) // 2])
    parsed = read(tmp_path / "t.csv.gz")
    assert len(expected) > len(parsed.facts) > 1000 and set(parsed.facts) < expected
    assert [skip.damage for skip in parsed.skips] == [True]


HEADER = "subject,relation,object\n"
LINE = '{"subject": "Ada", "relation": "P54", "object": "Ajax"}\n'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", HEADER + "Ada,P54,Ajax\nBob,P54"),
        ("t.csv", HEADER + 'Ada,P54,Ajax\nBob,P54,"Bet'),
        ("t.csv", HEADER + "Ada,P54,Ajax\n" + "\0" * 100),
        ("t.jsonl", LINE + '{"subject": "Bob", "rel'),
        ("t.jsonl", LINE + "\0" * 100),
        ("t.json", "[" + LINE + ', {"subject": "Bob", "rel'),
        ("t.json", "[" + LINE),
        ("t.json", "[" + LINE + ","),
        ("t.json", "[\n" + LINE + "]\n{}"),
    ],
)
def test_a_text_that_is_cut_marks_the_damage(tmp_path, name, text):
    """What stands before is read."""
    (tmp_path / name).write_text(text)
    parsed = read(tmp_path / name)
    assert [fact.subject for fact in parsed.facts] == ["Ada"]
    assert [skip.damage for skip in parsed.skips] == [True]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json"])
def test_a_missing_last_line_end_is_no_damage(tmp_path, name):
    """Many tools write none."""
    text = {"t.csv": HEADER + "Ada,P54,Ajax", "t.jsonl": LINE[:-1], "t.json": f"[{LINE[:-1]}]"}
    (tmp_path / name).write_text(text[name])
    parsed = read(tmp_path / name)
    assert len(parsed.facts) == 1 and not parsed.skips


def test_one_array_or_an_object_a_line(tmp_path):
    """Under either suffix, on one line or indented; lines that are arrays are no rows."""
    for name in ("t.json", "t.jsonl"):
        for text in (
            json.dumps(ROWS),
            json.dumps(ROWS, indent=2),
            "\n".join(map(json.dumps, ROWS)),
        ):
            (tmp_path / name).write_text(text)
            parsed = read(tmp_path / name)
            assert len(parsed.facts) == len(ROWS) and not parsed.skips
    (tmp_path / "t.jsonl").write_text("[1]\n" + LINE)
    parsed = read(tmp_path / "t.jsonl")
    assert len(parsed.facts) == 1 and parsed.skips[0].reason == "row is not an object of columns"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_utf16_is_refused_in_a_line(tmp_path, name, encoding):
    """With its byte order mark and without."""
    (tmp_path / name).write_text((HEADER if name == "t.csv" else LINE) * 2, encoding=encoding)
    with pytest.raises(SourceError, match=r"is UTF-16 text\. Save it as UTF-8"):
        read(tmp_path / name)


def test_the_subject_decides_whether_a_row_in_another_encoding_is_damage(tmp_path):
    """Where the subject can be read, its group alone is undecided."""
    text = "subject,relation,object\nPelé,P54,Santos\nAda,P54,Málaga\n"
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    parsed = read(tmp_path / "t.csv")
    assert [(skip.reason, skip.damage) for skip in parsed.skips] == [
        ("subject is not UTF-8 text", True),
        ("object is not UTF-8 text", False),
    ]
    assert [(fact.subject, fact.snaktype) for fact in parsed.facts] == [("Ada", "unreadable")]


def test_text_in_parquet_that_is_not_utf8_costs_its_row(tmp_path):
    """Writers do not check it."""
    names = pa.array([b"Pel\xe9", b"Ada"]).cast(pa.binary())
    buffers = names.buffers()
    text = pa.Array.from_buffers(pa.string(), 2, buffers)
    pq.write_table(
        pa.table({"subject": text, "relation": ["P54"] * 2, "object": ["Ajax"] * 2}),
        tmp_path / "t.parquet",
    )
    parsed = read(tmp_path / "t.parquet")
    assert [fact.subject for fact in parsed.facts] == ["Ada"]
    assert [(skip.reason, skip.damage) for skip in parsed.skips] == [
        ("subject is not UTF-8 text", True)
    ]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("t.xlsx", "is a spreadsheet. Save its sheet as CSV UTF-8"),
        ("t.ods", "is a spreadsheet"),
        ("t.parquet.gz", "unpack the file"),
        ("t.orc", "is not one of"),
        ("t", "is not one of"),
    ],
)
def test_what_is_not_offered_is_said(path, words):
    """Before anything is read."""
    with pytest.raises(ValidationError, match=words):
        TableConfig(name="t", path=path)


def parquet(**options):
    """A Parquet file of forty rows, and columns of several types beside."""
    more = {"start": datetime(2015, 1, 1), "day": date(2015, 1, 1), "n": 1.5, "list": [1, 2]}
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{**row, **more} for row in ROWS]), buffer, **options)
    return buffer.getvalue()


FILES = [
    parquet(),
    parquet(compression="zstd", data_page_version="2.0"),
    parquet(compression="none", use_dictionary=False, use_deprecated_int96_timestamps=True),
]


@pytest.mark.parametrize("seed", range(40))
def test_a_parquet_file_with_any_bytes_turned_is_read_or_one_line(tmp_path, seed):
    """Cut, with a footer of another length, with bytes turned in footer or pages: never another
    exception, and the line names the file. What the crawl is known by does not matter either."""
    noise = random.Random(seed)
    content = bytearray(noise.choice(FILES))
    footer = len(content) - int.from_bytes(content[-8:-4], "little") - 8
    if seed % 4 == 0:
        del content[noise.randrange(len(content)) :]
    elif seed % 4 == 1:
        content[-8:-4] = noise.randbytes(4) if seed % 8 == 1 else bytes(4)
    else:
        low, high = (footer, len(content)) if seed % 4 == 2 else (4, footer)
        for _ in range(noise.randrange(1, 6)):
            content[noise.randrange(low, high)] = noise.randrange(256)
    (tmp_path / "t.parquet").write_bytes(content)
    local_inputs([TableConfig(name="t", path="t.parquet")], tmp_path)
    try:
        read(tmp_path / "t.parquet")
    except CorrigendaError as error:
        assert str(error).isprintable() and "t.parquet" in str(error)


def test_a_page_whose_checksum_is_wrong_is_said(tmp_path):
    """Where the writer left checksums, a changed value is not read as another."""
    content = bytearray(parquet(compression="none", use_dictionary=False, write_page_checksum=True))
    content[content.index(b"O17")] = ord("Q")
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(SourceError, match=r"is not parquet .*CRC"):
        read(tmp_path / "t.parquet")


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json", "t.parquet", "t.csv.gz"])
@pytest.mark.parametrize("what", ["empty", "directory", "absent"])
def test_no_file_of_rows_is_one_line(tmp_path, name, what):
    """An empty file, a directory (as Spark writes), none: the line names it."""
    path = tmp_path / name
    if what == "empty":
        path.write_bytes(b"")
    elif what == "directory":
        path.mkdir()
    sources = [TableConfig(name="t", path=name)]
    with pytest.raises(SourceError, match=name) as caught:
        local_inputs(sources, tmp_path)
        read(path)
    assert "\n" not in str(caught.value)
    if what == "directory":
        assert "read_parquet" in str(caught.value)


def test_a_missing_column_is_named_whatever_stands_between_the_cells(tmp_path):
    """The delimiter is known by the columns, so that a misspelt one is an error of its own."""
    (tmp_path / "t.csv").write_text("subjekt;relation;object\nAda;P54;Ajax\n")
    with pytest.raises(ConfigError, match="no column"):
        read(tmp_path / "t.csv")
    config = {"subject": "subjekt"}
    assert len(stated(read(tmp_path / "t.csv", columns=config).facts)) == 1
