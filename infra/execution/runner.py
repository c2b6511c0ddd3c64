"""Where code runs is decided here and nowhere else: in this process, or on Ray.

A stage hands a `Runner` a function that builds a worker, and shards for the worker to take. Both
runners give the worker the same number of threads and return results in shard order, so the same
bytes come out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from infra.http.rate_limit import LocalRateLimit, RateLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one worker needs."""

    num_cpus: int = 1
    """Threads of a worker. Part of the result: sums of floats depend on how they are divided."""
    num_gpus: float = 0.0
    max_workers: int | None = field(default=None, compare=False)
    """Upper bound on workers at a time; None is as many as fit."""


class Runner(Protocol):
    """Maps shards to results through workers that are built once a process."""

    name: str

    def map(
        self,
        make_worker: Callable[[], Callable[[Any], Any]],
        shards: Iterable[Any],
        *,
        resources: Resources,
    ) -> Iterator[Any]:
        """Yield `make_worker()(shard)` for every shard, in order.

        Shards are taken as workers come to need them, so that an iterator of large ones is never
        held in memory as a whole. What it raises is raised here.

        `make_worker` and shards are picklable; a `make_worker` equal to the last one may find its
        worker built, state and all. A shard may run twice after a fault, so workers are
        idempotent. The worker's own exception is raised here, after which nothing more runs.
        """
        ...

    def rate_limit(self) -> RateLimit:
        """The one rate limit of requests of this runner's workers, which goes to them with the
        work."""
        ...


class InProcessRunner:
    """One worker, in this process, one shard after the other; kept while it is asked for again."""

    name = "in-process"

    def __init__(self) -> None:
        self._make_worker: Callable[[], Callable[[Any], Any]] | None = None
        self._worker: Callable[[Any], Any] | None = None
        self._rate_limit = LocalRateLimit()

    def rate_limit(self) -> RateLimit:
        return self._rate_limit

    def map(
        self,
        make_worker: Callable[[], Callable[[Any], Any]],
        shards: Iterable[Any],
        *,
        resources: Resources,
    ) -> Iterator[Any]:
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


def set_threads(num_threads: int) -> None:
    """Give torch this many threads, where the worker uses torch; others are spared its import."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(num_threads)
