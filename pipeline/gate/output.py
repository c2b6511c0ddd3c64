"""The gate's file, for the stages behind it."""

from __future__ import annotations

GATE = "gate.json"
