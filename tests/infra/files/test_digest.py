"""A digest says which rows a table has, and nothing of how they are kept."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from infra.files.digest import table_digest


def test_table_digest_is_of_rows_not_of_chunks() -> None:
    """The same rows in other chunks have the same digest; another row another."""
    whole = pa.table({"x": [1, 2, None], "y": [["a"], [], None]})
    parts = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    assert table_digest(whole) == table_digest(parts)
    assert table_digest(whole) != table_digest(whole.slice(0, 2))


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
