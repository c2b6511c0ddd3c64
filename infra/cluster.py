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
        raise StageError(
            f"no Ray at {address!r} ({str(error).splitlines()[0]}). Give the address of a running "
            "cluster, `local` to start one here, or `none` to run in this process."
        ) from error
    try:
        yield RayRunner()
    finally:
        ray.shutdown()


@ray.remote(max_restarts=MAX_RESTARTS, max_task_retries=MAX_RESTARTS)
class _Actor:
    """A worker in a process of its own, with as many threads as it has CPUs."""

    def __init__(self, make_worker: Callable[[], Callable[[Any], Any]], num_threads: int) -> None:
        self.worker = make_worker()
        set_threads(num_threads)

    def run(self, shard: Any) -> Any:
        return self.worker(shard)


class RayRunner:
    """As many actors as fit into the cluster, shards handed out as actors become free."""

    name = "ray"

    def map(
        self,
        make_worker: Callable[[], Callable[[Any], Any]],
        shards: Sequence[Any],
        *,
        resources: Resources,
    ) -> Iterator[Any]:
        if not shards:
            return
        actors: list[Any] = [
            _Actor.options(num_cpus=resources.num_cpus, num_gpus=resources.num_gpus).remote(
                make_worker, resources.num_cpus
            )
            for _ in range(_num_workers(len(shards), resources))
        ]
        try:
            pool = ActorPool(actors)
            yield from pool.map(lambda actor, shard: actor.run.remote(shard), list(shards))
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
            for actor in actors:
                ray.kill(actor)


def _num_workers(num_shards: int, resources: Resources) -> int:
    """How many workers fit, one at least being asked for so that Ray can wait or scale up."""
    cluster = ray.cluster_resources()
    fit = int(cluster.get("CPU", 1)) // resources.num_cpus
    if resources.num_gpus:
        fit = min(fit, int(cluster.get("GPU", 0) / resources.num_gpus))
    return max(1, min(num_shards, fit, resources.max_workers or num_shards))
