"""A base checkpoint and a delta -> the edited tensors, in the base's dtype."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from editors.deltas.delta import Delta
from infra.files.atomic import write_atomic
from infra.models.checkpoint import Checkpoint
from pipeline.edit.output import DELTA, WEIGHTS


def keep(delta: Delta, base: Checkpoint, out: Path) -> None:
    """The delta, and the weights that it makes of the base's, into a directory."""
    write_atomic(out / DELTA, delta.save)
    weights = compose(base, delta)
    write_atomic(out / WEIGHTS, lambda path: save_file(weights, path))


def compose(checkpoint: Checkpoint, delta: Delta) -> dict[str, Tensor]:
    """Edited tensors: base + delta in float32 (never accumulated), rounded once to the base's
    dtype. A codebook is no weight: `AttachCodebook` puts it in force."""
    weights = {}
    for name in delta.factors:
        stored = checkpoint.tensor(name)
        weights[name] = (stored.float() + delta.dense(name)).to(stored.dtype)
    return weights
