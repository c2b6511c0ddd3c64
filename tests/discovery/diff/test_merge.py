"""Sorted files are merged as one sort of all their rows would have them."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from discovery.diff.merge import merge_sorted

SCHEMA = pa.schema([("subject", pa.string()), ("id", pa.string())])
KEYS = [("subject", "ascending"), ("id", "ascending")]


@pytest.mark.parametrize("subjects", [1, 3, 400])
@pytest.mark.parametrize("files", [0, 1, 5])
def test_it_is_one_sort(tmp_path: Path, files: int, subjects: int) -> None:
    """Also where one subject has more rows than are read at a time, in several files, and where a
    file is empty; no table but the last is larger than what is read."""
    rng, tables, paths = random.Random(files), [SCHEMA.empty_table()], []
    for n in range(files):
        rows = [
            {"subject": f"Q{rng.randrange(subjects)}", "id": f"{rng.random()}"}
            for _ in range(100 * n)
        ]
        tables.append(pa.Table.from_pylist(rows, schema=SCHEMA).sort_by(KEYS))
        paths.append(tmp_path / f"{n}.parquet")
        pq.write_table(tables[-1], paths[-1])
    found = list(merge_sorted(paths, SCHEMA, ("subject", "id"), rows=7))
    assert pa.concat_tables(found).equals(pa.concat_tables(tables).sort_by(KEYS))
    if subjects == 400:
        assert max(table.num_rows for table in found) < 20 * files + 1
