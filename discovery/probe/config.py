"""Settings of the probe stage."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ProbeConfig(BaseModel):
    """How many questions the model is asked, and when an answer counts as a belief."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_changes: int = Field(default=400, ge=1)
    """The model is asked about at most so many changes in one edition: first about facts with a
    live edit, then by popularity of the subject and change rate of the relation."""
    max_unchanged: int = Field(default=60, ge=0)
    """About how many unchanged facts the model is asked, to calibrate confidence; 0 asks none."""
    num_distractors: int = Field(default=2, ge=1, le=20)
    """Number of wrong answers (objects of other subjects) that the right answer has to beat."""
    margin: float = Field(default=1.0, ge=0)
    """Nats by which the winning answer must lead the best distractor, mean over statements."""
    agreement: float = Field(default=2 / 3, gt=0.5, le=1)
    """Share of the statements that the winning answer must win."""
