"""The runner that works on Ray: a pool of actors, each with one worker, here or on a cluster."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ObjectStoreFullError, OutOfDiskError, RayError, RayTaskError

from infra.distributed.group import TIMEOUT_S
from infra.errors import ConfigError, StageError
from infra.execution.node_places import require_seen
from infra.execution.node_versions import require_same_versions
from infra.execution.placement import no_room_for_group
from infra.execution.ray_address import no_ray, require_reachable
from infra.execution.ray_dispatch import run_in_order
from infra.execution.ray_pool import Pool, first_line, live_nodes
from infra.execution.runner import InProcessRunner, Resources, Runner, with_threads
from infra.execution.signals import deferred_signals
from infra.execution.torchrun_runner import TORCHRUN, torchrun_runner
from infra.execution.watchdog import watched
from infra.http.limits.rate_limit import RateLimit
from infra.http.limits.ray_rate_limit import RayRateLimit
from infra.telemetry.metrics import Sample
from infra.telemetry.ray_tally import RayTally
from infra.telemetry.tally import Tally

SHARDS_AHEAD = 2
"""Shards that an actor holds at most where an iterator makes them: one to work on while the next is
made. Where all shards exist already it holds one, so that none waits behind a slow one."""


@contextmanager
def runner_at(address: str | None, directory: Path | None = None) -> Iterator[Runner]:
    """The runner for a `--ray-address`. Inside the `with` it is connected to Ray.

    address    `local` or None starts Ray on this machine, which ends with this process, however it
               ends; `none` runs in this process without Ray, and `torchrun` in rank 0 of those
               that torchrun started; anything else is the address of a running cluster
    directory  what all nodes of a cluster have to see; None where nothing is shared

    Raises StageError where Ray cannot be started or reached, and where a node of a cluster has
    other versions or does not see the directory; ConfigError for `torchrun` in a process that it
    did not start.
    """
    if address == "none":
        yield InProcessRunner()
        return
    if address == TORCHRUN:
        with torchrun_runner() as runner:
            yield runner
        return
    place = address or "local"
    if place != "local":
        place = require_reachable(place)
    local = place == "local"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with ExitStack() as stack:
        begin = stack.enter_context(watched()) if local else None
        stack.callback(ray.shutdown)
        with _own_signal_handler():
            _connect(place, address)
        if begin:
            begin(_session_dir())
        else:
            require_same_versions()
            if directory is not None:
                require_seen(directory)
        yield RayRunner(may_grow=not local)


def _connect(place: str, address: str | None) -> None:
    """Start Ray (at `local`), or connect to it; `address` is how the user called the place."""
    try:
        ray.init(
            address=place,
            include_dashboard=False if place == "local" else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            namespace="corrigenda",
        )
    except (ConnectionError, RayError, ValueError, RuntimeError, ImportError) as error:
        if "AuthToken" in f"{error} {error.__cause__}":
            reason = f"{first_line(error)} Its token is wanted: set RAY_AUTH_MODE=token"
        else:
            reason = first_line(error)
        raise no_ray(address or place, reason) from error


def _session_dir() -> Path:
    """Where the Ray that this process started keeps its logs and sockets."""
    from ray._private import worker

    node: Any = worker._global_node
    return Path(node.get_session_dir_path())


@contextmanager
def _own_signal_handler() -> Iterator[None]:
    """Keep this program's handler of SIGTERM in the place of Ray's, which ends in an abort.

    Where the program has none, SIGTERM exits with 143.
    """
    before = signal.getsignal(signal.SIGTERM)
    handler = before if callable(before) else _exit
    try:
        yield
    except SystemExit as stop:
        if stop.code == signal.SIGTERM:  # Ray's handler, while it starts
            handler(signal.SIGTERM, None)
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _exit(number: int, _: object) -> None:
    """Leave by an exception, so that Ray is stopped on the way."""
    raise SystemExit(128 + number)


class RayRunner:
    """Runs as many actors as fit into the cluster, and gives each free actor the next shard.

    The actors are kept between calls of `map`. A call that needs the same resources uses the same
    processes, and one with an equal `make_worker` also the workers in them. What is lost with a
    worker or its node is done by another; the cluster is looked at anew while a call lasts.
    """

    name = "ray"

    def __init__(self, *, may_grow: bool) -> None:
        """A runner on the Ray that this process is connected to.

        may_grow  whether nodes may join it
        """
        self._pool = Pool(may_grow=may_grow)
        self._make_worker: Callable[[], Callable[[Any], Any]] | None = None
        self._number = 0
        """Number of the last `make_worker`; an actor compares it with that of its worker."""
        self._rate_limit: RayRateLimit | None = None
        self._tally: RayTally | None = None

    def rate_limit(self) -> RateLimit:
        """The rate limit of the whole cluster, started at the first call."""
        if self._rate_limit is None:
            self._rate_limit = RayRateLimit.start()
        return self._rate_limit

    def tally(self) -> Tally:
        """The tally of the whole cluster, started at the first call."""
        if self._tally is None:
            self._tally = RayTally.start()
        return self._tally

    def counted(self) -> list[Sample]:
        """What the workers have counted since the last call."""
        return self._tally.take() if self._tally else []

    def map(
        self,
        make_worker: Callable[[], Callable[[Any], Any]],
        shards: Iterable[Any],
        *,
        resources: Resources,
    ) -> Iterator[Any]:
        """Yield `make_worker()(shard)` for every shard, in their order.

        Raises a worker's own exception, and StageError where a process dies again and again, where
        no node can hold a worker, and where Ray's memory is full.
        """
        rest = iter(shards)
        room = self._pool.room(resources)
        first = list(islice(rest, max(room, 1)))
        if not first:
            return
        if make_worker != self._make_worker:
            self._make_worker, self._number = make_worker, self._number + 1
        number = self._number
        whole = False
        try:
            with deferred_signals():
                made = ray.put(make_worker)
            yield from run_in_order(
                self._pool,
                lambda actor, shard: actor.run.remote(number, made, shard),
                chain(_pop_each(first), rest),
                ahead=1 if isinstance(shards, Sequence) else SHARDS_AHEAD,
                most=min(
                    resources.max_workers or float("inf"),
                    len(first) if len(first) < room else float("inf"),
                ),
            )
            whole = True
        except RayTaskError as error:
            cause = error.cause
            while isinstance(cause, RayTaskError):
                cause = cause.cause
            raise _stage_error(cause) if isinstance(cause, RayError) else cause from error
        except RayError as error:
            raise _stage_error(error) from error
        finally:
            if not whole:  # tasks may be left on them
                self._pool.end()

    def group(
        self, work: Callable[[], Any], *, size: int, resources: Resources, folder: Path
    ) -> Any:
        """Call `work` in `size` new processes of the cluster, by Ray Train; return the result of
        rank 0."""
        from infra.distributed.train_group import run_train_group  # slow to import

        self._pool.end()  # its actors hold the CPUs that the group needs
        return run_train_group(
            partial(with_threads, work, resources.num_cpus),
            size=size,
            num_cpus=resources.num_cpus,
            num_gpus=resources.num_gpus,
            folder=folder,
            timeout_s=TIMEOUT_S,
        )

    def require_group(self, size: int, resources: Resources) -> None:
        """Raise ConfigError for a group that this Ray has no room for, where no node may join."""
        fault = no_room_for_group(live_nodes(), resources, size)
        if fault and not self._pool.may_grow:
            raise ConfigError(fault)


def _stage_error(error: RayError) -> StageError:
    """What to say of a fault of Ray itself."""
    full = isinstance(error, ObjectStoreFullError | OutOfDiskError)
    advice = "give Ray more shared memory or disk" if full else "mend the cause"
    return StageError(
        f"Ray failed ({type(error).__name__}: {first_line(error)}). Finished shards are kept: "
        f"{advice} and run the same command again."
    )


def _pop_each(items: list[Any]) -> Iterator[Any]:
    """Yield the items in order and remove each from the list, so that its memory can be freed."""
    items.reverse()
    while items:
        yield items.pop()
