"""How many workers fit is a matter of single nodes."""

from __future__ import annotations

from infra.execution.placement import Node, no_room, num_fitting
from infra.execution.runner import Resources


def test_a_worker_is_on_one_node() -> None:
    """CPUs of two nodes do not add up to one worker; neither do a GPU here and a CPU there."""
    odd = [Node(cpus=3), Node(cpus=3)]
    assert num_fitting(odd, Resources(num_cpus=2)) == 2
    assert num_fitting(odd, Resources(num_cpus=4)) == 0
    apart = [Node(cpus=8), Node(cpus=1, gpus=4)]
    assert num_fitting(apart, Resources(num_cpus=1, num_gpus=1)) == 1
    assert num_fitting(apart, Resources(num_cpus=2, num_gpus=1)) == 0
    assert num_fitting([Node(cpus=8, gpus=1)], Resources(num_gpus=0.25)) == 4


def test_no_node_holds_nothing() -> None:
    """A cluster without nodes, and a head without CPUs, hold no worker."""
    assert num_fitting([], Resources()) == num_fitting([Node()], Resources()) == 0


def test_the_missing_is_told_by_what_the_best_node_has() -> None:
    """The sentence has the needs and the node that comes nearest, in singular and plural."""
    nodes = [Node(cpus=1), Node(cpus=2)]
    told = no_room(nodes, Resources(num_cpus=4))
    assert told == "a worker needs 4 CPUs and the largest node has 2 CPUs"
    told = no_room([Node(cpus=64), Node(cpus=1, gpus=1)], Resources(num_cpus=2, num_gpus=1))
    assert told == "a worker needs 2 CPUs and 1 GPU and the largest node has 1 CPU and 1 GPU"
    assert no_room([Node()], Resources()).endswith("the largest node has no CPU")
    assert no_room([], Resources()) == "a worker needs 1 CPU and no node is alive"
