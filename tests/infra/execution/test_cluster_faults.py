"""Whole runs on a cluster that fails them: its head dies, its disks are full, one node is slow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from command import CORRIGENDA
from ray import cloudpickle
from ray.cluster_utils import Cluster
from ray_head import free_ports

from infra.errors import StageError
from infra.execution.ray_runner import runner_at
from infra.execution.runner import Resources

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@contextmanager
def head(port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A cluster of one node with two CPUs, all of whose processes end with the block."""
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    start += [f"--port={port}", "--num-cpus=2", "--include-dashboard=false"]
    start += ["--node-ip-address=127.0.0.1", f"--object-store-memory={80 << 20}"]
    with (folder / f"head{time.monotonic_ns()}").open("wb") as log:
        process = subprocess.Popen(start, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20.0)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def run_on(config: Path, workspace: Path, address: str) -> subprocess.Popen[str]:
    """`corrigenda run` at a `--ray-address`, which gives up a lost head after seconds."""
    command = [CORRIGENDA, "run", "-c", config, "--workspace", workspace, "--ray-address", address]
    return subprocess.Popen(
        [*map(str, command), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAY_gcs_rpc_server_reconnect_timeout_s": "5"},
    )


def releases(out: str) -> list[str]:
    """The ids of the releases of a run, from what it printed."""
    return [edition["release"]["release_id"] for edition in json.loads(out)["editions"]]


def test_the_head_dies(world: Callable[..., Path], tmp_path: Path) -> None:
    """SIGKILL of the head and all its processes ends the run by itself; with a head begun anew the
    same command makes the releases of a run that nothing happened to."""
    config, [port] = world(), free_ports(1)
    whole = run_on(config, tmp_path / "whole", "none")
    with head(port, tmp_path) as process:
        run = run_on(config, tmp_path / "cut", f"127.0.0.1:{port}")
        end = time.monotonic() + 120
        while not list((tmp_path / "cut").glob("probe/*")) and time.monotonic() < end:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        out, err = run.communicate(timeout=120)
        assert run.returncode == 1 and not out and "GCS" in err, (run.returncode, out, err)
    wanted, _ = whole.communicate(timeout=120)
    with head(port, tmp_path):
        again = run_on(config, tmp_path / "cut", f"127.0.0.1:{port}")
        out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert releases(out) == releases(wanted)


def large(path: Path) -> Callable[[int], Any]:
    """A worker whose results are larger than a node's object store."""

    def worker(x: int) -> Any:
        return np.zeros(100 << 20, dtype=np.uint8)

    return worker


def test_the_disks_are_full(tmp_path: Path) -> None:
    """What fits neither into the object store nor onto a disk ends the call in one line."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}
    full = {"local_fs_capacity_threshold": 0.001, "local_fs_monitor_interval_ms": 100}
    made = Cluster(initialize_head=True, head_node_args={**node, "_system_config": full})
    try:
        with runner_at(made.address) as runner:
            with pytest.raises(StageError, match="give Ray more shared memory or disk") as told:
                list(runner.map(partial(large, tmp_path), range(2), resources=Resources()))
            assert "\n" not in str(told.value)
    finally:
        made.shutdown()


def slow_at_first(path: Path) -> Callable[[int], str]:
    """A worker that takes long for one shard, and says where it is."""

    def worker(x: int) -> str:
        time.sleep(4.0 if x == 0 else 0.1)
        return ray.get_runtime_context().get_worker_id()

    return worker


def test_a_straggler_holds_up_nobody(tmp_path: Path) -> None:
    """While one worker is at a shard for long, the other does all the rest."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}
    made = Cluster(initialize_head=True, head_node_args=node)
    made.add_node(**node)
    try:
        with runner_at(made.address) as runner:
            list(runner.map(partial(slow_at_first, tmp_path), [1, 1], resources=Resources()))
            began = time.monotonic()
            done = list(
                runner.map(partial(slow_at_first, tmp_path), range(20), resources=Resources())
            )
            took = time.monotonic() - began
    finally:
        made.shutdown()
    assert done[0] not in done[1:] and len(set(done[1:])) == 1
    assert took < 6.0
