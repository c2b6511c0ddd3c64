"""An evaluation's files, for the stages behind it."""

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
"""One edit, for people: `before` is the parent release, the base where there is none."""
ITEM_SCHEMA = pa.schema(
    [("role", pa.string()), ("metric", pa.string()), ("item", pa.string()), ("value", pa.float64())]
)
"""Every number fact by fact."""


Report = Mapping[str, Any]
