"""A group of processes that torchrun started: rank 0 runs the program, the others wait for work.

The others wait at torchrun's own store, for as long as it takes; while a group works, its processes
are torch.distributed's default process group.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from infra.distributed.group import TIMEOUT_S
from infra.errors import ConfigError, StageError

WAIT = timedelta(days=365)
"""Longest time for which a rank waits for work; torchrun ends it when rank 0 is gone."""
END = "end"


class TorchrunGroup:
    """This process among those that torchrun started together."""

    def __init__(self) -> None:
        """Join the store of the others. Raises ConfigError where torchrun did not start this."""
        if missing := sorted({"RANK", "WORLD_SIZE", "MASTER_ADDR"} - os.environ.keys()):
            raise ConfigError(
                f"this process was not started by torchrun ({', '.join(missing)} not set). Run "
                "`torchrun --nproc-per-node N -m jobs.cli run ...`, or pass another --ray-address."
            )
        from torch import distributed

        self._store, self.rank, self.size = next(iter(distributed.rendezvous("env://")))
        self._num_calls = 0

    def call(self, work: Callable[[], Any], *, backend: str, timeout_s: float = TIMEOUT_S) -> Any:
        """On rank 0: call `work`, picklable, in all processes; return the result of this one.

        Raises what `work` raises here, and StageError where the others do not answer.
        """
        self._store.set(self._key("backend"), f"{backend} {timeout_s}")
        return self._together(work, backend, timeout_s)

    def end(self) -> None:
        """On rank 0: let the others return from `serve`."""
        self._store.set(self._key("backend"), END)

    def serve(self) -> None:
        """On the other ranks: do what rank 0 calls, until it ends. Raises what the work raises."""
        while True:
            key = self._key("backend")
            self._store.wait([key], WAIT)
            told = self._store.get(key).decode()
            if told == END:
                return
            backend, timeout_s = told.split()
            self._together(None, backend, float(timeout_s))

    def _together(self, work: Callable[[], Any] | None, backend: str, timeout_s: float) -> Any:
        """Form the process group, pass on rank 0's work, and do it."""
        from torch import distributed

        with self._process_group(backend, timeout_s):
            try:
                given = [work]
                distributed.broadcast_object_list(given, src=0)
                assert given[0] is not None
                return given[0]()
            except RuntimeError as error:
                raise StageError(
                    f"a group of {self.size} processes failed ({str(error).splitlines()[0]}). What "
                    "was finished is kept: mend the cause (often memory) and run the same command "
                    "again."
                ) from error

    @contextmanager
    def _process_group(self, backend: str, timeout_s: float) -> Iterator[None]:
        """The default process group, for one call. Each has keys of its own in the store."""
        from torch import distributed

        distributed.init_process_group(
            backend,
            store=distributed.PrefixStore(self._key("group"), self._store),
            rank=self.rank,
            world_size=self.size,
            timeout=timedelta(seconds=timeout_s),
        )
        self._num_calls += 1
        try:
            yield
        finally:
            distributed.destroy_process_group()

    def _key(self, name: str) -> str:
        return f"corrigenda/{self._num_calls}/{name}"
