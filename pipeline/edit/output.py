"""The files of the edit stage, for later stages to read."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa

from editors.deltas.delta import Delta

DELTA = "delta.safetensors"
"""The change of the model."""
WEIGHTS = "weights.safetensors"
"""The changed parameters, whole, in the base's dtype."""
REPORTS = "reports.parquet"
"""One row an edit: whether it was carried out, and how well (`editors.editor.EditReport`)."""


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


def counts_of(reports: pa.Table, delta: Delta) -> dict[str, Any]:
    """Counts of the stage's record: edits, edits by status, and the delta's own counts."""
    status = reports["status"].to_pylist()
    return {"edits": len(status), "status": Counter(status), **delta.counts()}
