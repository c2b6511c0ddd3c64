"""One HTTP exchange with one host: only to allowed addresses, bounded in time and size.

Connections check the address that a host's name stands for (`infra.http.pools`). Behind a proxy the
proxy resolves names; those that are known here are checked before. The time of an exchange is
bounded as a whole: a server that sends a byte now and then would never let a socket time out, so a
watchdog timer shuts the connection down.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import (
    HTTPError,
    ReadTimeoutError,
)

from infra.errors import AnswerError, HostError, SourceError
from infra.http.addresses import (
    Reach,
    check_number,
    is_loopback,
    origin_of,
    resolve,
    shown,
)
from infra.http.body import BodyDamaged, BodyTooLarge, read_body
from infra.http.faults import BodyUnreadable, ConnectionBroken, ReadTimeout, fault_of_address
from infra.http.pools import guarded_pools, start_watchdog

LIBRARY = f"requests/{requests.__version__}"
"""The HTTP library, as the User-Agent names it."""
CHUNK_BYTES = 2**16
"""Bytes of a body that are read at a time, at most."""


@dataclass(frozen=True, slots=True)
class OpenResponse:
    """A response whose headers have come, and whose body has still to be read."""

    url: str
    """The address that was requested."""
    status: int
    """HTTP status."""
    headers: Mapping[str, str]
    """Names in lower case."""
    chunks: Iterator[bytes]
    """The body as it comes, still compressed. Raises ConnectionBroken, ReadTimeout."""
    shut_down: Callable[[], None]
    """Ends the connection; may be called from another thread."""


class Connection:
    """Sends requests over connections that are kept open, within bounds of time and size."""

    def __init__(
        self,
        *,
        timeout_s: float,
        deadline_s: float,
        max_body_bytes: int,
        show: Callable[[str], str] = shown,
    ) -> None:
        """
        timeout_s       longest time, in seconds, to connect and to wait for the next byte
        deadline_s      longest time, in seconds, of an exchange as a whole
        max_body_bytes  bytes of the largest body, after decompression
        show            how errors show an address
        """
        self.show = show
        self.timeout_s, self.deadline_s = timeout_s, deadline_s
        self.max_body_bytes = max_body_bytes
        self._sessions: dict[tuple[str, Reach], requests.Session] = {}
        self._public: set[str] = set()
        """Names that have led to the public network."""

    @property
    def longest_s(self) -> float:
        """Seconds that an exchange takes at most, connecting included."""
        return self.timeout_s + self.deadline_s

    def close(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            session.close()

    def exchange(
        self, url: str, headers: Mapping[str, str | bytes], reach: Reach, posted: bytes | None
    ) -> tuple[OpenResponse, bytes]:
        """Send a request and read its whole response: status and headers, and the body.

        posted  the body of a POST, whose type `headers` name; None for a GET

        Raises ConnectionBroken and its subclasses, after which another try may succeed. After the
        others it would not: AnswerError for a body that is too large; HostError for an exchange
        that takes too long; AddressError for an address that `reach` does not allow; SourceError
        for a name that does not exist and a certificate that is not valid.
        """
        end_s = time.monotonic() + self.deadline_s
        with self.open(url, headers, reach, posted=posted) as response:
            watchdog = start_watchdog(end_s - time.monotonic(), response.shut_down)
            try:
                coding = response.headers.get("content-encoding", "").strip().lower()
                body = read_body(response.chunks, coding, self.max_body_bytes)
            except BodyTooLarge:
                raise AnswerError(
                    f"{self.show(url)} answers more than {self.max_body_bytes} bytes. "
                    "Ask for less, or raise the cap if the size is right."
                ) from None
            except (ConnectionBroken, BodyDamaged) as error:
                self._check_time(url, end_s)
                if isinstance(error, ConnectionBroken):
                    raise
                text = f"the answer of {self.show(url)} is damaged: {error}"
                raise BodyUnreadable(text) from error
            finally:
                watchdog.cancel()
            self._check_time(url, end_s)  # a body without a length ends where it is cut
            framed = "content-length" in response.headers or "transfer-encoding" in response.headers
            if response.status == 200 and not body and not framed:  # as where headers are cut off
                raise ConnectionBroken(f"the answer of {self.show(url)} broke off: no body")
        return response, body

    @contextmanager
    def open(
        self,
        url: str,
        headers: Mapping[str, str | bytes],
        reach: Reach,
        read_timeout_s: float | None = None,
        posted: bytes | None = None,
    ) -> Generator[OpenResponse, None, None]:
        """Send a request and read the headers of its response; leaving the `with` closes it.

        The caller reads the body and bounds the time of that. Raises as `exchange`.

        read_timeout_s  longest wait for the next byte; None is `timeout_s`
        """
        check_number(url, reach)
        end_s = time.monotonic() + self.deadline_s
        session = self._session(url, reach)
        if reach == "public" and session.trust_env and select_proxy(url, get_environ_proxies(url)):
            _check_name(url)
        try:
            response = session.request(
                "GET" if posted is None else "POST",
                url,
                headers=headers,
                data=posted,
                timeout=(self.timeout_s, read_timeout_s or self.timeout_s),
                stream=True,
                allow_redirects=False,
            )
        except (requests.RequestException, HTTPError) as error:
            self._check_time(url, end_s)
            fault = _cause(error) if isinstance(error, ValueError) else fault_of_address(error)
            if fault is not None:
                text = f"cannot reach {self.show(url)}: {fault}. Check the address."
                raise SourceError(text) from error
            raise ConnectionBroken(f"cannot reach {self.show(url)}: {_cause(error)}") from error
        with response:
            yield OpenResponse(
                url,
                response.status_code,
                {name.lower(): text for name, text in response.headers.items()},
                _chunks(self.show(url), response.raw),
                response.raw.shutdown,
            )

    def _check_time(self, url: str, end_s: float) -> None:
        """Raises HostError if the exchange's deadline has passed."""
        if time.monotonic() >= end_s:
            raise HostError(
                f"{self.show(url)} has not answered in full after {self.deadline_s:g} s. Ask for "
                "less, or run the same command later to continue."
            )

    def _session(self, url: str, reach: Reach) -> requests.Session:
        """The session for a host, which keeps its connections open."""
        key = (origin_of(url), reach)
        if key not in self._sessions:
            session = self._sessions[key] = _Session()
            session.trust_env = not is_loopback(url)  # no proxy to ourselves
            for scheme in ("http://", "https://"):
                session.mount(scheme, _Adapter(reach, self.deadline_s, self._public))
        return self._sessions[key]


def _check_name(url: str) -> None:
    """Raises AddressError for a name that is known here and not public. A name that only the
    proxy can resolve is not checked."""
    parts = urlsplit(url)
    with suppress(socket.gaierror):
        resolve(parts.hostname or "", parts.port or 0, "public")


def _chunks(where: str, raw: Any) -> Iterator[bytes]:
    """The body of a urllib3 response as it comes; `where` names it in errors.

    Raises ReadTimeout, ConnectionBroken.
    """
    try:
        while chunk := raw.read1(CHUNK_BYTES, decode_content=False):
            yield chunk
    except (ReadTimeoutError, TimeoutError) as error:
        raise ReadTimeout(f"the answer of {where} broke off: timed out") from error
    except (requests.RequestException, HTTPError, OSError) as error:
        text = f"the answer of {where} broke off: {_cause(error)}"
        raise ConnectionBroken(text) from error


class _Session(requests.Session):
    """A session that ignores redirects: requests would read the whole body of each."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: the fetcher looks at redirects itself."""
        return None


class _Adapter(HTTPAdapter):
    """Makes guarded connections, without retries, of which the rate limit would not know."""

    def __init__(self, reach: Reach, deadline_s: float, public: set[str]) -> None:
        self.reach: Reach = reach
        self.deadline_s, self.public = deadline_s, public
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools of direct connections guarded ones."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = guarded_pools(
            self.reach, self.deadline_s, self.public
        )

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """The pools of a proxy: bounded in time; the proxy itself may be at any address."""
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = guarded_pools("any", self.deadline_s, None)
        return manager


def _cause(error: BaseException) -> str:
    """Why a request failed, in the fewest words that its exception has for it."""
    text = str(error)
    for words in ("connection refused", "name or service not known", "timed out", "reset by peer"):
        if words in text.lower():
            return words
    return type(error).__name__ if len(text) > 120 else " ".join(text.split())
