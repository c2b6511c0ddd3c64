"""The actors of a Ray runner: started where there is room, dropped when they die."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError

from infra.display import say
from infra.errors import StageError
from infra.execution.placement import Node, no_room, num_fitting
from infra.execution.runner import Resources, set_threads

NODE_WAIT_S = 300.0
"""Longest time, in seconds, that a cluster may take to bring a node that can hold a worker."""
BUSY_S = 30.0
"""Seconds without any worker after which it is said that the cluster is busy."""
MAX_RESTARTS = 2
"""How often workers are started again where none of them comes up."""


@ray.remote(max_restarts=0, max_task_retries=0)
class Actor:
    """A process with as many threads as CPUs. It keeps the worker that it built last."""

    def __init__(self, num_threads: int) -> None:
        """A process that gives each of its workers so many threads."""
        self.num_threads = num_threads
        self.worker: Callable[[Any], Any] | None = None
        self.number = -1
        """Number of the worker that is kept; calls with another number need another worker."""

    def node(self) -> str:
        """Id of the node that the process is on."""
        return ray.get_runtime_context().get_node_id()

    def run(self, number: int, make_worker: Callable[[], Callable[[Any], Any]], shard: Any) -> Any:
        """The result of a shard, by the worker of this number, which is built if it is not kept."""
        if self.worker is None or self.number != number:
            self.worker = None  # free the last one before the next is built
            self.worker, self.number = make_worker(), number
            set_threads(self.num_threads)
        return self.worker(shard)


@dataclass(eq=False, slots=True)
class Worker:
    """An actor that has started."""

    actor: Any
    node: str
    """Id of its node."""
    num_held: int = 0
    """Shards that were given to it and are not finished."""


@dataclass(slots=True)
class Pool:
    """The actors of one runner, all with the same needs; they are kept between calls of `map`."""

    may_grow: bool
    """Whether nodes may join: not where Ray runs on this machine for this process alone."""
    needs: Resources = field(default_factory=Resources)
    workers: list[Worker] = field(default_factory=list)
    starting: dict[Any, Any] = field(default_factory=dict)
    """Actors that have not started yet, by the reference to their node's id."""
    num_failed: int = 0
    """How often in turn all actors that were started died at once."""
    waits_since_s: float | None = None
    """Since when there is no worker; None while there is one."""
    said: set[str] = field(default_factory=set)
    """What was said of this wait."""

    def room(self, needs: Resources) -> int:
        """How many workers with these needs may run now, with those that do; 0 where no node can
        hold one. Actors with other needs are ended first."""
        if needs != self.needs:
            self.end()
        self.needs = needs
        fit = num_fitting(live_nodes(), needs)
        return min(fit, needs.max_workers or fit)

    def grow(self, most: float) -> None:
        """Start as many actors as there is room for, up to `most` in all.

        Raises StageError where no node can hold a worker, none has come in time, or every actor
        dies as it starts.
        """
        for _ in range(int(min(most, self.room(self.needs))) - self.num_actors):
            actor: Any = Actor.options(
                num_cpus=self.needs.num_cpus, num_gpus=self.needs.num_gpus
            ).remote(self.needs.num_cpus)
            self.starting[actor.node.remote()] = actor
        self._say_what_is_awaited()

    @property
    def num_actors(self) -> int:
        """Actors that run or start."""
        return len(self.workers) + len(self.starting)

    def started(self, reference: Any) -> None:
        """Take an actor among the workers, by the reference that is ready; drop it if it died."""
        actor = self.starting.pop(reference)
        try:
            self.workers.append(Worker(actor, ray.get(reference)))
        except RayError as error:
            ray.kill(actor)
            if not self.num_actors:
                self.num_failed += 1
            if self.num_failed > MAX_RESTARTS:
                raise StageError(
                    f"no Ray worker comes up ({first_line(error)}). Finished shards are kept: mend "
                    "the cause (often memory, or a node on which this program is not installed) "
                    "and run the same command again."
                ) from error
            return
        self.num_failed, self.waits_since_s = 0, None
        self.said.clear()

    def drop(self, worker: Worker) -> None:
        """Forget a worker that is lost, and end what may be left of it."""
        if worker in self.workers:
            self.workers.remove(worker)
        with suppress(RayError):
            ray.kill(worker.actor)

    def end(self) -> None:
        """End all actors, and the tasks they may still have."""
        for actor in [*(worker.actor for worker in self.workers), *self.starting.values()]:
            with suppress(RayError):
                ray.kill(actor)
        self.workers.clear()
        self.starting.clear()
        self.waits_since_s = None

    def _say_what_is_awaited(self) -> None:
        """Say on standard error why there is no worker yet, once for each reason."""
        if self.workers:
            return
        now = time.monotonic()
        self.waits_since_s = self.waits_since_s or now
        waited = now - self.waits_since_s
        nodes = live_nodes()
        if num_fitting(nodes, self.needs):
            if waited > BUSY_S:
                self._say(f"waiting for {self.needs.num_cpus} CPUs of one node: others use them")
            return
        missing = no_room(nodes, self.needs)
        if not self.may_grow or waited > NODE_WAIT_S:
            since = f", also after {NODE_WAIT_S:.0f} s" if self.may_grow else ""
            raise StageError(
                f"{missing}{since}. Lower `threads` in [model] or [edit] or set `device` of "
                "[model] to what a node has, or give a cluster with a larger node; finished shards "
                "are kept."
            )
        self._say(f"{missing}; waiting up to {NODE_WAIT_S:.0f} s for a larger one")

    def _say(self, line: str) -> None:
        """Print a line, unless it was printed since this wait began."""
        if line not in self.said:
            self.said.add(line)
            say(f"ray: {line}", file=sys.stderr)


def live_nodes() -> list[Node]:
    """The nodes that workers can be started on now: alive, and not being drained."""
    draining = _draining()
    return [
        Node(cpus=node["Resources"].get("CPU", 0.0), gpus=node["Resources"].get("GPU", 0.0))
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in draining
    ]


def is_alive(node_id: str) -> bool:
    """Whether the cluster takes a node for alive; one that was killed, for some seconds too."""
    return any(node["Alive"] for node in ray.nodes() if node["NodeID"] == node_id)


def first_line(error: BaseException) -> str:
    """The first line of an error's message; with the next, where it only announces that."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    num_lines = 2 if lines and lines[0].endswith(":") else 1
    return " ".join(lines[:num_lines]) or type(error).__name__


def _draining() -> set[str]:
    """Ids of the nodes that are being drained; through a Ray Client server they are not known, and
    an actor that is meant for one waits."""
    from ray._private.state import state
    from ray.util.client import ray as client

    return set() if client.is_connected() else set(state.get_draining_nodes())
