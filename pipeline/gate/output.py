"""The gate's file, for the stages behind it."""

from __future__ import annotations

GATE = "gate.json"
PAGE = "report.html"
"""The page of a candidate, in its release, or in the gate's output where it was stopped."""
