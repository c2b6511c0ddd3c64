"""Settings of the plan stage."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class PlanConfig(BaseModel):
    """The policy: which verdicts are edited, and how many."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_edits: int = Field(default=1000, ge=1)
    """New edits in one release; corrections come before teaching, then higher priority."""
    teach_unknown: bool = False
    """Whether facts that the model does not know are taught, or only stale beliefs corrected."""
    max_neighbours: int = Field(default=64, ge=1)
    """Facts of other subjects kept for the locality evaluation; no editor sees them."""
    max_preserved: int = Field(default=500, ge=0)
    """Statements about yet other subjects that the editor is told to leave alone."""
