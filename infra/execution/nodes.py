"""Asking every node of a cluster something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from infra.errors import StageError
from infra.execution.ray_pool import first_line

ANSWER_S = 60.0
"""Longest time, in seconds, for the nodes to answer; what a slower one says is not known."""


def ask_nodes(ask: Callable[[], Any]) -> list[tuple[str, Any]]:
    """The address of every node of the cluster that this process is connected to, and its answer.

    ask  a local function, which travels by value, so that it also runs where this package is not
         installed

    Nodes that are lost meanwhile, which a run can bear, are left out. Raises StageError where a
    node cannot run it.
    """
    remote: Any = ray.remote(num_cpus=0, max_retries=0)(ask)
    asked = {}
    for node in ray.nodes():
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
            asked[remote.options(scheduling_strategy=there).remote()] = node["NodeManagerAddress"]
    answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
    answers = []
    for reference in answered:
        try:
            answers.append((asked[reference], ray.get(reference)))
        except RayTaskError as error:
            raise StageError(
                f"node {asked[reference]} cannot run a task ({first_line(error)}). Mend it, or "
                "take it out of the cluster."
            ) from error
        except RayError:
            continue
    return answers
