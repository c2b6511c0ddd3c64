"""The Ray runner: a pool of actors, each holding one worker, on a local or a running cluster."""

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
"""Shards an actor has been given at most, of those that are made while it works: one to go on with
while the next is made. Of shards that are all there, one: then none waits behind a slow one."""
MAX_RESTARTS = 2
"""How often a dead actor comes back, and a shard that was on it is tried again."""


@contextmanager
def runner_at(address: str | None) -> Iterator[Runner]:
    """The runner for `--ray-address`: `local` starts Ray on this machine, `none` does without it,
    anything else joins the cluster there.
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
    """A process with as many threads as it has CPUs; holds the worker it was asked for last."""

    def __init__(self, num_threads: int) -> None:
        self.num_threads = num_threads
        self.worker: Callable[[Any], Any] | None = None
        self.number = -1

    def run(self, number: int, make_worker: Callable[[], Callable[[Any], Any]], shard: Any) -> Any:
        if self.worker is None or self.number != number:
            self.worker = None  # free the last one before the next is built
            self.worker, self.number = make_worker(), number
            set_threads(self.num_threads)
        return self.worker(shard)


class RayRunner:
    """As many actors as fit into the cluster, shards handed out as actors become free.

    The actors outlive a call: the next one that needs the same resources finds its processes warm,
    and one with an equal `make_worker` its workers built.
    """

    name = "ray"

    def __init__(self) -> None:
        self._actors: list[Any] = []
        self._resources = Resources()
        self._make_worker: Callable[[], Callable[[Any], Any]] | None = None
        self._number = 0
        """Of the worker last asked for; actors compare it."""
        self._rate_limit: RayRateLimit | None = None

    def rate_limit(self) -> RateLimit:
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
            actors = self._hire(len(first), resources)
            yield from _in_order(
                lambda actor, shard: actor.run.remote(number, made, shard),
                actors * ahead,
                chain(_drained(first), rest),
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
                self._dismiss()

    def _hire(self, wanted: int, resources: Resources) -> list[Any]:
        """Actors for a call; those of other resources make room."""
        if resources != self._resources:
            self._dismiss()
            self._resources = resources
        options = {"num_cpus": resources.num_cpus, "num_gpus": resources.num_gpus}
        while len(self._actors) < wanted:
            self._actors.append(_Actor.options(**options).remote(resources.num_cpus))
        return self._actors[:wanted]

    def _dismiss(self) -> None:
        for actor in self._actors:
            ray.kill(actor)
        self._actors.clear()


def _in_order(
    submit: Callable[[Any, Any], Any], free: Sequence[Any], shards: Iterator[Any]
) -> Iterator[Any]:
    """Results in the order of the shards, a shard being taken when an actor is free for it.

    free  the actors, each as often as it may be given a shard ahead
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
            _free(running, idle, timeout=0)
        elif results:
            _free(running, idle, timeout=None)
        else:
            return


def _free(running: dict[Any, Any], idle: deque[Any], timeout: float | None) -> None:
    """Move the actors of finished shards to the idle ones; without a time-out, wait for one."""
    if running:
        done, _ = ray.wait(list(running), num_returns=1, timeout=timeout)
        idle.extend(running.pop(result) for result in done)


def _drained(items: list[Any]) -> Iterator[Any]:
    """The items, none of which is kept."""
    items.reverse()
    while items:
        yield items.pop()


def _num_workers(resources: Resources) -> int:
    """How many workers fit, one at least being asked for so that Ray can wait or scale up."""
    cluster = ray.cluster_resources()
    fit = int(cluster.get("CPU", 1)) // resources.num_cpus
    if resources.num_gpus:
        fit = min(fit, int(cluster.get("GPU", 0) / resources.num_gpus))
    return max(1, min(fit, resources.max_workers or fit))
