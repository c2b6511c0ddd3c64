"""Fetch the response to one request, through redirects and retries.

Each exchange, redirects included, is allowed by robots.txt, waits for its turn at the host, and
goes to no private address unless the operator configured it. Where the host is at fault
(`infra.http.faults`) all requests to it that share the rate limit pause, and then this one is sent
again, as often as `max_attempts` allows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urldefrag, urljoin

from infra.errors import AddressError, HostError, RefusedError, RobotsError, SourceError
from infra.http.addresses import Reach, check_number, host_of, is_configured
from infra.http.connection import Connection, OpenResponse
from infra.http.faults import (
    ConnectionBroken,
    HostFault,
    fault_of_status,
    fault_of_stream,
    is_too_long,
    refusal,
)
from infra.http.limits.hosts import Hosts
from infra.http.limits.robots import MAX_DELAY_S, Robots
from infra.http.private import PrivateAddresses
from infra.http.request import Request
from infra.http.response import Response, retry_after_s

LAST_EVENT_ID = "Last-Event-ID"
"""Header with the position from which a stream goes on."""
MAX_WAIT_S = 24 * 3600.0
"""Seconds of the longest pause that a server is granted, unless the config says otherwise; if it
asks for more, the request fails."""
MAX_REDIRECTS = 5
"""Redirects of one request at most; RFC 9309 section 2.3.1.2 asks crawlers to follow five."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """Fetches the requests of one source."""

    source: str
    """Name of the source, which begins every error."""
    headers: Mapping[str, str | bytes]
    """Sent with every request."""
    connection: Connection
    hosts: Hosts
    """Gives each exchange its turn, and keeps what the hosts answered."""
    robots: Robots | None
    """Rules of the sites; None fetches whatever they say."""
    clock: Callable[[], float]
    """Seconds since 1970."""
    min_interval_s: float
    """Seconds between the starts of two exchanges with one host."""
    addresses: PrivateAddresses = field(default_factory=PrivateAddresses)
    """How addresses that hold secrets are written."""
    max_wait_s: float = MAX_WAIT_S
    """Seconds of the longest pause that a host is granted."""
    max_crawl_delay_s: float = MAX_DELAY_S
    """Seconds of the longest Crawl-delay that is obeyed; a site that asks for more is closed."""
    configured: Sequence[str] = ()
    """Further URLs that the operator configured, whose origins may be at private addresses."""

    def fetch(self, request: Request, stored: Response | None = None) -> Response:
        """The response to a request, which is sent again while the host is at fault.

        stored  an earlier response to the same request, returned where the server answers 304

        Raises HostError for a host that stays at fault, RefusedError for a request that is; and
        AnswerError, AddressError, RobotsError and SourceError.
        """
        began_s = self.clock()
        for attempt in itertools.count():
            fetched = self._follow(request, attempt)
            if isinstance(fetched, HostFault):
                self.hosts.give_up(host_of(request.at), fetched, attempt, self.clock() - began_s)
                continue
            response, at = fetched
            if response.status == 304 and stored is not None:
                response = replace(stored, fetched_at=response.fetched_at, revalidated=True)
            elif response.status != 200 and response.status not in request.allow:
                if request.as_post is not None and is_too_long(response.status, response.body):
                    return self.fetch(request.by_post())
                with self._source_named():
                    raise refusal(
                        self._shown(at), response.status, response.excerpt, request.setting
                    )
            fault = request.fault(response)
            if fault is None:
                return response
            self.hosts.give_up(host_of(at), fault, attempt, self.clock() - began_s)
            self.hosts.pause(host_of(at), fault, attempt)
        raise AssertionError("the loop ends by returning or raising")

    def _shown(self, url: str) -> str:
        """A requested address as errors show it."""
        return self.addresses.shown(url)

    def _follow(self, request: Request, attempt: int) -> tuple[Response, str] | HostFault:
        """Follow redirects to the response at their end; that response and its address, or the
        fault of a host on the way."""
        at, seen = request.at, list[str]()
        while True:
            seen.append(at)
            exchanged = self._exchange(at, request, attempt)
            if isinstance(exchanged, HostFault):
                return exchanged
            response, body = exchanged
            target = _redirect(response)
            if target is None:
                moment = datetime.fromtimestamp(self.clock(), UTC).isoformat("T", "seconds")
                return Response(
                    url=request.url,
                    status=response.status,
                    headers={
                        name: self.addresses.scrubber.link(text)
                        for name, text in response.headers.items()
                    },
                    body=body,
                    fetched_at=moment,
                ), at
            if response.status == 303:  # RFC 9110 section 15.4.4: the answer is there, to a GET
                request = replace(request, posted=None)
            where = f"source {self.source}: {self._shown(seen[0])}"
            if target in seen:
                raise SourceError(
                    f"{where} redirects in a circle (back to {self._shown(target)} after "
                    f"{len(seen)}). Check the address."
                )
            if len(seen) > MAX_REDIRECTS:
                raise SourceError(
                    f"{where} redirects more than {MAX_REDIRECTS} times. Check the address."
                )
            with self._source_named():
                stays = host_of(target) == host_of(at)
            if not stays and not request.cross_host:
                raise SourceError(
                    f"{where} redirects to another host ({self._shown(target)}). "
                    "Set that address as the endpoint if you trust it."
                )
            at = target

    def _exchange(
        self, at: str, request: Request, attempt: int
    ) -> tuple[OpenResponse, bytes] | HostFault:
        """One exchange with a host in its turn. If the host is at fault, all requests to it are
        paused before the turn ends."""
        reach, host = self._reach(at, request.home), host_of(at)
        headers = {**self.headers, **request.headers}
        with self._turn(at, request):
            try:
                response, body = self.connection.exchange(at, headers, reach, request.posted)
                self.hosts.count(host, response.status)
                body = self.addresses.scrubber.content(body)
            except ConnectionBroken as error:
                fault = self.hosts.broken(host, error)
            else:
                fault = self.hosts.answered(host, self._fault(response, body))
                if fault is None:
                    return response, body
            self.hosts.pause(host, fault, attempt)
            return fault

    def connect(self, request: Request, read_timeout_s: float, stack: ExitStack) -> OpenResponse:
        """Open an event stream in the host's turn; closing `stack` closes it.

        read_timeout_s  longest wait for the next byte, in seconds

        Raises RefusedError for a request that is at fault, also for a position by which the server
        fails at every try; HostError for a host that is; SourceError.
        """
        host, began_s = host_of(request.at), self.clock()
        for attempt in itertools.count():
            opened = self._open(request, read_timeout_s, stack, attempt)
            if isinstance(opened, OpenResponse):
                return opened
            try:
                self.hosts.give_up(host, opened, attempt, self.clock() - began_s)
            except HostError as error:
                if opened.status == 500 and LAST_EVENT_ID in request.headers:
                    raise RefusedError(str(error)) from error  # as KafkaSSE refuses a position
                raise
        raise AssertionError("the loop ends by returning or raising")

    def _open(
        self, request: Request, read_timeout_s: float, stack: ExitStack, attempt: int
    ) -> OpenResponse | HostFault:
        """One try of `connect`; where the host is at fault, all requests to it are paused."""
        at, headers, host = request.at, {**self.headers, **request.headers}, host_of(request.at)
        reach = self._reach(at, request.home)
        with self._turn(at, request):
            try:
                response = stack.enter_context(
                    self.connection.open(at, headers, reach, read_timeout_s)
                )
            except ConnectionBroken as error:
                fault = self.hosts.broken(host, error)
            else:
                self.hosts.count(host, response.status)
                kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                fault = self._fault(response, b"")
                fault = fault or fault_of_stream(self._shown(at), response.status, kind)
                if self.hosts.answered(host, fault) is None:
                    if response.status in (200, 204):
                        return response
                    stack.close()
                    raise refusal(
                        self._shown(at),
                        response.status,
                        "no event stream",
                        request.setting,
                    )
            stack.close()
            assert fault is not None
            self.hosts.pause(host, fault, attempt)
            return fault

    def _fault(self, response: OpenResponse, body: bytes) -> HostFault | None:
        """The host's fault that a status stands for, or None.

        Raises HostError if the host asks to wait for more than `max_wait_s`.
        """
        wait_s = retry_after_s(response.headers, self.clock())
        fault = fault_of_status(self._shown(response.url), response.status, body, wait_s)
        if fault is not None and wait_s is not None and wait_s > self.max_wait_s:
            raise HostError(
                f"{self._shown(response.url)} asks to wait for {wait_s:.5g} s, and at most "
                f"{self.max_wait_s:g} s are waited (`max_wait_s`). Run the same command later to "
                "continue."
            )
        return fault

    def _interval_s(self, at: str, request: Request) -> float:
        """Seconds between requests to the host of `at`.

        Raises RobotsError if the host's robots.txt forbids `at`.
        """
        if not request.obeys_robots or self.robots is None:
            return self.min_interval_s
        with self._source_named():
            check_number(at, self._reach(at, request.home))
        rules = self.robots.of(at, partial(self._robots_txt, request.home))
        closed = rules.refusal(at, self.max_crawl_delay_s)
        if closed:
            raise RobotsError(f"source {self.source}: {closed}")
        return max(self.min_interval_s, rules.delay_s)

    def _robots_txt(self, home: str | None, url: str) -> tuple[int, bytes] | str:
        """Status and body of the robots.txt at `url`, or in words why it cannot be fetched."""
        request = Request(
            url, url, home, allow=range(201, 600), cross_host=True, obeys_robots=False
        )
        try:
            response = self.fetch(request)
        except AddressError:
            raise
        except SourceError as error:
            return str(error).removeprefix(f"source {self.source}: ").partition(". ")[0]
        return response.status, response.body

    def _reach(self, at: str, home: str | None) -> Reach:
        """Which addresses a request to `at` may go to: any, if the operator configured its
        origin."""
        configured = [*self.configured, *([] if home is None else [home])]
        with self._source_named():
            return "any" if is_configured(at, configured) else "public"

    @contextmanager
    def _turn(self, at: str, request: Request) -> Generator[None, None, None]:
        """Wait for the turn at the host of `at`, and hold it inside the `with`, in which errors are
        given the source's name. Raises as `_interval_s`."""
        interval_s = self._interval_s(at, request)
        with self._source_named(), self.hosts.turn(host_of(at), interval_s):
            yield

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
