"""Whether all nodes of a cluster run the same Python and the same version of this package.

Values travel between processes as pickles, and two versions may read one setting in two ways.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from infra.errors import StageError
from infra.execution.ray_pool import first_line

ANSWER_S = 60.0
"""Longest time, in seconds, for the nodes to answer; what a slower one runs is not known."""
PACKAGE = "corrigenda"
SUBMITTED_BY = "CORRIGENDA_SUBMITTED_BY"
"""Environment variable of a job: the version of this package that submitted it."""


def require_same_versions() -> None:
    """Look at every node of the cluster that this process is connected to.

    Raises StageError, one line that names the first node with another Python or another version of
    this package than this process, or where another version has submitted the job.
    """
    mine = _versions()
    if (by := os.environ.get(SUBMITTED_BY, mine[PACKAGE])) != mine[PACKAGE]:
        raise StageError(
            f"the job was submitted by {PACKAGE} {by}, and the cluster has {mine[PACKAGE]}. "
            "Install the same version on both sides."
        )
    ask: Any = ray.remote(num_cpus=0, max_retries=0)(_asked())
    asked = {}
    for node in ray.nodes():
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
            asked[ask.options(scheduling_strategy=there).remote()] = node["NodeManagerAddress"]
    answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
    for reference in answered:
        try:
            theirs = ray.get(reference)
        except RayTaskError as error:
            raise StageError(
                f"node {asked[reference]} cannot run a task ({first_line(error)}). Mend it, or "
                "take it out of the cluster."
            ) from error
        except RayError:  # the node is gone, which a run can bear
            continue
        if fault := difference(mine, theirs, asked[reference]):
            raise StageError(fault)


def difference(mine: Mapping[str, str], theirs: Mapping[str, str], node: str) -> str | None:
    """A line on the first thing of which a node has another version; None where all are the same.

    mine, theirs  what it is -> its version here and there; empty where it is not installed
    """
    for name, here in mine.items():
        if theirs[name] != here:
            there = f"{name} {theirs[name]}" if theirs[name] else f"no {name}"
            return (
                f"node {node} has {there}, and the job runs {name} {here}. Install the same "
                "version on all nodes."
            )
    return None


def _versions() -> dict[str, str]:
    """What this process runs."""
    return {"Python": ".".join(platform.python_version_tuple()[:2]), PACKAGE: version(PACKAGE)}


def _asked() -> Callable[[], dict[str, str]]:
    """A function that says what a node runs. It is a local one, which travels by value, so that it
    also runs where this package is not installed."""

    def ask() -> dict[str, str]:
        import platform
        from importlib.metadata import PackageNotFoundError, version

        try:
            installed = version("corrigenda")
        except PackageNotFoundError:
            installed = ""
        python = ".".join(platform.python_version_tuple()[:2])
        return {"Python": python, "corrigenda": installed}

    return ask
