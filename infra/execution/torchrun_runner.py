"""The runner of a program that torchrun started in several processes.

Rank 0 runs the program and does alone what is not done by a group; the other ranks wait for groups.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from infra.distributed.torchrun import TorchrunGroup
from infra.errors import ConfigError
from infra.execution.runner import InProcessRunner, Resources, with_threads

TORCHRUN = "torchrun"
"""The `--ray-address` of a program that torchrun started."""


def serve_torchrun() -> bool:
    """On the ranks above 0, do what rank 0 calls until it ends, and return True; on rank 0 return
    False at once.

    Raises ConfigError where torchrun did not start this, and what the work raises.
    """
    if os.environ.get("RANK") == "0":
        return False
    TorchrunGroup().serve()
    return True


@contextmanager
def torchrun_runner() -> Iterator[TorchrunRunner]:
    """The runner of rank 0; at the end of the `with` the other ranks return from
    `serve_torchrun`.

    Raises ConfigError on another rank, whose program has not served, and where torchrun did not
    start this process.
    """
    group = TorchrunGroup()
    if group.rank:
        raise ConfigError(
            f"--ray-address {TORCHRUN} is for `corrigenda run`; this command is one process. Run "
            "it without torchrun."
        )
    try:
        yield TorchrunRunner(group)
    finally:
        group.end()


class TorchrunRunner(InProcessRunner):
    """Runs workers in this process, which is rank 0, and groups in all of torchrun's processes."""

    name = TORCHRUN

    def __init__(self, group: TorchrunGroup) -> None:
        """A runner without a worker yet."""
        super().__init__()
        self._group = group

    def group(
        self, work: Callable[[], Any], *, size: int, resources: Resources, folder: Path
    ) -> Any:
        """Call `work` in all of torchrun's processes; return the result of this one, rank 0."""
        self.require_group(size, resources)
        self._worker = None  # free its model before the group loads its own
        backend = "nccl" if resources.num_gpus else "gloo"
        return self._group.call(partial(with_threads, work, resources.num_cpus), backend=backend)

    def require_group(self, size: int, resources: Resources) -> None:
        """Raise ConfigError for a group of another size than torchrun's."""
        if size != self._group.size:
            raise ConfigError(
                f"edit.workers = {size}, but torchrun started {self._group.size} processes. Set "
                "the one to the other."
            )
