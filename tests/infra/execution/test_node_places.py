"""A node on which the workspace's mount is missing is one line before anything runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from infra.errors import StageError
from infra.execution.ray_runner import runner_at

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

UNMOUNTED = 'mount -t tmpfs none "$0" && exec "$@"'
"""Runs a command that sees an empty disk in the place of a directory, in a namespace of its own."""


@pytest.fixture()
def cluster() -> Iterator[Cluster]:
    """A cluster of one node."""
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}
    made = Cluster(initialize_head=True, head_node_args=node)
    yield made
    made.shutdown()


def unmounted(directory: Path, *words: str) -> list[str]:
    """The command line by which a command sees a directory empty."""
    return ["unshare", "--mount", "sh", "-c", UNMOUNTED, str(directory), *words]


def may_unmount(directory: Path) -> bool:
    """Whether this process may make namespaces."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(unmounted(directory, "true"), capture_output=True).returncode == 0


def test_a_node_without_the_mount(cluster: Cluster, tmp_path: Path) -> None:
    """A node that has the directory, but not the disk that is mounted there elsewhere, is named;
    without the node the run begins, and leaves nothing in the directory."""
    directory = tmp_path / "shared" / "workspace"
    with runner_at(cluster.address, directory):
        assert list(directory.iterdir()) == []
    if not may_unmount(directory):
        pytest.skip("needs the right to make a mount namespace")
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
    start += [f"--address={cluster.address}", f"--object-store-memory={80 << 20}"]
    with subprocess.Popen(unmounted(directory, *start), stdout=-3, stderr=-3) as node:
        try:
            wait_for_nodes(str(cluster.address), 2)
            with (
                pytest.raises(StageError, match=rf"^node \S+ does not see {directory}, .*Mount"),
                runner_at(cluster.address, directory),
            ):
                pass
        finally:
            node.terminate()
    assert list(directory.iterdir()) == []


def wait_for_nodes(address: str, num: int) -> None:
    """Return when so many nodes are in a cluster."""
    with runner_at(address):
        end = time.monotonic() + 60
        while sum(node["Alive"] for node in ray.nodes()) < num:
            assert time.monotonic() < end
            time.sleep(0.5)
