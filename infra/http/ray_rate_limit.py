"""One rate limit for a whole cluster: the turns of turns lives in a Ray actor, times by its
clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import ray

from infra.http.rate_limit import LEASE_S, HostTurns, Permit


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class _TurnsActor:
    """Answers at once, so that one who died while waiting is in nobody's way.

    Should its machine die it comes back with nothing known: a request in flight then may be
    overtaken by one other.
    """

    def __init__(self) -> None:
        self.turns = HostTurns()

    def ask(self, host: str, interval_s: float, lease_s: float) -> Permit | float:
        return self.turns.ask(host, interval_s, lease_s, time.monotonic())

    def give_back(self, permit: Permit) -> None:
        self.turns.give_back(permit)

    def pause(self, host: str, seconds: float) -> None:
        self.turns.pause(host, seconds, time.monotonic())


@dataclass(frozen=True)
class RayRateLimit:
    """The keeper's handle: every copy, in any process of the cluster, is the same rate limit."""

    keeper: Any

    @staticmethod
    def start() -> RayRateLimit:
        return RayRateLimit(_TurnsActor.remote())

    def take(self, host: str, interval_s: float, lease_s: float = LEASE_S) -> Permit:
        while True:
            answer: Any = ray.get(self.keeper.ask.remote(host, interval_s, lease_s))
            if isinstance(answer, Permit):
                return answer
            time.sleep(answer)

    def give_back(self, permit: Permit) -> None:
        ray.get(self.keeper.give_back.remote(permit))

    def pause(self, host: str, seconds: float) -> None:
        ray.get(self.keeper.pause.remote(host, seconds))
