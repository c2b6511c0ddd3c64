"""Giving shards to the workers of a pool, and the shards of a lost worker to another."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import (
    ActorUnschedulableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    WorkerCrashedError,
)

from infra.errors import StageError
from infra.execution.ray_pool import Pool, Worker, first_line, is_alive
from infra.execution.signals import deferred_signals

CHECK_S = 5.0
"""Seconds after which the cluster is looked at again, while there is something to wait for."""
WAIT_S = 1.0
"""Longest time, in seconds, for which a signal is kept back while results are waited for."""
MAX_RETRIES = 2
"""How often a shard is tried again whose worker died on a node that lives on."""
VERDICT_S = 30.0
"""Longest time, in seconds, that a cluster takes to find out that a node is dead."""
LOST = (
    ActorUnschedulableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    WorkerCrashedError,
)
"""What Ray raises for a task whose process or node died, or whose result went with its node."""


@dataclass(slots=True)
class _Task:
    """A shard on its way."""

    position: int
    shard: Any
    """Reference to the shard, in the store of this process's node."""
    lost_on: list[str] = field(default_factory=list)
    """Ids of the nodes on which its workers died."""


def run_in_order(
    pool: Pool,
    submit: Callable[[Any, Any], Any],
    shards: Iterator[Any],
    *,
    ahead: int,
    most: float,
) -> Iterator[Any]:
    """Yield the results in the order of the shards; take a shard when a worker is free for it.

    submit  gives an actor the reference to a shard and returns the reference to the result
    ahead   shards that a worker may hold
    most    upper bound on the workers

    Raises RayTaskError for a worker's own exception, and StageError where a shard's workers die
    again and again.
    """
    running: dict[Any, tuple[_Task, Worker]] = {}
    lost: deque[_Task] = deque()
    results: dict[int, Any] = {}
    num_taken, num_yielded, looked_s = 0, 0, float("-inf")
    exhausted = False
    while True:
        while num_yielded in results:
            yield results.pop(num_yielded)
            num_yielded += 1
        if exhausted and not running and not lost:
            return
        if time.monotonic() - looked_s >= CHECK_S:
            with deferred_signals():
                pool.grow(len(running) + len(lost) if exhausted else most)
            looked_s = time.monotonic()
        worker = _free(pool, ahead, most)
        task = None
        if worker and lost:
            task = lost.popleft()
        elif worker and not exhausted:
            try:
                shard = next(shards)
            except StopIteration:
                exhausted = True
                continue
            with deferred_signals():
                task = _Task(num_taken, ray.put(shard))
            num_taken += 1
        if worker and task:
            with deferred_signals():
                running[submit(worker.actor, task.shard)] = task, worker
            worker.num_held += 1
        for done in _wait([*running, *pool.starting], timeout_s=0.0 if task else WAIT_S):
            if done in pool.starting:
                with deferred_signals():
                    pool.started(done)
                continue
            task, worker = running.pop(done)
            worker.num_held -= 1
            try:
                with deferred_signals():
                    results[task.position] = ray.get(done)
            except LOST as error:
                pool.drop(worker)
                task.lost_on.append(worker.node)
                _require_chance(task, error)
                lost.append(task)
                looked_s = float("-inf")


def _free(pool: Pool, ahead: int, most: float) -> Worker | None:
    """The worker that holds fewest shards, if it may hold another."""
    workers = pool.workers[: int(min(most, len(pool.workers)))]
    worker = min(workers, key=lambda worker: worker.num_held, default=None)
    return worker if worker and worker.num_held < ahead else None


def _wait(references: list[Any], timeout_s: float) -> list[Any]:
    """Those of the references that are ready; at least one, unless the time is over before."""
    if not references:
        time.sleep(timeout_s)
        return []
    with deferred_signals():
        ready, _ = ray.wait(references, num_returns=1, timeout=timeout_s)
    return ready


def _require_chance(task: _Task, error: RayError) -> None:
    """Raise StageError where the shard's workers died too often on nodes that live.

    A node that was killed counts as alive until the cluster knows; so the last word waits for that.
    """
    end = time.monotonic() + VERDICT_S
    while sum(map(is_alive, task.lost_on)) > MAX_RETRIES:
        if time.monotonic() > end:
            raise StageError(
                f"a Ray worker died {MAX_RETRIES + 1} times at one shard ({first_line(error)}). "
                "Finished shards are kept: mend the cause (often memory) and run the same command "
                "again."
            ) from error
        time.sleep(1.0)
