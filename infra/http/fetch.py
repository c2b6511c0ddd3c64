"""Fetch the response to one request, through redirects and retries.

Each exchange, redirects included, is allowed by robots.txt, waits for its turn at the host, and
goes to no private address unless the operator configured it. It is tried again where the connection
breaks. Where the host is busy, all requests to it that share the rate limit pause, and then this
one is tried again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urldefrag, urljoin

from infra.errors import AddressError, AnswerError, RobotsError, SourceError
from infra.http.addresses import Reach, check_number, host_of, is_loopback
from infra.http.connection import BodyUnreadable, Connection, ConnectionBroken, OpenResponse
from infra.http.rate_limit import RateLimit, turn
from infra.http.response import Response, retry_after_s
from infra.http.robots import Robots

STREAM_TYPE = "text/event-stream"
"""Media type of server-sent events."""
BACKOFF_S = 5.0
"""Seconds of the first pause for a busy host that names no time; doubled at each further try."""
MAX_BACKOFF_S = 300.0
"""Seconds of the longest such pause; a server may ask for a longer one."""
MAX_WAIT_S = 86_400.0
"""Seconds of the longest pause that a server is granted; if it asks for more, the request fails."""
MAX_REDIRECTS = 5
"""Redirects of one request at most; RFC 9309 section 2.3.1.2 asks crawlers to follow five."""
MAX_BREAKS = 2
"""How often an exchange is tried again after its connection broke."""
BREAK_PAUSE_S = 0.2
"""Seconds of the host's pause after the first broken connection; doubled after the second."""


@dataclass(frozen=True, slots=True)
class Request:
    """An address to request, and how to treat the answers."""

    url: str
    """The address as configured, which the response is filed under."""
    at: str
    """The address that serves it now."""
    home: str
    """URL of the host that the operator configured, which may be at a private address."""
    headers: Mapping[str, str | bytes] = field(default_factory=dict)
    """Sent besides the fetcher's headers; of the same names these count."""
    allow: Collection[int] = ()
    """Statuses other than 200 that are returned instead of raised."""
    busy: tuple[int, ...] = (429, 503)
    """Statuses that mean: try again later."""
    again: Callable[[Response], float | None] = lambda response: None
    """Seconds to wait before the request is tried again, or None if the response is good."""
    posted: Any = None
    """A JSON value to POST; a POST is neither retried nor redirected."""
    cross_host: bool = False
    """Whether redirects to other hosts are followed."""
    obeys_robots: bool = True
    """Whether robots.txt applies, if the fetcher has rules at all; not to a robots.txt itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """Fetches the requests of one source."""

    source: str
    """Name of the source, which begins every error."""
    headers: Mapping[str, str | bytes]
    """Sent with every request."""
    connection: Connection
    rate_limit: RateLimit
    """Gives each exchange its turn at a host."""
    robots: Robots | None
    """Rules of the sites; None fetches whatever they say."""
    clock: Callable[[], float]
    """Seconds since 1970."""
    min_interval_s: float
    """Seconds between the starts of two exchanges with one host."""
    max_attempts: int
    """Tries of one request while its host is busy."""

    def fetch(self, request: Request, stored: Response | None) -> Response:
        """The response to a request, tried again while the host is busy.

        stored  an earlier response to the same request, returned where the server answers 304

        Raises SourceError, and AnswerError, AddressError and RobotsError, which are kinds of it.
        """
        for attempt in range(self.max_attempts):
            response, at = self._follow(request, attempt)
            if response.status in request.busy:
                continue
            if response.status == 304 and stored is not None:
                response = replace(stored, fetched_at=response.fetched_at, revalidated=True)
            elif response.status != 200 and response.status not in request.allow:
                raise SourceError(
                    f"source {self.source}: {at} answers HTTP {response.status} "
                    f"({response.excerpt}). Check the address and the id."
                )
            wait = request.again(response)
            if wait is None:
                return response
            self.rate_limit.pause(host_of(at), max(wait, _backoff_s(attempt)))
        raise self._too_busy(request.at)

    def _follow(self, request: Request, attempt: int) -> tuple[Response, str]:
        """Follow redirects to the response at their end; that response and its address."""
        at, seen = request.at, list[str]()
        while True:
            seen.append(at)
            response, body = self._exchange(at, request, attempt)
            target = None if request.posted is not None else _redirect(response)
            if target is None:
                moment = datetime.fromtimestamp(self.clock(), UTC).isoformat("T", "seconds")
                return Response(
                    url=request.url,
                    status=response.status,
                    headers=response.headers,
                    body=body,
                    fetched_at=moment,
                ), at
            where = f"source {self.source}: {seen[0]}"
            if target in seen:
                raise SourceError(
                    f"{where} redirects in a circle (back to {target} after {len(seen)}). "
                    "Check the address."
                )
            if len(seen) > MAX_REDIRECTS:
                raise SourceError(
                    f"{where} redirects more than {MAX_REDIRECTS} times. Check the address."
                )
            with self._source_named():
                stays = host_of(target) == host_of(at)
            if not stays and not request.cross_host:
                raise SourceError(
                    f"{where} redirects to another host ({target}). "
                    "Set that address as the endpoint if you trust it."
                )
            at = target

    def _exchange(self, at: str, request: Request, attempt: int) -> tuple[OpenResponse, bytes]:
        """One exchange with a host in its turn, tried again where the connection breaks.

        If the host answers that it is busy, all requests to it are paused.
        """
        reach, host = self._reach(at, request.home), host_of(at)
        interval_s = self._interval_s(at, request)
        headers, failure = {**self.headers, **request.headers}, ConnectionBroken()
        for broken in range(1 + MAX_BREAKS if request.posted is None else 1):
            with (
                self._source_named(),
                turn(self.rate_limit, host, interval_s, self.connection.longest_s),
            ):
                try:
                    response, body = self.connection.exchange(at, headers, reach, request.posted)
                except ConnectionBroken as error:
                    failure = error
                    self.rate_limit.pause(host, BREAK_PAUSE_S * 2**broken)
                    continue
                if response.status in request.busy:
                    self._pause(response, attempt)
                return response, body
        kind = AnswerError if isinstance(failure, BodyUnreadable) else SourceError
        raise kind(
            f"source {self.source}: {failure}. Check the address and the network; run the same "
            "command again to continue."
        ) from failure

    def connect(self, request: Request, read_timeout_s: float, stack: ExitStack) -> OpenResponse:
        """Open an event stream in the host's turn; closing `stack` closes it.

        read_timeout_s  longest wait for the next byte, in seconds

        Raises SourceError.
        """
        at, headers = request.at, {**self.headers, **request.headers}
        interval_s, reach = self._interval_s(at, request), self._reach(at, request.home)
        for attempt in range(self.max_attempts):
            with (
                self._source_named(),
                turn(self.rate_limit, host_of(at), interval_s, self.connection.longest_s),
            ):
                try:
                    opened = self.connection.open(at, headers, reach, read_timeout_s)
                    response = stack.enter_context(opened)
                except ConnectionBroken as error:
                    if attempt < MAX_BREAKS:
                        self.rate_limit.pause(host_of(at), BREAK_PAUSE_S * 2**attempt)
                        continue
                    raise SourceError(
                        f"{error}. Check the address and the network; run the same command again "
                        "to continue."
                    ) from error
                if response.status in request.busy:
                    stack.close()
                    self._pause(response, attempt)
                    continue
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if response.status == 204 or (response.status == 200 and kind == STREAM_TYPE):
                return response
            raise SourceError(
                f"source {self.source}: {at} answers HTTP {response.status} and "
                f"{kind or 'no type'} instead of an event stream. Check the address."
            )
        raise self._too_busy(at)

    def _too_busy(self, at: str) -> SourceError:
        """The error for a host that was busy at every try."""
        return SourceError(
            f"source {self.source}: {at} was still too busy after {self.max_attempts} tries. "
            "Run the same command later to continue."
        )

    def _pause(self, response: OpenResponse, attempt: int) -> None:
        """Pause all requests to a busy host, for as long as it asks. Called before the turn ends.

        Raises SourceError if the host asks for more than `MAX_WAIT_S`.
        """
        wait_s = retry_after_s(response.headers, self.clock())
        if wait_s is not None and wait_s > MAX_WAIT_S:
            raise SourceError(
                f"source {self.source}: {response.url} asks to wait for {wait_s:.3g} s, more than "
                "a day. Run the same command later to continue."
            )
        self.rate_limit.pause(
            host_of(response.url), _backoff_s(attempt) if wait_s is None else wait_s
        )

    def _interval_s(self, at: str, request: Request) -> float:
        """Seconds between requests to the host of `at`.

        Raises RobotsError if the host's robots.txt forbids `at`.
        """
        if not request.obeys_robots or self.robots is None:
            return self.min_interval_s
        with self._source_named():
            check_number(at, self._reach(at, request.home))
        rules = self.robots.of(at, partial(self._robots_txt, request.home))
        refusal = rules.refusal(at)
        if refusal:
            raise RobotsError(f"source {self.source}: {refusal}")
        return max(self.min_interval_s, rules.delay_s)

    def _robots_txt(self, home: str, url: str) -> tuple[int, bytes] | str:
        """Status and body of the robots.txt at `url`, or in words why it cannot be fetched.

        HTTP 503 is returned as a status here, and not tried again.
        """
        request = Request(
            url, url, home, allow=range(201, 600), busy=(429,), cross_host=True, obeys_robots=False
        )
        try:
            response = self.fetch(request, None)
        except AddressError:
            raise
        except SourceError as error:
            return str(error).removeprefix(f"source {self.source}: ").partition(". ")[0]
        return response.status, response.body

    def _reach(self, at: str, home: str) -> Reach:
        """Which addresses a request to `at` may go to: any, if the operator configured its host."""
        with self._source_named():
            if host_of(at) == host_of(home):
                return "any"
            return "local" if is_loopback(home) else "public"

    @contextmanager
    def _source_named(self) -> Generator[None, None, None]:
        """Put the source's name before the errors of functions that do not know it."""
        try:
            yield
        except SourceError as error:
            raise type(error)(f"source {self.source}: {error}") from error.__cause__


def _redirect(response: OpenResponse) -> str | None:
    """The absolute address that a response redirects to, or None."""
    location = response.headers.get("location")
    if response.status not in (301, 302, 303, 307, 308) or not location:
        return None
    with suppress(UnicodeError):  # headers are read as Latin-1, but servers send UTF-8
        location = location.encode("latin-1").decode()
    try:
        return urldefrag(urljoin(response.url, location)).url
    except ValueError:
        return location  # refused later, since it is no address


def _backoff_s(attempt: int) -> float:
    """Seconds to pause after try number `attempt` (0 is the first), with up to a quarter added at
    random, so that several crawlers do not come back at once."""
    return min(MAX_BACKOFF_S, BACKOFF_S * 2**attempt) * random.uniform(1.0, 1.25)
