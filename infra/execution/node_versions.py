"""Whether all nodes of a cluster run the same Python and the same version of this package.

Values travel between processes as pickles, and two versions may read one setting in two ways.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version

from infra.errors import StageError
from infra.execution.nodes import ask_nodes

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
    for node, theirs in ask_nodes(_asked()):
        if fault := difference(mine, theirs, node):
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
    """A function that says what a node runs."""

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
