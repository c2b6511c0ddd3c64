"""What infra.distributed.zero does without a group; tests/editors/test_sharded.py has the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from infra.distributed.zero import gathered, load_sharded, whole_shape
from infra.errors import ConfigError


def test_whole_weights_are_left_alone() -> None:
    """Gathering what is not sharded does nothing, whatever is asked for."""
    weight = torch.nn.Parameter(torch.ones(2, 3))
    with gathered([weight, None], write=True), torch.no_grad():
        weight.add_(1)
    assert torch.equal(weight, torch.full((2, 3), 2.0)) and whole_shape(weight) == (2, 3)


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No launcher, a dtype that DeepSpeed would change, more processes than GPUs."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="torchrun"), load_sharded(tmp_path, dtype=torch.float32):
        pass
    with pytest.raises(ConfigError, match="float64"), load_sharded(tmp_path, dtype=torch.float64):
        pass
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.setenv(name, "99")
    with (
        pytest.raises(ConfigError, match="GPU"),
        load_sharded(tmp_path, dtype=torch.float32, device="cuda"),
    ):
        pass


def test_deepspeed_is_imported_when_it_is_needed() -> None:
    """Importing the editors and infra.distributed.zero does not import it."""
    script = "import sys, editors, infra.distributed.zero; sys.exit('deepspeed' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
