"""One rate limit for a whole cluster: its state is in a Ray actor, which also has the clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import ray

from infra.http.limits.rate_limit import LEASE_S, HostTurns, OnWait, Permit, untold


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class _TurnsActor:
    """Holds the state of the rate limit.

    Every call returns at once and callers wait by themselves, so a caller that dies while it waits
    blocks no other. If the actor's machine dies, the actor starts again elsewhere without a state:
    each host then waits for a full interval, a request may start while an earlier one is still in
    flight, and an earlier permit that is given back has no effect.
    """

    def __init__(self) -> None:
        again = ray.get_runtime_context().was_current_actor_reconstructed
        self.turns = HostTurns(
            after_s=time.monotonic() if again else float("-inf"), last_number=time.time_ns()
        )

    def ask(self, host: str, interval_s: float, lease_s: float) -> Permit | float:
        """A permit if a request may start now, else the seconds after which to ask again."""
        return self.turns.ask(host, interval_s, lease_s, time.monotonic())

    def give_back(self, permit: Permit) -> None:
        """Say that the request is over."""
        self.turns.give_back(permit)

    def pause(self, host: str, seconds: float) -> None:
        """Let no request start at the host for so many seconds from now."""
        self.turns.pause(host, seconds, time.monotonic())


@dataclass(frozen=True)
class RayRateLimit:
    """The rate limit of a cluster. Every pickled copy, in any process, is the same rate limit."""

    actor: Any
    """Handle of the actor that holds the state."""

    @staticmethod
    def start() -> RayRateLimit:
        """Start the actor of a new rate limit."""
        return RayRateLimit(_TurnsActor.remote())

    def take(
        self, host: str, interval_s: float, lease_s: float = LEASE_S, waits: OnWait = untold
    ) -> Permit:
        """Wait until a request may be sent to the host, and return the permit."""
        while True:
            answer: Any = ray.get(self.actor.ask.remote(host, interval_s, lease_s))
            if isinstance(answer, Permit):
                return answer
            with waits(answer):
                time.sleep(answer)

    def give_back(self, permit: Permit) -> None:
        """Say that the request is over."""
        ray.get(self.actor.give_back.remote(permit))

    def pause(self, host: str, seconds: float) -> None:
        """Let no request start at the host for so many seconds from now."""
        ray.get(self.actor.pause.remote(host, seconds))
