"""One request to its response, however many exchanges it takes, within the rules.

Every hop of it is allowed by robots.txt, is made in the host's turn, and leads nowhere that only we
can reach; it is tried again where it breaks, and later where the host is busy, which then rests for
all who share the rate limit.
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
from infra.http.connection import Broken, Connection, Garbled, Reply
from infra.http.rate_limit import RateLimit, turn
from infra.http.response import Response, retry_after_s
from infra.http.robots import Robots

STREAM_TYPE = "text/event-stream"
BACKOFF_S = 5.0
"""First pause of a host that is busy and does not say how long; doubled each time."""
MAX_BACKOFF_S = 300.0
"""Longest single pause that we choose ourselves; a server may ask for more."""
MAX_WAIT_S = 86_400.0
"""A host that asks to be left alone for longer is asked again by another run."""
MAX_REDIRECTS = 5
"""Of one request; each takes its turn. RFC 9309 section 2.3.1.2 asks for as many."""
MAX_BREAKS = 2
"""How often an exchange that breaks is tried again."""
BREAK_PAUSE_S = 0.2
"""Pause of the host after the first break; doubled after the second."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for, and what may be made of the answers."""

    url: str
    """As configured, for the response."""
    at: str
    """Where that is served now."""
    home: str
    """URL of the host that the operator trusts."""
    headers: Mapping[str, str | bytes] = field(default_factory=dict)
    """Beside the fetcher's own, which they overrule."""
    allow: Collection[int] = ()
    """Statuses beside 200 that are an answer."""
    busy: tuple[int, ...] = (429, 503)
    """Statuses that say to come again later."""
    again: Callable[[Response], float | None] = lambda response: None
    posted: Any = None
    """A JSON value to POST, which is done once and not redirected."""
    cross_host: bool = False
    obeys: bool = True
    """robots.txt, if the client does: its own fetching does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """What the requests of one source share."""

    source: str
    """Begins the line of every error."""
    headers: Mapping[str, str | bytes]
    """Sent with everything."""
    connection: Connection
    rate_limit: RateLimit
    robots: Robots | None
    clock: Callable[[], float]
    min_interval_s: float
    max_attempts: int

    def fetch(self, request: Request, stored: Response | None) -> Response:
        """The response, however often it takes: while the host is busy, patience lasts."""
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
        """The response that redirects end at, and its address. Each hop is asked for in its
        turn."""
        at, seen = request.at, list[str]()
        while True:
            seen.append(at)
            reply, body = self._hop(at, request, attempt)
            target = None if request.posted is not None else _redirect(reply)
            if target is None:
                moment = datetime.fromtimestamp(self.clock(), UTC).isoformat("T", "seconds")
                return Response(
                    url=request.url,
                    status=reply.status,
                    headers=reply.headers,
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
            with self._naming():
                stays = host_of(target) == host_of(at)
            if not stays and not request.cross_host:
                raise SourceError(
                    f"{where} redirects to another host ({target}). "
                    "Set that address as the endpoint if you trust it."
                )
            at = target

    def _hop(self, at: str, request: Request, attempt: int) -> tuple[Reply, bytes]:
        """One exchange in its turn, tried again where it breaks. A busy host is paused for all."""
        reach, host = self._reach(at, request.home), host_of(at)
        interval_s = self._interval_s(at, request)
        headers, failure = {**self.headers, **request.headers}, Broken()
        for broken in range(1 + MAX_BREAKS if request.posted is None else 1):
            with self._naming(), turn(self.rate_limit, host, interval_s, self.connection.longest_s):
                try:
                    reply, body = self.connection.ask(at, headers, reach, request.posted)
                except Broken as error:
                    failure = error
                    self.rate_limit.pause(host, BREAK_PAUSE_S * 2**broken)
                    continue
                if reply.status in request.busy:
                    self._pause(reply, attempt)
                return reply, body
        kind = AnswerError if isinstance(failure, Garbled) else SourceError
        raise kind(
            f"source {self.source}: {failure}. Check the address and the network; run the same "
            "command again to continue."
        ) from failure

    def connect(self, request: Request, read_timeout_s: float, stack: ExitStack) -> Reply:
        """An event stream that has begun, in its turn; `stack` ends it. Raises SourceError."""
        at, headers = request.at, {**self.headers, **request.headers}
        interval_s, reach = self._interval_s(at, request), self._reach(at, request.home)
        for attempt in range(self.max_attempts):
            with (
                self._naming(),
                turn(self.rate_limit, host_of(at), interval_s, self.connection.longest_s),
            ):
                try:
                    opened = self.connection.open(at, headers, reach, read_timeout_s)
                    reply = stack.enter_context(opened)
                except Broken as error:
                    if attempt < MAX_BREAKS:
                        self.rate_limit.pause(host_of(at), BREAK_PAUSE_S * 2**attempt)
                        continue
                    raise SourceError(
                        f"{error}. Check the address and the network; run the same command again "
                        "to continue."
                    ) from error
                if reply.status in request.busy:
                    stack.close()
                    self._pause(reply, attempt)
                    continue
            kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
            if reply.status == 204 or (reply.status == 200 and kind == STREAM_TYPE):
                return reply
            raise SourceError(
                f"source {self.source}: {at} answers HTTP {reply.status} and {kind or 'no type'} "
                "instead of an event stream. Check the address."
            )
        raise self._too_busy(at)

    def _too_busy(self, at: str) -> SourceError:
        return SourceError(
            f"source {self.source}: {at} was still too busy after {self.max_attempts} tries. "
            "Run the same command later to continue."
        )

    def _pause(self, reply: Reply, attempt: int) -> None:
        """The whole host rests as long as it asks for, from before our turn ends."""
        wait_s = retry_after_s(reply.headers, self.clock())
        if wait_s is not None and wait_s > MAX_WAIT_S:
            raise SourceError(
                f"source {self.source}: {reply.url} asks to wait for {wait_s:.3g} s, more than a "
                "day. Run the same command later to continue."
            )
        self.rate_limit.pause(host_of(reply.url), _backoff_s(attempt) if wait_s is None else wait_s)

    def _interval_s(self, at: str, request: Request) -> float:
        """Seconds between requests to the host of `at`. Raises RobotsError if `at` is closed."""
        if not request.obeys or self.robots is None:
            return self.min_interval_s
        with self._naming():
            check_number(at, self._reach(at, request.home))
        rules = self.robots.of(at, partial(self._robots_txt, request.home))
        refusal = rules.refusal(at)
        if refusal:
            raise RobotsError(f"source {self.source}: {refusal}")
        return max(self.min_interval_s, rules.delay_s)

    def _robots_txt(self, home: str, url: str) -> tuple[int, bytes] | str:
        """Status and body of a robots.txt, or why it cannot be had. HTTP 503 is an answer here."""
        request = Request(
            url, url, home, allow=range(201, 600), busy=(429,), cross_host=True, obeys=False
        )
        try:
            response = self.fetch(request, None)
        except AddressError:
            raise
        except SourceError as error:
            return str(error).removeprefix(f"source {self.source}: ").partition(". ")[0]
        return response.status, response.body

    def _reach(self, at: str, home: str) -> Reach:
        """Whether `at` is where the operator sent us, or where a response did."""
        with self._naming():
            if host_of(at) == host_of(home):
                return "any"
            return "local" if is_loopback(home) else "public"

    @contextmanager
    def _naming(self) -> Generator[None, None, None]:
        """Errors of what knows no source get its name."""
        try:
            yield
        except SourceError as error:
            raise type(error)(f"source {self.source}: {error}") from error.__cause__


def _redirect(reply: Reply) -> str | None:
    """Where a response sends us on to."""
    location = reply.headers.get("location")
    if reply.status not in (301, 302, 303, 307, 308) or not location:
        return None
    with suppress(UnicodeError):  # headers are read as Latin-1, but servers send UTF-8
        location = location.encode("latin-1").decode()
    try:
        return urldefrag(urljoin(reply.url, location)).url
    except ValueError:
        return location  # which then is refused as no address


def _backoff_s(attempt: int) -> float:
    return min(MAX_BACKOFF_S, BACKOFF_S * 2**attempt) * random.uniform(1.0, 1.25)
