"""How the models of a line are served to users."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ServeConfig(BaseModel):
    """How a release is served, so that it is measured as it is used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str | None = None
    """System prompt of every chat. Unset leaves it to the model's chat template, which may have one
    of its own; an empty text asks for a chat without one."""
