"""A cluster that loses nodes and processes finishes the work, as long as one node can."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import cloudpickle
from ray.cluster_utils import Cluster

from infra.errors import StageError
from infra.execution import ray_dispatch, ray_pool
from infra.execution.ray_runner import runner_at
from infra.execution.runner import Resources, Runner

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of one node with one CPU; this module's functions travel to it by value."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    made = Cluster(initialize_head=True, head_node_args=NODE)
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def runner(cluster: Cluster) -> Iterator[Runner]:
    """A runner on that cluster."""
    with runner_at(cluster.address) as made:
        yield made


def where(path: Path) -> Callable[[int], tuple[int, str]]:
    """A worker that says in a file that it began a shard, takes a while, and says where it is."""

    def worker(x: int) -> tuple[int, str]:
        node = ray.get_runtime_context().get_node_id()
        (path / f"{x}.{node}").touch()
        time.sleep(0.4)
        return x, node

    return worker


def dies(at: int) -> Callable[[int], int]:
    """A worker whose process is killed at one shard, each time."""

    def worker(x: int) -> int:
        if x == at:
            os.kill(os.getpid(), 9)
        return x

    return worker


def drain(cluster: Cluster, node: Any) -> None:
    """Ask that nothing new starts on a node, as before a machine is taken away."""
    from ray import _raylet
    from ray.core.generated import autoscaler_pb2

    inside: Any = _raylet
    reasons: Any = autoscaler_pb2
    accepted, why = inside.GcsClient(address=cluster.address).drain_node(
        node.node_id,
        reasons.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION"),
        "test",
        int((time.time() + 60) * 1000),
    )
    assert accepted, why


@pytest.mark.parametrize("how", ["killed", "stopped", "drained"])
def test_a_node_goes(how: str, cluster: Cluster, runner: Runner, tmp_path: Path) -> None:
    """Killed, stopped in order, or drained before: its shards are done by the other node, in this
    call and in the next. Nothing more is meant for it from when it is drained."""
    node = cluster.add_node(**NODE)
    counts: list[int] = []

    def take_away() -> None:
        while not list(tmp_path.glob(f"*.{node.node_id}")):
            time.sleep(0.02)
        counts.append(len(ray_pool.live_nodes()))
        if how == "drained":
            drain(cluster, node)
            counts.append(len(ray_pool.live_nodes()))
        cluster.remove_node(node, allow_graceful=how != "killed")

    thread = threading.Thread(target=take_away)
    thread.start()
    made = partial(where, tmp_path)
    done = list(runner.map(made, range(16), resources=Resources()))
    thread.join()
    assert [x for x, _ in done] == list(range(16))
    assert not {here for _, here in done[-4:]} & {node.node_id}
    assert how != "drained" or counts[1] < counts[0]
    assert [x for x, _ in runner.map(made, range(2), resources=Resources())] == [0, 1]


def test_a_shard_that_kills_its_workers(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three deaths on nodes that live end the call in one line; the next call works."""
    monkeypatch.setattr(ray_dispatch, "VERDICT_S", 1.0)
    with pytest.raises(StageError, match="died 3 times at one shard") as told:
        list(runner.map(partial(dies, 1), range(3), resources=Resources()))
    assert "\n" not in str(told.value)
    assert list(runner.map(partial(dies, 9), range(3), resources=Resources())) == [0, 1, 2]


def test_no_node_is_large_enough(
    cluster: Cluster,
    runner: Runner,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is wanted and what there is, is said at once; a node that comes in time is used, and
    without one the wait ends."""
    monkeypatch.setattr(ray_dispatch, "CHECK_S", 0.5)
    needs, made = Resources(num_cpus=2), partial(dies, 9)
    monkeypatch.setattr(ray_pool, "NODE_WAIT_S", 2.0)
    with pytest.raises(StageError, match="a worker needs 2 CPUs and the largest node has 1 CPU"):
        list(runner.map(made, [0], resources=needs))
    assert "waiting up to 2 s" in capsys.readouterr().err
    monkeypatch.setattr(ray_pool, "NODE_WAIT_S", 60.0)
    done: list[int] = []
    thread = threading.Thread(
        target=lambda: done.extend(runner.map(made, range(2), resources=needs))
    )
    thread.start()
    node = cluster.add_node(**{**NODE, "num_cpus": 2})
    thread.join(60.0)
    assert done == [0, 1]
    cluster.remove_node(node)


@pytest.mark.usefixtures("runner")
def test_no_room_on_this_machine() -> None:
    """Where Ray is started here no node can come: the call ends at once."""
    pool = ray_pool.Pool(may_grow=False)
    assert pool.room(Resources(num_cpus=10_000)) == 0
    with pytest.raises(StageError, match=r"a worker needs 10000 CPUs .* Lower `threads`"):
        pool.grow(1)
