"""How the models of a line are served to users."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class ServeConfig(BaseModel):
    """How a release is served, so that it is measured as it is used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loads: Literal["checkpoint", "adapter", "ours"] | None = None
    """What the server can load: `checkpoint`, weights and tokenizer, as any server does; `adapter`,
    a LoRA adapter of the base; `ours`, also what stands beside them, with our code
    (`editors.deltas.serve`). It chooses the editor where `edit.editor` is unset, and refuses one
    whose edits would not be served. Unset: whatever the editor makes."""
    system: str | None = None
    """System prompt of every chat. Unset leaves it to the model's chat template, which may have one
    of its own; an empty text asks for a chat without one."""
