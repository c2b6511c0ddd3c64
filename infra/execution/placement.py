"""How many workers the nodes of a cluster can hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from infra.execution.runner import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node of a cluster that new workers can be started on."""

    cpus: float = 0.0
    """CPUs that the node has, whoever uses them."""
    gpus: float = 0.0
    """GPUs that the node has, likewise."""


def num_fitting(nodes: Iterable[Node], needs: Resources) -> int:
    """How many workers with these needs the nodes can hold together; a worker is on one node."""
    return sum(_num_on(node, needs) for node in nodes)


def no_room(nodes: Iterable[Node], needs: Resources) -> str:
    """A sentence for a cluster none of whose nodes can hold a worker: the needs, and what there is
    on the node that has most of what is missing."""
    wanted = _amounts(needs.num_cpus, needs.num_gpus)
    largest = max(
        nodes,
        key=lambda node: (min(node.gpus, needs.num_gpus), min(node.cpus, needs.num_cpus)),
        default=None,
    )
    has = "no node is alive" if largest is None else f"the largest node has {_given(largest)}"
    return f"a worker needs {wanted} and {has}"


def no_room_for_group(nodes: Sequence[Node], needs: Resources, size: int) -> str:
    """A sentence for a cluster whose nodes cannot hold a group of `size` workers at once; empty
    where they can."""
    room = num_fitting(nodes, needs)
    if size <= room:
        return ""
    if not room:
        return f"edit.workers = {size}: {no_room(nodes, needs)}. Lower `threads` in [edit]."
    wanted = _amounts(needs.num_cpus, needs.num_gpus)
    return (
        f"edit.workers = {size}, which work at once, and there is room for {room} that need "
        f"{wanted} each. Set at most {room}, or give the address of a larger cluster."
    )


def _num_on(node: Node, needs: Resources) -> int:
    """How many workers one node can hold."""
    fit = int(node.cpus // needs.num_cpus)
    if needs.num_gpus:
        fit = min(fit, int(node.gpus / needs.num_gpus))
    return fit


def _given(node: Node) -> str:
    """What a node has, in words."""
    return _amounts(node.cpus, node.gpus) if node.cpus or node.gpus else "no CPU"


def _amounts(cpus: float, gpus: float) -> str:
    """Numbers of CPUs and GPUs, in words; what there is none of is left out."""
    parts = [
        f"{number:g} {name}" + ("" if number == 1 else "s")
        for number, name in ((cpus, "CPU"), (gpus, "GPU"))
        if number
    ]
    return " and ".join(parts)
