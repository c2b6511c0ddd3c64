"""Settings of the probe stage."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ProbeConfig(BaseModel):
    """How much is asked, and when an answer counts as a belief."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_changes: int = Field(default=400, ge=1)
    """Changes probed in one edition: those of live edits first, then by popularity of the subject
    and change rate of the relation."""
    max_unchanged: int = Field(default=60, ge=0)
    """Facts that did not change, asked to calibrate confidence; 0 asks none."""
    num_distractors: int = Field(default=2, ge=1, le=20)
    """Objects of other subjects that the right answer has to beat."""
    margin: float = Field(default=1.0, ge=0)
    """Nats by which the winner must lead the best distractor, mean over statements."""
    agreement: float = Field(default=2 / 3, gt=0.5, le=1)
    """Share of statements the winner must win."""
