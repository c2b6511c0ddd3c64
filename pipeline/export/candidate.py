"""What is served of an edit: a checkpoint to load, and a LoRA adapter where the change has one.

Both are written before the evaluation and judged by it, loaded as a server would; the release
carries those very files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers.pytorch_utils import Conv1D

from editors.deltas.delta import Delta
from infra.lm.inference import ServedModel
from infra.models.checkpoint import Checkpoint
from infra.models.loading import ModelRef, skeleton
from infra.models.lora import AttachAdapter, Factors, serving_rank, write_adapter
from pipeline.edit.attach import AttachDelta, as_exported
from pipeline.edit.output import DELTA, WEIGHTS

CHECKPOINT = "checkpoint"
ADAPTER = "adapter"


def export(base: ModelRef, made: Path, out: Path) -> Candidate:
    """Export into `out` what the edit stage made in a directory: `checkpoint/`, and `adapter/`
    where the change is of a rank that servers take."""
    weights = load_file(made / WEIGHTS)
    Checkpoint(base.path).export(out / CHECKPOINT, weights)
    delta = Delta.load(made / DELTA)
    factors, transposed = low_rank(delta, base)
    adapter = None
    if factors and serving_rank(factors):
        write_adapter(
            out / ADAPTER, factors, base=base.name, transposed=transposed, dtype=torch.bfloat16
        )
        adapter = ServedModel(name="adapter", path=base.path, attach=AttachAdapter(out / ADAPTER))
    return Candidate(
        served=as_exported("candidate", out / CHECKPOINT, made / DELTA),
        memory=ServedModel(
            name="memory",
            path=base.path,
            attach=AttachDelta(made / DELTA),
            own_attention=delta.own_attention,
        ),
        adapter=adapter,
        edited=tuple(weights),
    )


def low_rank(delta: Delta, base: ModelRef) -> tuple[Factors, bool]:
    """A and B of every changed module, and whether the base stores these weights [in, out].

    Nothing where a part of the delta has no such form: no adapter says the same.
    """
    changes = delta.low_rank()
    if not changes:
        return {}, False
    model = skeleton(base.path)
    factors, kinds = {}, set()
    for name, (left, right) in changes.items():
        module = name.removesuffix(".weight")
        transposed = isinstance(model.get_submodule(module), Conv1D)
        factors[module] = (left.T, right.T) if transposed else (right, left)
        kinds.add(transposed)
    return factors, kinds == {True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An edited model that is to be judged."""

    served: ServedModel
    """As it is exported, and loaded from there."""
    memory: ServedModel | None = None
    """As the editor made it, before anything was rounded or written; None where that is not
    known."""
    adapter: ServedModel | None = None
    """The base with the exported adapter beside its weights; None where there is none."""
    edited: Sequence[str] = ()
    """Parameters that the export replaced."""
