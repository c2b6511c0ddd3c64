"""A model sharded over two processes answers, and is taken apart, like the same model whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from processes import assert_passed, launch
from sharded_worker import CHECKS

WORKER = Path(__file__).with_name("sharded_worker.py")


@pytest.mark.slow  # DeepSpeed compiles an operation of its own at its first use: a minute
@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt2", "gemma2"])
def test_sharded_equals_whole(kind: str, checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    """Tied and untied heads, Linear and Conv1D, an MLP that is normalised: every check passes."""
    printed = launch(WORKER, tmp_path, str(checkpoint(kind)), timeout_s=300)
    for check in CHECKS:
        assert_passed(tmp_path, check.__name__, printed)
