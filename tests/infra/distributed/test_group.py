"""Collectives of a group: the trivial one, two processes, and a rank that is lost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from processes import assert_passed, launch

from infra.distributed.group import SINGLE_PROCESS, share

WORKER = Path(__file__).with_name("group_worker.py")


def test_alone_everything_is_ones_own() -> None:
    """A group of one answers with what it was given."""
    tensor = torch.ones(2)
    assert (SINGLE_PROCESS.rank, SINGLE_PROCESS.size) == (0, 1)
    assert SINGLE_PROCESS.any(True) and not SINGLE_PROCESS.any(False) and SINGLE_PROCESS.max(7) == 7
    assert SINGLE_PROCESS.sum_(tensor) is tensor and SINGLE_PROCESS.gather((1, 2)) == [1, 2]
    assert share([1, 2, 3], SINGLE_PROCESS) == [1, 2, 3]


def test_two_processes_agree(tmp_path: Path) -> None:
    """Flags, maxima, sums in place (of a view as well) and items of unlike number."""
    printed = launch(WORKER, tmp_path, "all", "60", timeout_s=60)
    for name in ("flags", "sums", "gathers"):
        assert_passed(tmp_path, name, printed)


def test_a_lost_rank_ends_the_others(tmp_path: Path) -> None:
    """A rank that never comes is an error on the others once their time is up, not a hang."""
    started = time.monotonic()
    launch(WORKER, tmp_path, "lost", "5", timeout_s=60)
    assert time.monotonic() - started < 45
    assert "lost_rank" in (tmp_path / "lost_rank.0").read_text()
    assert not (tmp_path / "lost_rank.1").exists()


def test_a_hung_worker_fails_its_test(tmp_path: Path) -> None:
    """The launcher ends what takes too long, and says so."""
    with pytest.raises(AssertionError, match="hung for 8"):
        launch(WORKER, tmp_path, "lost", "600", timeout_s=8)
