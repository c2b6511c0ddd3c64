"""The runner that works on Ray: a pool of actors, each with one worker, here or on a cluster."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from infra.errors import StageError
from infra.execution.runner import InProcessRunner, Resources, Runner, set_threads
from infra.http.rate_limit import RateLimit
from infra.http.ray_rate_limit import RayRateLimit

SHARDS_AHEAD = 2
"""Shards that an actor holds at most where an iterator makes them: one to work on while the next is
made. Where all shards exist already it holds one, so that none waits behind a slow one."""
MAX_RESTARTS = 2
"""How often a dead actor is started again, and its shard tried again."""


@contextmanager
def runner_at(address: str | None) -> Iterator[Runner]:
    """The runner for a `--ray-address`. Inside the `with` it is connected to Ray.

    address  `local` or None starts Ray on this machine, `none` runs in this process without Ray,
             anything else is the address of a running cluster

    Raises StageError where Ray cannot be started or reached.
    """
    if address == "none":
        yield InProcessRunner()
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray.init(
            address=address or "local",
            include_dashboard=False if address in (None, "local") else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            namespace="corrigenda",
        )
    except (ConnectionError, RayError, ValueError, RuntimeError) as error:
        token = "AuthToken" in f"{error} {error.__cause__}"
        advice = "Its token is wanted: set RAY_AUTH_MODE=token. " if token else ""
        raise StageError(
            f"no Ray at {address!r} ({str(error).splitlines()[0]}). {advice}Give the address of a "
            "running cluster, `local` to start one here, or `none` to run in this process."
        ) from error
    try:
        yield RayRunner()
    finally:
        ray.shutdown()


@ray.remote(max_restarts=MAX_RESTARTS, max_task_retries=MAX_RESTARTS)
class _Actor:
    """A process with as many threads as CPUs. It keeps the worker that it built last."""

    def __init__(self, num_threads: int) -> None:
        self.num_threads = num_threads
        self.worker: Callable[[Any], Any] | None = None
        self.number = -1
        """Number of the worker that is kept; calls with another number need another worker."""

    def run(self, number: int, make_worker: Callable[[], Callable[[Any], Any]], shard: Any) -> Any:
        """The result of a shard, by the worker of this number, which is built if it is not kept."""
        if self.worker is None or self.number != number:
            self.worker = None  # free the last one before the next is built
            self.worker, self.number = make_worker(), number
            set_threads(self.num_threads)
        return self.worker(shard)


class RayRunner:
    """Runs as many actors as fit into the cluster, and gives each free actor the next shard.

    The actors are kept between calls of `map`. A call that needs the same resources uses the same
    processes, and one with an equal `make_worker` also the workers in them.
    """

    name = "ray"

    def __init__(self) -> None:
        """A runner on the Ray that this process is connected to."""
        self._actors: list[Any] = []
        self._resources = Resources()
        self._make_worker: Callable[[], Callable[[Any], Any]] | None = None
        self._number = 0
        """Number of the last `make_worker`; an actor compares it with that of its worker."""
        self._rate_limit: RayRateLimit | None = None

    def rate_limit(self) -> RateLimit:
        """The rate limit of the whole cluster, started at the first call."""
        if self._rate_limit is None:
            self._rate_limit = RayRateLimit.start()
        return self._rate_limit

    def map(
        self,
        make_worker: Callable[[], Callable[[Any], Any]],
        shards: Iterable[Any],
        *,
        resources: Resources,
    ) -> Iterator[Any]:
        """Yield `make_worker()(shard)` for every shard, in their order.

        Raises a worker's own exception, and StageError where a process dies again and again.
        """
        ahead = 1 if isinstance(shards, Sequence) else SHARDS_AHEAD
        rest = iter(shards)
        first = list(islice(rest, _num_workers(resources)))
        if not first:
            return
        if make_worker != self._make_worker:
            self._make_worker, self._number = make_worker, self._number + 1
        number, made = self._number, ray.put(make_worker)
        whole = False
        try:
            actors = self._actors_for(len(first), resources)
            yield from _in_order(
                lambda actor, shard: actor.run.remote(number, made, shard),
                actors * ahead,
                chain(_pop_each(first), rest),
            )
            whole = True
        except RayTaskError as error:
            cause = error.cause
            while isinstance(cause, RayTaskError):
                cause = cause.cause
            raise cause from error
        except RayError as error:
            raise StageError(
                f"a Ray worker died {MAX_RESTARTS + 1} times ({str(error).splitlines()[0]}). "
                "Finished shards are kept: mend the cause (often memory) and run the same "
                "command again."
            ) from error
        finally:
            if not whole:  # tasks may be left on them
                self._kill_actors()

    def _actors_for(self, wanted: int, resources: Resources) -> list[Any]:
        """So many actors with these resources; actors with other resources are ended first."""
        if resources != self._resources:
            self._kill_actors()
            self._resources = resources
        options = {"num_cpus": resources.num_cpus, "num_gpus": resources.num_gpus}
        while len(self._actors) < wanted:
            self._actors.append(_Actor.options(**options).remote(resources.num_cpus))
        return self._actors[:wanted]

    def _kill_actors(self) -> None:
        """End all actors, and the tasks they may still have."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors.clear()


def _in_order(
    submit: Callable[[Any, Any], Any], free: Sequence[Any], shards: Iterator[Any]
) -> Iterator[Any]:
    """Yield results in the order of the shards; take a shard when an actor is free for it.

    free  the actors, each as many times as it may hold shards
    """
    idle, running, results = deque(free), {}, deque()
    exhausted = False
    while True:
        while results and results[0] not in running:
            yield ray.get(results.popleft())
        if idle and not exhausted:
            try:
                result = submit(idle[0], next(shards))
            except StopIteration:
                exhausted = True
                continue
            running[result] = idle.popleft()
            results.append(result)
            _collect_idle(running, idle, timeout=0)
        elif results:
            _collect_idle(running, idle, timeout=None)
        else:
            return


def _collect_idle(running: dict[Any, Any], idle: deque[Any], timeout: float | None) -> None:
    """Move the actor of a finished shard to the idle ones, waiting `timeout` seconds for one; None
    waits until there is one."""
    if running:
        done, _ = ray.wait(list(running), num_returns=1, timeout=timeout)
        idle.extend(running.pop(result) for result in done)


def _pop_each(items: list[Any]) -> Iterator[Any]:
    """Yield the items in order and remove each from the list, so that its memory can be freed."""
    items.reverse()
    while items:
        yield items.pop()


def _num_workers(resources: Resources) -> int:
    """How many workers fit into the cluster; at least one, for which Ray can wait or scale up."""
    cluster = ray.cluster_resources()
    fit = int(cluster.get("CPU", 1)) // resources.num_cpus
    if resources.num_gpus:
        fit = min(fit, int(cluster.get("GPU", 0) / resources.num_gpus))
    return max(1, min(fit, resources.max_workers or fit))
