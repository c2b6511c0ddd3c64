"""Settings of the plan stage."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class PlanConfig(BaseModel):
    """The policy of the plan: which changes are edited, and how many."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_edits: int = Field(default=1000, ge=1)
    """Most new edits in one release: corrections first, then new facts; each by priority, highest
    first."""
    teach_unknown: bool = False
    """Whether facts that the model does not know are taught; if not, only wrong beliefs are
    corrected."""
    max_neighbours: int = Field(default=64, ge=1)
    """Most facts about other subjects that locality is measured on; no editor sees them."""
    max_preserved: int = Field(default=500, ge=0)
    """Most statements, about further subjects, that the editor is given to leave unchanged."""
