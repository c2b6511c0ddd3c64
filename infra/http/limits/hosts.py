"""What one client knows of the hosts that it asks: which have answered, which stayed at fault, and
why requests to one have to wait."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial

from infra.http.faults import ConnectionBroken, HostFault, fault_of_break
from infra.http.limits.rate_limit import RateLimit, turn
from infra.telemetry.metrics import REQUESTS
from infra.telemetry.tally import Tally
from infra.telemetry.waits import Waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """The hosts of one source, by the key that `infra.http.addresses.host_of` returns."""

    source: str
    """Name of the source, which begins every error."""
    rate_limit: RateLimit
    """Gives each exchange its turn at a host."""
    lease_s: float
    """Longest time, in seconds, of one exchange."""
    max_attempts: int
    """Tries of one request while its host is at fault."""
    waits: Waits
    """Tells what is waited for."""
    tally: Tally | None = None
    """Counts the requests by host and status; None counts nothing."""
    paused: dict[str, str] = field(default_factory=dict)
    """Host -> why it was paused last, as a clause that names the address."""
    reached: set[str] = field(default_factory=set)
    """Hosts that have answered."""
    down: set[str] = field(default_factory=set)
    """Hosts that stayed at fault at every try, and did not answer since: further requests to them
    are tried once, so that a host that is down costs its retries once for all its addresses."""

    def turn(self, host: str, interval_s: float) -> AbstractContextManager[None]:
        """Wait until a request may be sent to the host, and keep others from it inside the `with`.

        interval_s  seconds between the starts of two requests to the host
        """
        told = partial(self._told, host, interval_s)
        return turn(self.rate_limit, host, interval_s, self.lease_s, told)

    def _told(self, host: str, interval_s: float, seconds: float) -> AbstractContextManager[None]:
        """Tells a sleep of so many seconds before a request to the host, and the reason."""
        why = f"which is asked every {interval_s:g} s"
        if seconds > interval_s:
            why = f"which asked for a pause: {self.paused.get(host, 'another worker was told so')}"
        return self.waits.told(f"{host}, {why}", seconds)

    def broken(self, host: str, error: ConnectionBroken) -> HostFault:
        """The fault of a connection to the host that broke."""
        self.count(host, "none")
        return fault_of_break(error, reached=host in self.reached)

    def count(self, host: str, status: int | str) -> None:
        """Count a request that the host has answered, or not (`none`)."""
        if self.tally is not None:
            self.tally.add(REQUESTS, host, str(status))

    def answered(self, host: str, fault: HostFault | None) -> HostFault | None:
        """The fault itself, after noting that the host has answered, and whether it is down."""
        self.reached.add(host)
        if fault is None:
            self.down.discard(host)
        return fault

    def pause(self, host: str, fault: HostFault, attempt: int) -> None:
        """Pause all requests to a host that is at fault. After the last try of a request only a
        time that the host names is kept: its other addresses may be in order."""
        if fault.wait_s is not None or not self._is_last(host, fault, attempt):
            self.paused[host] = fault.what
            self.rate_limit.pause(host, fault.pause_s(attempt))

    def give_up(self, host: str, fault: HostFault, attempt: int, seconds: float) -> None:
        """Raises the fault's error if try number `attempt` (0 is the first) was the last one.

        seconds  since the first try began
        """
        if self._is_last(host, fault, attempt):
            self.down.add(host)
            error = fault.lasting(attempt + 1, seconds)
            prefix = f"source {self.source}: "
            raise type(error)(f"{prefix}{str(error).removeprefix(prefix)}")

    def _is_last(self, host: str, fault: HostFault, attempt: int) -> bool:
        """Whether a request is not sent again after try number `attempt`."""
        tries = 1 if host in self.down else fault.tries or self.max_attempts
        return attempt + 1 >= min(self.max_attempts, tries)
