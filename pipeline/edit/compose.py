"""Write what later stages read of an edit: the delta, and the weights that it changes."""

from __future__ import annotations

from pathlib import Path

from editors.deltas.delta import Delta
from infra.files.atomic import Flush, write_atomic
from infra.files.tensors import save_tensors
from infra.models.checkpoint import Checkpoint
from pipeline.edit.output import DELTA, WEIGHTS


def keep(delta: Delta, base: Checkpoint, out: Path) -> None:
    """Write the delta, and the changed weights in the base's dtype, into the directory `out`."""
    write_atomic(out / DELTA, delta.save, flush=Flush.NOTHING)
    weights = delta.weights(base)
    write_atomic(out / WEIGHTS, lambda path: save_tensors(weights, path), flush=Flush.NOTHING)
