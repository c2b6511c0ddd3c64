"""A node with other versions, and a job of another version, are one line before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from infra.errors import StageError
from infra.execution import node_versions
from infra.execution.node_versions import SUBMITTED_BY, difference
from infra.execution.ray_runner import runner_at

HERE = {"Python": "3.11", "corrigenda": "0.1.0"}


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (HERE, None),
        ({**HERE, "Python": "3.12"}, "node n has Python 3.12, and the job runs Python 3.11."),
        ({**HERE, "corrigenda": "0.2.0"}, "has corrigenda 0.2.0, and the job runs corrigenda 0.1."),
        ({**HERE, "corrigenda": ""}, "node n has no corrigenda, and the job runs corrigenda 0.1."),
    ],
)
def test_what_differs(there: dict[str, str], said: str | None) -> None:
    """The first thing that differs is named, with both versions."""
    found = difference(HERE, there, "n")
    assert found is None if said is None else said in (found or "")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of one node."""
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}
    made = Cluster(initialize_head=True, head_node_args=node)
    yield made
    made.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_node_of_another_version(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node says itself what it has; a run that has another version does not begin."""
    with runner_at(cluster.address):
        pass
    monkeypatch.setattr(node_versions, "version", lambda package: "9.9")
    with (
        pytest.raises(StageError, match=r"node \S+ has corrigenda \S+, and the job runs .* 9\.9"),
        runner_at(cluster.address),
    ):
        pass


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_job_of_another_version(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """What submits and what runs are of one version, for both read the same config."""
    monkeypatch.setenv(SUBMITTED_BY, "0.0.1")
    with (
        pytest.raises(StageError, match=r"submitted by corrigenda 0\.0\.1, and the cluster has"),
        runner_at(cluster.address),
    ):
        pass
