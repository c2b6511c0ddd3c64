"""The `Runner` protocol, and the runner that works in this process (`ray_runner` has the other).

A stage gives a runner a function that builds a worker, and the shards of its work. The worker is
called with each shard. Every runner gives a worker the same number of threads and returns results
in shard order, so all of them give the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

from infra.errors import ConfigError
from infra.http.limits.rate_limit import LocalRateLimit, RateLimit
from infra.telemetry.metrics import Sample
from infra.telemetry.tally import LocalTally, Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one worker needs of a machine."""

    num_cpus: int = 1
    """CPUs and threads of a worker. They change results: rounding depends on how sums are split."""
    num_gpus: float = 0.0
    """GPUs of a worker; a fraction shares one."""
    max_workers: int | None = field(default=None, compare=False)
    """Upper bound on the workers that run at a time; None is as many as fit."""


class Runner(Protocol):
    """Maps shards to results, by workers that are built once a process."""

    name: str
    """For records: `in-process`, `ray` or `torchrun`."""

    def map(
        self,
        make_worker: Callable[[], Callable[[Any], Any]],
        shards: Iterable[Any],
        *,
        resources: Resources,
    ) -> Iterator[Any]:
        """Yield `make_worker()(shard)` for every shard, in their order.

        A shard is taken from `shards` when a worker needs it, so an iterator of large shards is
        never in memory as a whole.

        `make_worker` and shards are picklable. Where `make_worker` equals that of the last call,
        the worker of that call may be used again, with its state. After a fault of a process a
        shard may run a second time, so workers must be idempotent. An exception of a worker or of
        the iterator `shards` is raised here, and no further shard starts.
        """
        ...

    def group(
        self, work: Callable[[], Any], *, size: int, resources: Resources, folder: Path
    ) -> Any:
        """Call `work` in `size` processes at once, which are torch.distributed's default process
        group; return the result of rank 0.

        work    picklable; it may be called again in new processes after one has died, so it must be
                idempotent
        folder  directory that all processes see, which is there for a while; a runner may keep
                files of a few bytes in it

        Raises the error of ours that a process raised, and StageError where a process dies or does
        not answer in time.
        """
        ...

    def require_group(self, size: int, resources: Resources) -> None:
        """Raise ConfigError where this runner can never call a group of `size` processes."""
        ...

    def rate_limit(self) -> RateLimit:
        """The rate limit that all workers of this runner share; stages put it into their shards'
        worker."""
        ...

    def tally(self) -> Tally:
        """Where all workers of this runner count; stages put it into their shards' worker."""
        ...

    def counted(self) -> list[Sample]:
        """What the workers have counted since the last call."""
        ...


class InProcessRunner:
    """Runs one worker in this process, one shard after the other.

    The worker is kept for the next call with an equal `make_worker`.
    """

    name = "in-process"

    def __init__(self) -> None:
        """A runner without a worker yet."""
        self._make_worker: Callable[[], Callable[[Any], Any]] | None = None
        self._worker: Callable[[Any], Any] | None = None
        self._rate_limit = LocalRateLimit()
        self._tally = LocalTally()

    def rate_limit(self) -> RateLimit:
        """The rate limit of this process."""
        return self._rate_limit

    def tally(self) -> Tally:
        """The tally of this process."""
        return self._tally

    def counted(self) -> list[Sample]:
        """What was counted since the last call."""
        return self._tally.take()

    def map(
        self,
        make_worker: Callable[[], Callable[[Any], Any]],
        shards: Iterable[Any],
        *,
        resources: Resources,
    ) -> Iterator[Any]:
        """Yield `make_worker()(shard)` for every shard, in their order."""
        worker = None
        for shard in shards:
            if worker is None:
                if self._worker is None or make_worker != self._make_worker:
                    self._worker = None  # free the last one before the next is built
                    self._worker, self._make_worker = make_worker(), make_worker
                worker = self._worker
                set_threads(resources.num_cpus)
            yield worker(shard)
            del shard  # the next one may be large too

    def group(
        self, work: Callable[[], Any], *, size: int, resources: Resources, folder: Path
    ) -> NoReturn:
        """Raise ConfigError: this process is none of a group."""
        raise no_group(size)

    def require_group(self, size: int, resources: Resources) -> None:
        """Raise ConfigError for a group of more than this process."""
        if size > 1:
            raise no_group(size)


def no_group(size: int) -> ConfigError:
    """The error for a group where there is one process."""
    return ConfigError(
        f"edit.workers = {size}, and --ray-address none is one process without a group. Use Ray, "
        f"or run `torchrun --nproc-per-node {size} -m jobs.cli run ... --ray-address torchrun`."
    )


def set_threads(num_threads: int) -> None:
    """Set the number of torch's threads, if torch has been imported in this process."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(num_threads)


def with_threads(work: Callable[[], Any], num_threads: int) -> Any:
    """Call `work` with so many of torch's threads."""
    set_threads(num_threads)
    return work()
