"""What later stages know of the diff's output: the name of its file."""

from __future__ import annotations

CHANGES = "changes.parquet"
"""File of the changes, rows of `CHANGE_SCHEMA` (`discovery.facts.change`)."""
