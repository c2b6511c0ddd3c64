"""Apply a delta to a loaded model, and describe an exported checkpoint as it is served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editors.deltas.delta import Delta
from infra.lm.inference import ServedModel


@dataclass(frozen=True)
class AttachDelta:
    """A function that applies the delta in a file to a loaded model, in place, and to a tokenizer.
    Picklable, so that workers can be given it."""

    delta: Path
    """The delta's file."""
    beside_weights: bool = False
    """Whether only the parts that a checkpoint cannot hold (a codebook, for one) are applied, to an
    exported checkpoint; if not, all parts are applied, to the base model."""

    def __call__(self, model: Any, tokenizer: Any) -> Any:
        """Apply the delta to a model, in place; the tokenizer that it is to be asked with."""
        delta = Delta.load(self.delta, beside_weights=self.beside_weights)
        delta.apply_(model)
        return delta.tokenizer(tokenizer)


def as_exported(name: str, checkpoint: Path, delta: Path, *, digest: str = "") -> ServedModel:
    """An exported checkpoint, to which a worker adds the parts of its delta that it cannot hold.

    name        role of the model in the evaluation
    checkpoint  directory of the checkpoint
    delta       file of the delta
    digest      identity of both; needed where the model is an input of a stage
    """
    beside = Delta.load(delta, beside_weights=True)
    return ServedModel(
        name=name,
        path=checkpoint,
        digest=digest,
        attach=AttachDelta(delta, beside_weights=True) if beside.parts else None,
        own_attention=beside.own_attention,
    )
