"""The Ray runner: a pool of actors, each holding one worker, on a local or a running cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util import ActorPool

from infra.budget import Budget
from infra.cluster_budget import RayBudget
from infra.errors import StageError
from infra.runner import InProcessRunner, Resources, Runner, set_threads

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
        self._budget: RayBudget | None = None

    def budget(self) -> Budget:
        if self._budget is None:
            self._budget = RayBudget.start()
        return self._budget

    def map(
        self,
        make_worker: Callable[[], Callable[[Any], Any]],
        shards: Sequence[Any],
        *,
        resources: Resources,
    ) -> Iterator[Any]:
        if not shards:
            return
        if make_worker != self._make_worker:
            self._make_worker, self._number = make_worker, self._number + 1
        number, made = self._number, ray.put(make_worker)
        whole = False
        try:
            pool = ActorPool(self._hire(len(shards), resources))
            yield from pool.map(lambda actor, s: actor.run.remote(number, made, s), list(shards))
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

    def _hire(self, num_shards: int, resources: Resources) -> list[Any]:
        """Actors for a call; those of other resources make room."""
        if resources != self._resources:
            self._dismiss()
            self._resources = resources
        wanted = _num_workers(num_shards, resources)
        options = {"num_cpus": resources.num_cpus, "num_gpus": resources.num_gpus}
        while len(self._actors) < wanted:
            self._actors.append(_Actor.options(**options).remote(resources.num_cpus))
        return self._actors[:wanted]

    def _dismiss(self) -> None:
        for actor in self._actors:
            ray.kill(actor)
        self._actors.clear()


def _num_workers(num_shards: int, resources: Resources) -> int:
    """How many workers fit, one at least being asked for so that Ray can wait or scale up."""
    cluster = ray.cluster_resources()
    fit = int(cluster.get("CPU", 1)) // resources.num_cpus
    if resources.num_gpus:
        fit = min(fit, int(cluster.get("GPU", 0) / resources.num_gpus))
    return max(1, min(num_shards, fit, resources.max_workers or num_shards))
