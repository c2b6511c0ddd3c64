"""An edit stage's files, for the stages behind it."""

from __future__ import annotations

import pyarrow as pa

DELTA = "delta.safetensors"
WEIGHTS = "weights.safetensors"
REPORTS = "reports.parquet"


REPORT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        ("reason", pa.string()),
        ("steps", pa.int64()),
        ("loss", pa.float64()),
        ("p_target", pa.float64()),
        ("delta_norm_ratio", pa.float64()),
    ]
)
