"""Names and schemas of the files that an evaluation writes, for the stages that read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

REPORT = "report.json"
FACTS = "facts.parquet"
ITEMS = "items.parquet"


FACT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        ("new", pa.bool_()),
        ("relation", pa.string()),
        ("subject", pa.string()),
        ("prompt", pa.string()),
        ("target", pa.string()),
        ("old", pa.list_(pa.string())),
        ("right", pa.bool_()),
        ("right_before", pa.bool_()),
        ("base_answer", pa.string()),
        ("before_answer", pa.string()),
        ("answer", pa.string()),
    ]
)
"""One row for each edited fact, for people to read. The `before` columns are the parent release's,
or the base model's where there is no parent."""
ITEM_SCHEMA = pa.schema(
    [("role", pa.string()), ("metric", pa.string()), ("item", pa.string()), ("value", pa.float64())]
)
"""One row for each role, metric and item: the value that the metric averages."""


Report = Mapping[str, Any]
"""Content of `report.json`."""
