"""A served model is the one that was written, or it is not asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file

from infra.errors import ModelError
from infra.lm.inference import AnswerWorker, Compute, ServedModel
from infra.models.checkpoint import Checkpoint

NAME = "model.layers.1.mlp.down_proj.weight"


def test_a_checkpoint_that_is_loaded_without_its_edit_is_refused(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """The parameters that an export was written with are compared with those that were loaded."""
    base = Checkpoint(checkpoint("llama"))
    edited = base.tensor(NAME) + 1
    save_file({NAME: edited}, tmp_path / "weights.safetensors")
    base.export(tmp_path / "edited", {NAME: edited})
    base.export(tmp_path / "not", {})
    worker = AnswerWorker(Compute())
    for name in ("edited", "not"):
        served = ServedModel(
            name=name, path=tmp_path / name, holds=tmp_path / "weights.safetensors"
        )
        if name == "edited":
            worker.keep(served)
        else:
            with pytest.raises(ModelError, match="not loaded with the edited"):
                worker.keep(served)
