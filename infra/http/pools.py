"""Connection pools of urllib3 whose connections go to allowed addresses only.

The name of a host is resolved here, its address is checked, and the connection goes to that very
address, so the name cannot stand for another machine a moment later. A configured name may lead
into a private network, but not after it has led to the public one. A watchdog timer shuts down a
connection whose headers take too long.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
)

from infra.errors import AddressError
from infra.http.addresses import Reach, check, resolve


def guarded_pools(reach: Reach, deadline_s: float, public: set[str] | None) -> dict[str, Any]:
    """Classes of connection pools by URL scheme. urllib3 takes classes rather than settings, so the
    settings are attributes of classes made here.

    reach       which addresses may be connected to
    deadline_s  longest time, in seconds, until the headers of a response have come
    public      names that have led to the public network, to which more are added; None for a
                proxy, whose name is not checked
    """
    guard = {"reach": reach, "deadline_s": deadline_s, "public": public}
    plain = type("GuardedHTTP", (_GuardedConnection,), guard)
    tls = type("GuardedHTTPS", (_GuardedConnection, HTTPSConnection), guard)
    return {
        "http": type("GuardedPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("GuardedTlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
    }


class _GuardedConnection(HTTPConnection):
    """A connection to an allowed address, on which the headers must come before a deadline."""

    reach: Reach = "any"
    deadline_s = 0.0
    public: set[str] | None = None
    """Names that have led to the public network; None for a proxy, whose name is not checked."""

    def _new_conn(self) -> socket.socket:
        """Resolve the host's name, check its addresses, and connect to the first that accepts."""
        if self.public is None:
            return super()._new_conn()
        name = self._dns_host
        reach: Reach = "public" if name in self.public else self.reach
        try:
            addresses = resolve(name, self.port or 0, reach)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        with suppress(AddressError):
            for address in addresses:
                check(address, "public")
            self.public.add(name)
        failure: HTTPError | None = None
        for address in addresses:
            try:
                self._dns_host = address
                return super()._new_conn()
            except (ConnectTimeoutError, NewConnectionError) as error:
                failure = error
            finally:
                self._dns_host = name
        assert failure is not None
        raise failure

    def getresponse(self) -> Any:
        """The response's headers; the connection is shut down if they take too long."""
        sock = self.sock
        watchdog = start_watchdog(self.deadline_s, lambda: sock.shutdown(socket.SHUT_RDWR))
        try:
            return super().getresponse()
        finally:
            watchdog.cancel()


def start_watchdog(seconds: float, shut_down: Callable[[], None]) -> threading.Timer:
    """Start a timer that calls `shut_down` after so many seconds, unless it is cancelled."""

    def end_connection() -> None:
        with suppress(OSError, ValueError):  # it was closed meanwhile
            shut_down()

    timer = threading.Timer(max(0.0, seconds), end_connection)
    timer.daemon = True
    timer.start()
    return timer
