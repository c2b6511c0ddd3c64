"""A group of processes on Ray: its result, its errors, and a process that dies."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle

from infra.distributed import train_group
from infra.errors import ConfigError, EditError, StageError
from infra.execution.ray_runner import runner_at
from infra.execution.runner import Resources, Runner

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def ray_runner() -> Iterator[Runner]:
    """A local Ray, to which this module's functions travel by value: workers cannot import it."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with runner_at("local") as runner:
        yield runner


def ranks(at_rank_1: Callable[[], Any]) -> list[int]:
    """Ranks of the group, which are told by each to all, after rank 1 has done something."""
    from torch import distributed

    rank = distributed.get_rank()
    if rank == 1:
        at_rank_1()
    found: list[Any] = [None, None]
    distributed.all_gather_object(found, rank)
    return found


def fail() -> None:
    raise EditError("rank 1 has bad input")


def die() -> None:
    os.kill(os.getpid(), 9)


def die_once(path: Path) -> None:
    if not path.exists():
        path.touch()
        die()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_killed_process_costs_one_more_start(ray_runner: Runner, tmp_path: Path) -> None:
    """kill -9 of rank 1: the group is started again and gives rank 0's result. A pool that held the
    CPUs before has made room, and comes back after; Ray Train left files of no bytes."""
    pool = partial(ray_runner.map, lambda: abs, [-1, -2], resources=Resources())
    assert list(pool()) == [1, 2]
    work = partial(ranks, partial(die_once, tmp_path / "died"))
    folder = tmp_path / "group"
    folder.mkdir()
    found = ray_runner.group(work, size=2, resources=Resources(), folder=folder)
    assert found == [0, 1]
    assert (tmp_path / "died").exists()
    assert not any(path.stat().st_size for path in files(folder))
    assert list(pool()) == [1, 2]


def test_an_error_of_one_process_is_its_own(ray_runner: Runner, tmp_path: Path) -> None:
    """The type and the one line, and no second start."""
    with pytest.raises(EditError, match=r"^rank 1 has bad input$"):
        ray_runner.group(partial(ranks, fail), size=2, resources=Resources(), folder=tmp_path)


def test_a_process_that_dies_again_and_again_ends_the_group(
    ray_runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last retry, one line that says what to do."""
    monkeypatch.setattr(train_group, "MAX_RETRIES", 0)
    with pytest.raises(StageError, match="failed, at attempt 1"):
        ray_runner.group(partial(ranks, die), size=2, resources=Resources(), folder=tmp_path)


def test_more_processes_than_there_is_room_for(ray_runner: Runner) -> None:
    """On this machine no node joins, so it is said before anything runs."""
    with pytest.raises(ConfigError, match=r"^edit\.workers = 999"):
        ray_runner.require_group(999, Resources())
