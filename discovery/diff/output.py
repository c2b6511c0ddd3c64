"""A diff's file, for the stages behind it."""

from __future__ import annotations

CHANGES = "changes.parquet"
