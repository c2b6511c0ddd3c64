"""What puts a delta in force on a loaded model, and an exported checkpoint as it is served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editors.deltas.delta import Delta
from infra.lm.inference import ServedModel


@dataclass(frozen=True)
class AttachDelta:
    """Puts the delta of a file in force on a loaded model. Picklable, for workers."""

    delta: Path
    beside_weights: bool = False
    """Only those parts that an exported checkpoint does not hold; else all, on the base."""

    def __call__(self, model: Any) -> None:
        Delta.load(self.delta, beside_weights=self.beside_weights).apply_(model)


def as_exported(name: str, checkpoint: Path, delta: Path, *, digest: str = "") -> ServedModel:
    """An exported checkpoint, with those parts of its delta in force that it does not hold.

    `digest`: identity of both, where the model is an input of a stage.
    """
    beside = Delta.load(delta, beside_weights=True)
    return ServedModel(
        name=name,
        path=checkpoint,
        digest=digest,
        attach=AttachDelta(delta, beside_weights=True) if beside.parts else None,
        own_attention=beside.own_attention,
    )
