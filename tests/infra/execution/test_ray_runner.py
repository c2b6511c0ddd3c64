"""Ray and this process give the same results, and the same errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import cloudpickle

from infra.errors import SourceError
from infra.execution import watchdog
from infra.execution.ray_runner import runner_at
from infra.execution.runner import InProcessRunner, Resources, Runner
from infra.execution.watchdog import marked

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def ray_runner() -> Iterator[Runner]:
    """A local Ray, to which this module's functions travel by value: workers cannot import it."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with runner_at("local") as runner:
        yield runner


def square() -> Callable[[int], int]:
    """A worker, built once a process."""

    def worker(x: int) -> int:
        if x < 0:
            raise SourceError(f"x={x} is negative")
        return x * x

    return worker


def dies_once(path: Path) -> Callable[[int], int]:
    """A worker whose process is killed at shard 2, the first time."""

    def worker(x: int) -> int:
        if x == 2 and not path.exists():
            path.touch()
            os.kill(os.getpid(), 9)
        return x

    return worker


def test_order_and_values(ray_runner: Runner) -> None:
    """Results come in shard order from both."""
    shards = list(range(20))
    here = list(InProcessRunner().map(square, shards, resources=Resources()))
    assert list(ray_runner.map(square, shards, resources=Resources())) == here


def test_a_workers_error_is_its_own(ray_runner: Runner) -> None:
    """The type and the one line survive the way between processes."""
    with pytest.raises(SourceError, match=r"^x=-1 is negative$"):
        list(ray_runner.map(square, [1, -1], resources=Resources()))


def test_a_dead_worker_comes_back(ray_runner: Runner, tmp_path: Path) -> None:
    """kill -9 of an actor loses no shard."""
    made = partial(dies_once, tmp_path / "died")
    assert list(ray_runner.map(made, range(4), resources=Resources())) == [0, 1, 2, 3]
    assert (tmp_path / "died").exists()


def test_ray_and_this_process_make_the_same_release(
    ray_runner: Runner, world: Any, tmp_path: Path
) -> None:
    """Every stage of both editions, byte for byte; on Ray a group of two processes edits."""
    from infra.storage.workspace import Workspace
    from pipeline.config import load_config
    from pipeline.flow import run_editions
    from pipeline.run import Run
    from pipeline.stages import STAGES

    digests = []
    for runner, workers in ((ray_runner, 2), (InProcessRunner(), 1)):
        config = world()
        place = Workspace.at(str(tmp_path / runner.name))
        run_editions(
            Run(
                config=load_config(config, {"edit.workers": workers}),
                config_dir=config.parent,
                workspace=place,
                runner=runner,
            )
        )
        outputs = [place.find(s, v) for s in STAGES for v in ("2016.06.30", "2021.06.30")]
        digests.append([output.digest for output in outputs if output])
    assert len(digests[0]) == 18
    assert digests[0] == digests[1]


class Made:
    """An iterator of shards that notes how many were taken, and how many are still awaited."""

    def __init__(self, count: int) -> None:
        self.count, self.taken, self.yielded, self.most = count, 0, 0, 0

    def __iter__(self) -> Iterator[int]:
        for n in range(self.count):
            self.taken += 1
            self.most = max(self.most, self.taken - self.yielded)
            yield n


def slow_square() -> Callable[[int], int]:
    """A worker that is slower than the shards are made; the more so on some of them."""

    def worker(x: int) -> int:
        time.sleep(0.05 if x % 3 else 0.01)
        return x * x

    return worker


def test_shards_are_taken_as_workers_need_them(ray_runner: Runner) -> None:
    """Of an iterator no more is made than actors can have in hand, and the order stays; in this
    process each is done before the next is made."""
    for runner, most in ((ray_runner, 8), (InProcessRunner(), 1)):
        made = Made(60)
        for n, result in enumerate(runner.map(slow_square, made, resources=Resources())):
            assert result == n * n
            made.yielded += 1
        assert made.yielded == 60
        assert made.most <= most, runner.name


def test_an_error_of_the_shards_is_raised(ray_runner: Runner) -> None:
    """A source that fails in the middle fails the call, by its own words; the runner goes on."""

    def made() -> Iterator[int]:
        yield from range(5)
        raise SourceError("the file ends")

    for runner in (ray_runner, InProcessRunner()):
        with pytest.raises(SourceError, match=r"^the file ends$"):
            list(runner.map(square, made(), resources=Resources()))
        assert list(runner.map(square, iter([3]), resources=Resources())) == [9]
        assert list(runner.map(square, iter([]), resources=Resources())) == []


def test_a_dead_worker_comes_back_to_shards_that_are_made(
    ray_runner: Runner, tmp_path: Path
) -> None:
    """kill -9 of an actor with two shards in hand loses none of them."""
    made = partial(dies_once, tmp_path / "died")
    assert list(ray_runner.map(made, iter(range(9)), resources=Resources())) == list(range(9))
    assert (tmp_path / "died").exists()


def meeting(path: Path, size: int) -> Callable[[int], int]:
    """A worker that says where it is, once `size` processes have come to `path`."""

    def worker(_: int) -> int:
        (path / str(os.getpid())).touch()
        until = time.monotonic() + 120
        while len(list(path.iterdir())) < size and time.monotonic() < until:
            time.sleep(0.01)
        return os.getpid()

    return worker


def test_processes_outlive_a_call(ray_runner: Runner, tmp_path: Path) -> None:
    """Two calls with other workers run in the same processes; after an error in new ones."""
    size = int(ray.cluster_resources()["CPU"])

    def processes(name: str) -> set[int]:
        path = tmp_path / name
        path.mkdir()
        made = partial(meeting, path, size)
        return set(ray_runner.map(made, range(4 * size), resources=Resources()))

    before = processes("before")
    assert len(before) == size
    assert list(ray_runner.map(square, [3], resources=Resources())) == [9]
    assert processes("same") == before
    with pytest.raises(SourceError):
        list(ray_runner.map(square, [-1], resources=Resources()))
    assert not processes("new") & before


def test_joins_a_running_cluster(world: Any, tmp_path: Path) -> None:
    """`corrigenda run --ray-address` of a cluster that somebody else started."""
    programs, port = Path(sys.executable).parent, "26379"
    start = [programs / "ray", "start", "--head", "--port", port, "--num-cpus", "2", "--block"]
    run = [programs / "corrigenda", "run", "-c", world(), "--ray-address", f"127.0.0.1:{port}"]
    with (tmp_path / "log").open("w") as log:
        cluster = subprocess.Popen(start, stdout=log, stderr=log, start_new_session=True)
        try:
            done = subprocess.run([*run, "--json"], capture_output=True, text=True, timeout=300)
        finally:
            os.killpg(cluster.pid, signal.SIGTERM)  # `ray stop` would stop every Ray there is
            cluster.wait(60)
    assert done.returncode == 0, done.stderr
    assert [e["release"]["edits"] > 0 for e in json.loads(done.stdout)["editions"]] == [True, True]


RUN = """
import sys, time
from infra.execution.ray_runner import runner_at
from infra.execution.runner import Resources
from ray import cloudpickle

cloudpickle.register_pickle_by_value(sys.modules["__main__"])

def waits():
    return lambda _: time.sleep(600)

with runner_at("local") as runner:
    print("runs", flush=True)
    list(runner.map(waits, range(4), resources=Resources()))
"""
"""A program that works on a Ray of its own."""


def mark_of(program: int) -> str:
    """The mark of the Ray that a program started: it is an argument of its watchdog."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            words = (process / "cmdline").read_text().split("\0")
            if parent == str(program) and words[-3:-2] == [watchdog.__file__]:
                return words[-2]
    raise AssertionError(f"no watchdog of {program}")


def test_a_killed_program_leaves_no_process_of_ray() -> None:
    """SIGKILL: within seconds nothing of its Ray runs. SIGTERM: the same, and exit code 143."""
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143)):
        command = [sys.executable, "-c", RUN]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout
            assert program.stdout.readline() == "runs\n"
            mark = mark_of(program.pid)
            assert len(marked(mark)) >= 4  # the head, the raylet and its agents
            time.sleep(2.0)  # workers start
            program.send_signal(number)
            assert program.wait(60) == code
        end = time.monotonic() + 10.0
        while marked(mark) and time.monotonic() < end:
            time.sleep(0.1)
        assert not marked(mark)
