"""Export an edit: a checkpoint and, if the change is of low rank, a LoRA adapter.

Both are written before the evaluation, which loads them as a server would; the release has the
same files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers.pytorch_utils import Conv1D

from editors.deltas.delta import Delta
from infra.errors import GateError
from infra.lm.inference import ServedModel
from infra.models.checkpoint import Checkpoint
from infra.models.loading import ModelRef
from infra.models.lora import RANKS, AttachAdapter, Factors, serving_rank, write_adapter
from infra.models.names import skeleton
from infra.storage.integrity import whole_file
from pipeline.edit.attach import AttachDelta, as_exported
from pipeline.edit.output import DELTA, WEIGHTS

CHECKPOINT = "checkpoint"
ADAPTER = "adapter"
"""Directories of the two exports, in the evaluation's output and in a release."""


def export(base: ModelRef, made: Path, out: Path, *, lasting: bool = True) -> Candidate:
    """Export an edit as `checkpoint/` and, if servers take adapters of its rank, `adapter/`.

    base  the unedited model
    made  directory of the edit stage's output
    out   directory that the exports are written into
    lasting  whether they are kept; files of those that are not may be links to the base's
    """
    weights = load_file(whole_file(made, WEIGHTS))
    delta = Delta.load(whole_file(made, DELTA))
    Checkpoint(base.path).export(out / CHECKPOINT, weights, lasting=lasting)
    delta.complete(out / CHECKPOINT)
    factors, transposed = low_rank(delta, base)
    adapter = None
    if factors and serving_rank(factors):
        write_adapter(
            out / ADAPTER, factors, base=base.hub_id, transposed=transposed, dtype=torch.bfloat16
        )
        adapter = ServedModel(name="adapter", path=base.path, attach=AttachAdapter(out / ADAPTER))
    return Candidate(
        served=replace(
            as_exported("candidate", out / CHECKPOINT, made / DELTA), holds=made / WEIGHTS
        ),
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
    """LoRA factors A and B by changed module, and whether the base stores their weights [in, out].

    Empty if a part of the delta is not of low rank, for no adapter is then equal to the delta.
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


def require_adapter(version: str, out: Path, num_edits: int) -> None:
    """Raise GateError where the exports in `out` have no adapter, and the server loads nothing
    else."""
    if not (out / ADAPTER).is_dir():
        raise GateError(
            f'edition {version} is not released: serve.loads = "adapter", and the change of '
            f"{num_edits} facts is of no rank that servers take (at most {RANKS[-1]}). Set "
            'plan.max_edits to fewer, or serve.loads = "checkpoint", and run again with --replace.'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An edited model that is to be evaluated, in each form in which it exists."""

    served: ServedModel
    """The model loaded from the exported checkpoint."""
    memory: ServedModel | None = None
    """The base with the editor's delta applied in memory, before rounding to the base's dtype; None
    if the delta is not known."""
    adapter: ServedModel | None = None
    """The base with the exported adapter attached; None if there is no adapter."""
    edited: Sequence[str] = ()
    """Names of the parameters that the export replaced."""
