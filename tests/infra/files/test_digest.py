"""A digest of a table says which rows it has, one of a file which bytes."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from infra.files.digest import content_digest, file_digest, table_digest


def test_table_digest_is_of_rows_not_of_chunks() -> None:
    """The same rows in other chunks have the same digest; another row another."""
    whole = pa.table({"x": [1, 2, None], "y": [["a"], [], None]})
    parts = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    assert table_digest(whole) == table_digest(parts)
    assert table_digest(whole) != table_digest(whole.slice(0, 2))


def test_a_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    """Whatever it is called and whatever is in it; what a stage wrote is known by its rows."""
    kinds = [pa.date32(), pa.timestamp("ns"), pa.decimal128(5, 2), pa.duration("s"), pa.uuid()]
    table = pa.table({str(kind): pa.array([None], kind) for kind in kinds})
    path = tmp_path / "x.parquet"
    pq.write_table(table, path)
    assert file_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes()[:100])
    assert file_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    numbers = pa.table({"x": [1, 2, 3]})
    found = set()
    for compression in ("none", "zstd"):
        pq.write_table(numbers, path, compression=compression)
        found.add((content_digest(path), file_digest(path)))
    assert len(found) == 2 and {rows for rows, _ in found} == {table_digest(numbers)}


DIGESTED = pa.schema(
    [
        ("number", pa.int64()),
        ("name", pa.string()),
        ("bytes", pa.large_binary()),
        ("real", pa.float64()),
        ("yes", pa.bool_()),
        ("names", pa.list_(pa.string())),
        ("pair", pa.struct([("a", pa.int64()), ("b", pa.string())])),
    ]
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "number": st.none() | st.integers(-5, 5),
            "name": st.none() | st.text("ab", max_size=2),
            "bytes": st.none() | st.binary(max_size=2),
            "real": st.none() | st.floats(0, 1),
            "yes": st.none() | st.booleans(),
            "names": st.none() | st.lists(st.none() | st.text("ab", max_size=2), max_size=2),
            "pair": st.none()
            | st.fixed_dictionaries({"a": st.none() | st.integers(0, 1), "b": st.just("x")}),
        }
    ),
    max_size=6,
)


@given(ROWS, ROWS, st.lists(st.integers(0, 6), max_size=3))
def test_table_digest_is_equality_of_rows(
    rows: list[dict[str, Any]], others: list[dict[str, Any]], cuts: list[int]
) -> None:
    """Two tables have one digest exactly when they have the same rows, however they are cut,
    sliced out of a larger table, or written and read again."""
    whole = pa.Table.from_pylist(rows, schema=DIGESTED)
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [whole.slice(a, b - a) for a, b in pairwise(bounds)]
    inside = pa.Table.from_pylist([*others, *rows, *others], schema=DIGESTED).combine_chunks()
    sink = pa.BufferOutputStream()
    pq.write_table(whole, sink)
    other = pa.Table.from_pylist(others, schema=DIGESTED)
    digest = table_digest(whole)
    assert table_digest(pa.concat_tables(parts)) == digest
    assert table_digest(inside.slice(len(others), len(rows))) == digest
    assert table_digest(pq.read_table(pa.BufferReader(sink.getvalue()))) == digest
    assert (table_digest(other) == digest) == (rows == others)
