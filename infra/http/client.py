"""An HTTP client that follows the rules of the sites it visits.

The rules and their sources:
- a contact in the User-Agent (Wikimedia User-Agent policy);
- `maxlag` on every call of MediaWiki's Action API (`infra.http.action_api`);
- `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3);
- conditional requests (RFC 9110 section 13);
- one rate limit for each host, which all clients share (`infra.http.limits.rate_limit`);
- robots.txt (`infra.http.limits.robots`);
- no request to a private address that a public page names (`infra.http.addresses`).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from infra.errors import AnswerError, ConfigError, HostError, SourceError
from infra.http.connection import LIBRARY, Connection, OpenResponse
from infra.http.faults import (
    STREAM_TYPE,
    UNSURE_TRIES,
    ConnectionBroken,
    HostFault,
    ReadTimeout,
)
from infra.http.fetch import LAST_EVENT_ID, MAX_WAIT_S, Fetcher
from infra.http.limits.hosts import Hosts
from infra.http.limits.rate_limit import RateLimit
from infra.http.limits.robots import MAX_DELAY_S, Robots
from infra.http.private import PrivateAddresses
from infra.http.request import Post, Request
from infra.http.response import Response, ResponseCache
from infra.http.sse import Event, read_events
from infra.telemetry.tally import Tally
from infra.telemetry.waits import Waits

MAX_ADDRESS_CHARS = 8000
"""Characters of an address behind which parameters are sent by POST. Apache, nginx and most proxies
take request lines of 8 kB."""

NOT_TOLD = Waits()
"""For a client whose waits are not told."""

CONTACT = re.compile(r"https?://\S+\.\S+|[^@\s]+@[^@\s]+\.[^@\s]+")
"""A URL or an e-mail address."""


class PoliteClient:
    """Sends requests that change nothing, with a contact, rate limits, retries, a cache and bounds.

    A context manager: leaving it closes the connections.
    """

    def __init__(
        self,
        *,
        source: str,
        contact: str | None,
        rate_limit: RateLimit,
        robots: bool = False,
        cross_host: bool = False,
        cache: Path | None = None,
        min_interval_s: float = 1.0,
        timeout_s: float = 30.0,
        deadline_s: float = 120.0,
        max_body_bytes: int = 64 * 2**20,
        max_attempts: int = 6,
        max_wait_s: float = MAX_WAIT_S,
        max_crawl_delay_s: float = MAX_DELAY_S,
        waits: Waits = NOT_TOLD,
        tally: Tally | None = None,
        configured: Sequence[str] = (),
        origins: Mapping[str, str] | None = None,
        addresses: PrivateAddresses | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        source          named in every error
        contact         URL or e-mail address of the operator of this crawler
        rate_limit      gives each request its turn at a host; shared with all other crawlers
        robots          obey robots.txt. For pages and feeds; not for the MediaWiki API, which has a
                        policy of its own, while robots.txt closes /w/ to crawlers of pages
        cross_host      follow redirects to other hosts, if those are on the public network
        cache           directory of stored responses that carry an ETag or Last-Modified
        min_interval_s  seconds between the starts of two requests to one host
        timeout_s       longest time, in seconds, without a byte from the server
        deadline_s      longest time, in seconds, of one request from its turn to its last byte
        max_body_bytes  bytes of the largest body, after decompression
        max_attempts    tries of one request while its host is at fault (`infra.http.faults`)
        max_wait_s      longest pause, in seconds, that a host is granted; one that asks for more is
                        at fault
        max_crawl_delay_s  longest Crawl-delay, in seconds, that is obeyed
        waits           tells what is waited for
        tally           counts the requests by host and status; None counts nothing
        configured      URLs that the operator configured: links may lead to their origins, even in
                        a private network
        origins         prefix of configured URLs -> the origin that serves them now (replay)
        addresses       the addresses of settings that hold secrets; None where there are none
        clock           seconds since 1970

        Raises ConfigError where the contact is missing or neither a URL nor an e-mail address.
        """
        if not contact or not CONTACT.fullmatch(contact):
            raise ConfigError(
                f"source {source}: contact={contact!r} is not a URL or an e-mail address. "
                "Set `contact` to where the site's operators can reach you: they count by it."
            )
        self.source, self.cache = source, ResponseCache(cache) if cache else None
        self.cross_host = cross_host
        self.addresses = addresses or PrivateAddresses()
        self.origins, self.clock = dict(origins or {}), clock
        self.connection = Connection(
            timeout_s=timeout_s,
            deadline_s=deadline_s,
            max_body_bytes=max_body_bytes,
            show=self.addresses.shown,
        )
        user_agent = f"corrigenda/{_version()} ({contact}) {LIBRARY}"
        self.fetcher = Fetcher(
            source=source,
            headers={"User-Agent": user_agent, "Accept-Encoding": "gzip"},
            connection=self.connection,
            hosts=Hosts(
                source=source,
                rate_limit=rate_limit,
                lease_s=self.connection.longest_s,
                max_attempts=max_attempts,
                waits=waits,
                tally=tally,
            ),
            robots=Robots(cache, clock) if robots else None,
            clock=clock,
            min_interval_s=min_interval_s,
            addresses=self.addresses,
            max_wait_s=max_wait_s,
            max_crawl_delay_s=max_crawl_delay_s,
            configured=[self._served_at(url) for url in configured],
        )

    def __enter__(self) -> PoliteClient:
        """The client itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close all connections."""
        self.connection.close()

    def get(
        self,
        url: str,
        params: Mapping[str, Any] | None = None,
        *,
        private: Mapping[str, Any] | None = None,
        by_post: bool = False,
        is_link: bool = False,
        **options: Any,
    ) -> Response:
        """The response to a GET of `url`; from the cache where the server answers 304.

        params   put behind the URL as its query
        private  the parameters as they are sent, where they hold secrets and `params` does not
        by_post  whether the server takes the parameters by POST as well, which they are sent by
                 where the address is too long for a GET
        is_link  whether the address is that of a document and not one that the operator configured:
                 it is then asked only at a public address, or at an origin that is `configured`
        options  `allow`, `fault`, `headers`, `posted` and `setting`, as of a `Request`

        Raises RobotsError for an address that robots.txt closes; AnswerError for a body that is
        too large or damaged; AddressError for an address that is not public and not configured;
        RefusedError for a status that the address or the request is at fault for; HostError for a
        host that is still at fault after `max_attempts` tries; SourceError.
        """
        request = self._request(url, params, private, by_post=by_post, is_link=is_link, **options)
        cache = self.cache if request.posted is None else None
        is_private = private is not None or self.addresses.at(request.url) != request.url
        asker = self.source if is_private else ""
        stored = cache.load(request.url, asker) if cache else None
        if stored:
            headers = {**request.headers, **stored.conditions()}
            request = replace(request, headers=headers)
        with self._scrubbed():
            response = self.fetcher.fetch(request, stored)
        is_new = response.status == 200 and not response.revalidated
        if cache and is_new:
            cache.save(response, asker)
        return response

    def _request(
        self,
        url: str,
        params: Mapping[str, Any] | None,
        private: Mapping[str, Any] | None,
        *,
        by_post: bool,
        is_link: bool,
        **options: Any,
    ) -> Request:
        """The request of `get`: by POST where it must be."""
        text, home = urlencode(params or {}), self._served_at(url)
        whole = f"{url}{'&' if '?' in url else '?'}{text}" if text else url
        sent = urlencode(params or {} if private is None else private)
        post = Post(home, sent.encode()) if by_post else None
        request = Request(
            whole,
            self._served_at(whole).removesuffix(text) + sent,
            None if is_link else home,
            as_post=post,
            cross_host=self.cross_host,
            **options,
        )
        return request.by_post() if post and len(request.at) > MAX_ADDRESS_CHARS else request

    def get_json(
        self,
        url: str,
        params: Mapping[str, Any] | None = None,
        *,
        fault: Callable[[Any, Response], HostFault | None] = lambda value, response: None,
        **options: Any,
    ) -> tuple[Any, Response]:
        """The JSON value at `url`, and the response it came in. `options` and errors as of `get`.

        fault  the fault that a value tells of, for which the request is sent again, or None

        The value is None for a status other than 200 that is allowed. What is no JSON is asked for
        again, since a gateway's page may stand in its place; raises AnswerError where it stays so.
        """
        value: Any = None

        def look(response: Response) -> HostFault | None:
            nonlocal value
            if response.status != 200:
                return fault(None, response)
            try:
                value = self.decode(response)
            except AnswerError as error:
                what = str(error)
                return HostFault(what=what, tries=UNSURE_TRIES, broken=True, error=error)
            return fault(value, response)

        response = self.get(url, params, fault=look, **options)
        return value, response

    def post_json(self, url: str, value: Any) -> Any:
        """The JSON value that `url` answers to a POST of a JSON value, which must change nothing:
        it is sent again where the host is at fault. Raises as `get_json`.
        """
        headers = {"Content-Type": "application/json"}
        body = json.dumps(value).encode()
        return self.get_json(url, posted=body, headers=headers)[0]

    def decode(self, response: Response) -> Any:
        """The JSON value in a response. Raises AnswerError, which says what came instead."""
        return response.json(self.where(response))

    def where(self, response: Response) -> str:
        """The beginning of an error: the source, and the address that answered."""
        return f"source {self.source}: {self.addresses.shown(self._served_at(response.url))}"

    def stream(
        self,
        url: str,
        params: Mapping[str, Any] | None = None,
        *,
        last_event_id: str | None = None,
        read_timeout_s: float = 60.0,
    ) -> Generator[Event, None, None]:
        """Yield the server-sent events at `url` as they come, until the server ends the stream.

        Close the generator to end the connection; continue later from the last event's id. The
        stream waits for its turn to connect, and gives the turn back once connected, so that other
        requests can go to its host meanwhile.

        last_event_id   id of the last event seen, sent unchanged as Last-Event-ID
        read_timeout_s  longest time, in seconds, without a byte; a comment counts as bytes

        Raises RefusedError for a status that the request is at fault for, such as a position that
        the server does not know; HostError for a host that cannot be reached or stays at fault, and
        for a read time-out; SourceError for another content type. HTTP 204 means that there are no
        more events. A connection that breaks ends the events without an error.
        """
        url = f"{url}?{urlencode(params)}" if params else url
        headers: dict[str, str | bytes] = {"Accept": STREAM_TYPE, "Cache-Control": "no-store"}
        headers["Accept-Encoding"] = "identity"
        if last_event_id is not None:
            # UTF-8, where requests would send Latin-1 (WHATWG HTML section 9.2.4)
            headers[LAST_EVENT_ID] = last_event_id.encode()
        at = self._served_at(url)
        request = Request(url, at, at, headers=headers, setting="stream")
        with ExitStack() as stack:
            with self._scrubbed():
                response = self.fetcher.connect(request, read_timeout_s, stack)
            if response.status != 204:
                where = f"source {self.source}: {self.addresses.shown(response.url)}"
                clean = self.addresses.scrubber.link
                for event in read_events(_until_broken(response, where), where):
                    yield replace(event, data=clean(event.data))

    @contextmanager
    def _scrubbed(self) -> Generator[None, None, None]:
        """Take the secrets out of the messages of errors, before a caller cuts such a message in
        the middle of a secret."""
        try:
            yield
        except SourceError as error:
            error.args = (self.addresses.scrubber.text(str(error)),)
            raise

    def _served_at(self, url: str) -> str:
        """The address that serves a configured URL now, by `origins` and `addresses`."""
        for prefix, origin in self.origins.items():
            if url.startswith(prefix):
                return origin + url[len(prefix) :]
        return self.addresses.at(url)


def _until_broken(response: OpenResponse, where: str) -> Iterator[bytes]:
    """The chunks of a stream up to its end or a broken connection.

    Raises HostError for a read time-out.
    """
    try:
        yield from response.chunks
    except ReadTimeout as error:
        raise HostError(
            f"{where} timed out. Run the same command again to go on from the last event."
        ) from error
    except ConnectionBroken:
        return


def _version() -> str:
    """Version of the installed package, 0 where it is not installed."""
    try:
        return version("corrigenda")
    except PackageNotFoundError:
        return "0"
