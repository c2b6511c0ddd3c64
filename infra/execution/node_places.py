"""Whether all nodes of a cluster see the directory that a run works in."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

from infra.errors import StageError, reason
from infra.execution.nodes import ask_nodes
from infra.files.atomic import Flush, make_directory


def require_seen(directory: Path) -> None:
    """Write a file into a directory, and look for it on every node of the cluster that this process
    is connected to. The directory is made where it is not there.

    Raises StageError, one line that names the first node that does not see it: its mount is
    missing, or is another disk under the same path.
    """
    mark = directory.absolute() / f".{uuid.uuid4().hex}.tmp"
    try:
        make_directory(directory, flush=Flush.NOTHING)
        mark.touch()
    except OSError as error:
        raise StageError(
            f"cannot write {directory}: {reason(error)}. Give a workspace that can be written."
        ) from error
    try:
        for node, sees in ask_nodes(_asked(str(mark))):
            if not sees:
                raise StageError(
                    f"node {node} does not see {mark.parent}, which this run works in. Mount the "
                    "same disk there on all nodes, or take the node out of the cluster."
                )
    finally:
        mark.unlink(missing_ok=True)


def _asked(mark: str) -> Callable[[], bool]:
    """A function that says whether a node sees a file, soon: a network mount may take a moment."""

    def ask() -> bool:
        import os
        import time

        for _ in range(20):
            if os.path.exists(mark):
                return True
            time.sleep(0.1)
        return False

    return ask
