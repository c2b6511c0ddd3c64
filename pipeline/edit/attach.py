"""What puts a delta, or its codebook alone, in force on a loaded model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editors.deltas.delta import Delta


@dataclass(frozen=True)
class AttachCodebook:
    """Puts the codebook of a delta, if it has one, in force on a loaded model."""

    delta: Path

    def __call__(self, model: Any) -> None:
        Delta(codebooks=Delta.load(self.delta).codebooks).apply_(model)


@dataclass(frozen=True)
class AttachDelta:
    """Puts a whole delta in force on a loaded base: the edited model before any export."""

    delta: Path

    def __call__(self, model: Any) -> None:
        Delta.load(self.delta).apply_(model)
