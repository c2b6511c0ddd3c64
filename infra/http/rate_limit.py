"""The rate limit of requests: one for each host, shared by every worker that crawls.

One request is in flight at a host at a time, and starts are an interval apart, whoever makes them.
A turn is a `Permit`; one that is not given back, because its worker died, lapses with its lease.
`HostTurns` is the rule alone, given the time; `LocalRateLimit` shares one between the threads of
this process, `infra.http.ray_rate_limit.RayRateLimit` between processes and machines.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

LEASE_S = 180.0
"""How long a permit counts that is not given back. Longer than any request of ours."""
POLL_S = 0.05
"""How soon to ask again while another's request is in flight and no interval is to be kept."""


@dataclass(frozen=True, slots=True)
class Permit:
    """One turn at one host."""

    host: str
    number: int


class RateLimit(Protocol):
    """Whose turn it is at which host. `host` is a URL's, with its port."""

    def take(self, host: str, interval_s: float, lease_s: float = LEASE_S) -> Permit:
        """Wait for a turn: nobody's request in flight, `interval_s` since the last one started."""
        ...

    def give_back(self, permit: Permit) -> None:
        """The request is over. A permit that lapsed meanwhile changes nothing."""
        ...

    def pause(self, host: str, seconds: float) -> None:
        """No turn at the host before so long from now. The longest pause asked for counts."""
        ...


@contextmanager
def turn(rate_limit: RateLimit, host: str, interval_s: float, lease_s: float) -> Iterator[None]:
    """Holds a permit as long as the block runs."""
    permit = rate_limit.take(host, interval_s, lease_s)
    try:
        yield
    finally:
        rate_limit.give_back(permit)


class HostTurns:
    """Who may start when: no clock and no lock of its own."""

    def __init__(self) -> None:
        self._hosts: defaultdict[str, _Host] = defaultdict(_Host)
        self._number = 0

    def ask(self, host: str, interval_s: float, lease_s: float, now_s: float) -> Permit | float:
        """A permit, or the seconds after which to ask again."""
        state = self._hosts[host]
        start = max(state.started_s + max(interval_s, state.interval_s), state.paused_until_s)
        in_flight = state.holder is not None and now_s < state.lapses_s
        if in_flight or now_s < start:
            return max(start - now_s, POLL_S if in_flight else 0.0)
        self._number += 1
        state.holder, state.lapses_s = self._number, now_s + lease_s
        state.started_s, state.interval_s = now_s, interval_s
        return Permit(host, self._number)

    def give_back(self, permit: Permit) -> None:
        state = self._hosts[permit.host]
        if state.holder == permit.number:
            state.holder = None

    def pause(self, host: str, seconds: float, now_s: float) -> None:
        state = self._hosts[host]
        state.paused_until_s = max(state.paused_until_s, now_s + seconds)


@dataclass(slots=True)
class _Host:
    """What happened last at a host; seconds on the clock of whoever holds the turns."""

    started_s: float = float("-inf")
    interval_s: float = 0.0
    """What the last to start asked for; the next keeps the longer of theirs and its own."""
    paused_until_s: float = float("-inf")
    holder: int | None = None
    lapses_s: float = 0.0


class LocalRateLimit:
    """A rate_limit for the threads of this process. It cannot be pickled: a copy would be a second
    one.

    clock, sleep  seconds that only grow, and waiting on the same clock
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._turns, self._lock = HostTurns(), threading.Lock()

    def take(self, host: str, interval_s: float, lease_s: float = LEASE_S) -> Permit:
        while True:
            with self._lock:
                answer = self._turns.ask(host, interval_s, lease_s, self._clock())
            if isinstance(answer, Permit):
                return answer
            self._sleep(answer)

    def give_back(self, permit: Permit) -> None:
        with self._lock:
            self._turns.give_back(permit)

    def pause(self, host: str, seconds: float) -> None:
        with self._lock:
            self._turns.pause(host, seconds, self._clock())
