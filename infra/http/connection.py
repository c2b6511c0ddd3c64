"""One exchange with one host: connected only where we may be led, over in time, bounded.

The name of a host that is not the configured one is resolved here and connected to by the number
that was checked, so that it cannot mean another machine a moment later. Behind a proxy, names are
the proxy's business. Time is bounded as a whole, for a server that sends a byte now and then never
lets a socket time out: a watchdog shuts the connection down.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)

from infra.errors import AnswerError, SourceError
from infra.http.addresses import Reach, check_number, host_of, is_loopback, resolve
from infra.http.body import Damaged, Oversize, unpack

LIBRARY = f"requests/{requests.__version__}"
CHUNK_BYTES = 2**16


class Broken(Exception):
    """An exchange failed in a way that another try may not: unreachable, or broken off."""


class Garbled(Broken):
    """The body came whole, and is not what its headers say."""


class Silent(Broken):
    """Nothing came for too long."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response of which the headers are in."""

    url: str
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    chunks: Iterator[bytes]
    """The body as it comes, still encoded. Raises Broken."""
    hang_up: Callable[[], None]
    """Ends the body from another thread."""


class Connection:
    """Connections that are kept open, and the bounds of an exchange.

    timeout_s       longest silence, and longest wait for a connection
    deadline_s      longest time of an exchange as a whole
    max_body_bytes  longest body, unpacked
    """

    def __init__(self, *, timeout_s: float, deadline_s: float, max_body_bytes: int) -> None:
        self.timeout_s, self.deadline_s = timeout_s, deadline_s
        self.max_body_bytes = max_body_bytes
        self._sessions: dict[tuple[str, Reach], requests.Session] = {}

    @property
    def longest_s(self) -> float:
        """How long an exchange may take at most, connecting included."""
        return self.timeout_s + self.deadline_s

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()

    def ask(
        self, url: str, headers: Mapping[str, str | bytes], reach: Reach, posted: Any = None
    ) -> tuple[Reply, bytes]:
        """A whole exchange, a POST where there is a JSON value for it.

        Raises Broken; AnswerError for a body over its bound, SourceError for a time over its own,
        AddressError for what is out of reach.
        """
        end_s = time.monotonic() + self.deadline_s
        with self.open(url, headers, reach, posted=posted) as reply:
            watchdog = _watch(end_s - time.monotonic(), reply.hang_up)
            try:
                coding = reply.headers.get("content-encoding", "").strip().lower()
                body = unpack(reply.chunks, coding, self.max_body_bytes)
            except Oversize:
                raise AnswerError(
                    f"{url} answers more than {self.max_body_bytes} bytes. "
                    "Ask for less, or raise the cap if the size is right."
                ) from None
            except (Broken, Damaged) as error:
                self._check_time(url, end_s)
                if isinstance(error, Broken):
                    raise
                raise Garbled(f"the answer of {url} is damaged: {error}") from error
            finally:
                watchdog.cancel()
            self._check_time(url, end_s)  # a body without a length ends where it is cut
            framed = "content-length" in reply.headers or "transfer-encoding" in reply.headers
            if reply.status == 200 and not body and not framed:  # as where headers are cut off
                raise Broken(f"the answer of {url} broke off: no body")
        return reply, body

    @contextmanager
    def open(
        self,
        url: str,
        headers: Mapping[str, str | bytes],
        reach: Reach,
        read_timeout_s: float | None = None,
        posted: Any = None,
    ) -> Generator[Reply, None, None]:
        """An exchange up to its headers; the body is the caller's, its time too."""
        check_number(url, reach)
        end_s = time.monotonic() + self.deadline_s
        try:
            response = self._session(url, reach).request(
                "GET" if posted is None else "POST",
                url,
                headers=headers,
                json=posted,
                timeout=(self.timeout_s, read_timeout_s or self.timeout_s),
                stream=True,
                allow_redirects=False,
            )
        except (requests.RequestException, HTTPError) as error:
            self._check_time(url, end_s)
            text = f"cannot reach {url}: {_cause(error)}"
            if isinstance(error, (ValueError, requests.exceptions.SSLError)):
                raise SourceError(f"{text}. Check the address.") from error
            raise Broken(text) from error
        with response:
            yield Reply(
                url,
                response.status_code,
                {name.lower(): text for name, text in response.headers.items()},
                _chunks(url, response.raw),
                response.raw.shutdown,
            )

    def _check_time(self, url: str, end_s: float) -> None:
        if time.monotonic() >= end_s:
            raise SourceError(
                f"{url} has not answered in full after {self.deadline_s:g} s. Ask for less, or "
                "run the same command later to continue."
            )

    def _session(self, url: str, reach: Reach) -> requests.Session:
        key = (host_of(url), reach)
        if key not in self._sessions:
            session = self._sessions[key] = _Session()
            session.trust_env = not is_loopback(url)  # no proxy to ourselves
            for scheme in ("http://", "https://"):
                session.mount(scheme, _Adapter(reach, self.deadline_s))
        return self._sessions[key]


def _chunks(url: str, raw: Any) -> Iterator[bytes]:
    try:
        while chunk := raw.read1(CHUNK_BYTES, decode_content=False):
            yield chunk
    except (ReadTimeoutError, TimeoutError) as error:
        raise Silent(f"the answer of {url} broke off: timed out") from error
    except (requests.RequestException, HTTPError, OSError) as error:
        raise Broken(f"the answer of {url} broke off: {_cause(error)}") from error


def _watch(seconds: float, shut: Callable[[], None]) -> threading.Timer:
    """Calls `shut` after so long unless it is cancelled."""

    def bite() -> None:
        with suppress(OSError, ValueError):  # closed meanwhile
            shut()

    timer = threading.Timer(max(0.0, seconds), bite)
    timer.daemon = True
    timer.start()
    return timer


class _Guarded(HTTPConnection):
    """A connection that goes where it may and whose headers come in time."""

    reach: Reach = "any"
    watch_s = 0.0

    def _new_conn(self) -> socket.socket:
        if self.reach == "any":
            return super()._new_conn()
        name = self._dns_host
        try:
            addresses = resolve(name, self.port or 0, self.reach)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
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
        sock = self.sock
        watchdog = _watch(self.watch_s, lambda: sock.shutdown(socket.SHUT_RDWR))
        try:
            return super().getresponse()
        finally:
            watchdog.cancel()


class _Session(requests.Session):
    """Looks at no redirect by itself: it would read the whole body of one, however large."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class _Adapter(HTTPAdapter):
    """Guarded connections, and no tries that the rate limit does not know of."""

    def __init__(self, reach: Reach, watch_s: float) -> None:
        self.reach: Reach = reach
        self.watch_s = watch_s
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _pools(self.reach, self.watch_s)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _pools("any", self.watch_s)
        return manager


def _pools(reach: Reach, watch_s: float) -> dict[str, Any]:
    """urllib3 takes classes, not settings: these carry ours."""
    guard = {"reach": reach, "watch_s": watch_s}
    plain = type("GuardedHTTP", (_Guarded,), guard)
    tls = type("GuardedHTTPS", (_Guarded, HTTPSConnection), guard)
    return {
        "http": type("GuardedPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("GuardedTlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
    }


def _cause(error: BaseException) -> str:
    """The plainest words for why a request failed, out of the exceptions' chain."""
    text = str(error)
    for words in ("connection refused", "name or service not known", "timed out", "reset by peer"):
        if words in text.lower():
            return words
    return type(error).__name__ if len(text) > 120 else " ".join(text.split())
