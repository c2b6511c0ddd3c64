"""The rate limit of requests to each host, shared by every worker that crawls.

One request at a time is in flight to a host, and the starts of requests are an interval apart,
whichever worker sends them. A worker that may send a request holds a `Permit`. If the worker dies
and does not give the permit back, the permit lapses at the end of its lease. `HostTurns` is the
rule alone, without a clock; `LocalRateLimit` shares one between the threads of this process,
`infra.http.limits.ray_rate_limit.RayRateLimit` between processes and machines.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Protocol

LEASE_S = 180.0
"""Seconds after which a permit that was not given back lapses. Longer than any request of ours."""
POLL_S = 0.05
"""Seconds to wait, at least, while another request is in flight."""


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to send one request to one host."""

    host: str
    number: int
    """Different for every permit of one rate limit."""


OnWait = Callable[[float], AbstractContextManager[None]]
"""Takes the seconds of a sleep; returns the context manager inside of which it is slept."""


def untold(seconds: float) -> AbstractContextManager[None]:
    """The context manager of a sleep of which nobody is told."""
    return nullcontext()


class RateLimit(Protocol):
    """Decides when a request may be sent. `host` is what `infra.http.addresses.host_of` returns."""

    def take(
        self, host: str, interval_s: float, lease_s: float = LEASE_S, waits: OnWait = untold
    ) -> Permit:
        """Wait until a request may be sent to the host, and return the permit.

        That is when no other request is in flight, `interval_s` seconds have passed since the last
        one started (or its own interval, if longer), and no pause lasts.

        lease_s  seconds after which the permit lapses if it is not given back
        waits    called with the seconds of each sleep; gives the context manager around it
        """
        ...

    def give_back(self, permit: Permit) -> None:
        """Say that the request is over. For a permit that lapsed this does nothing."""
        ...

    def pause(self, host: str, seconds: float) -> None:
        """Let no request start at the host for so many seconds from now.

        Of overlapping pauses the one that ends last counts.
        """
        ...


@contextmanager
def turn(
    rate_limit: RateLimit, host: str, interval_s: float, lease_s: float, waits: OnWait = untold
) -> Iterator[None]:
    """Wait for a permit, and hold it while the block runs. Arguments as of `RateLimit.take`."""
    permit = rate_limit.take(host, interval_s, lease_s, waits)
    try:
        yield
    finally:
        rate_limit.give_back(permit)


class HostTurns:
    """The rule of the rate limit. It has no clock and no lock; times are given to it in seconds."""

    def __init__(self, *, after_s: float = float("-inf"), last_number: int = 0) -> None:
        """No host has been visited yet, as far as is known.

        after_s      time before which requests may have started: each host's first one waits for
                     an interval after it
        last_number  greatest number that a permit may have had before; new ones have greater ones
        """
        self._hosts: defaultdict[str, _Host] = defaultdict(partial(_Host, started_s=after_s))
        self._number = last_number

    def ask(self, host: str, interval_s: float, lease_s: float, now_s: float) -> Permit | float:
        """A permit if a request may start at `now_s`, else the seconds after which to ask again."""
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
        """Say that the request is over. For a permit that lapsed this does nothing."""
        state = self._hosts[permit.host]
        if state.holder == permit.number:
            state.holder = None

    def pause(self, host: str, seconds: float, now_s: float) -> None:
        """Let no request start at the host for so many seconds from `now_s`."""
        state = self._hosts[host]
        state.paused_until_s = max(state.paused_until_s, now_s + seconds)


@dataclass(slots=True)
class _Host:
    """The state of one host; times are seconds of the clock that `HostTurns` is given."""

    started_s: float = float("-inf")
    interval_s: float = 0.0
    """Interval that the last request asked for; the next keeps the longer of this and its own."""
    paused_until_s: float = float("-inf")
    holder: int | None = None
    """Number of the permit that is out, or None."""
    lapses_s: float = 0.0
    """When that permit lapses."""


class LocalRateLimit:
    """The rate limit for the threads of this process.

    It cannot be pickled, because a copy would be a second, independent rate limit.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        clock  seconds that only grow
        sleep  waits for so many seconds of that clock
        """
        self._clock, self._sleep = clock, sleep
        self._turns, self._lock = HostTurns(), threading.Lock()

    def take(
        self, host: str, interval_s: float, lease_s: float = LEASE_S, waits: OnWait = untold
    ) -> Permit:
        """Wait until a request may be sent to the host, and return the permit."""
        while True:
            with self._lock:
                answer = self._turns.ask(host, interval_s, lease_s, self._clock())
            if isinstance(answer, Permit):
                return answer
            with waits(answer):
                self._sleep(answer)

    def give_back(self, permit: Permit) -> None:
        """Say that the request is over."""
        with self._lock:
            self._turns.give_back(permit)

    def pause(self, host: str, seconds: float) -> None:
        """Let no request start at the host for so many seconds from now."""
        with self._lock:
            self._turns.pause(host, seconds, self._clock())
