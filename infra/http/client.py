"""An HTTP client that follows the rules of the sites it visits.

The rules and their sources:
- a contact in the User-Agent (Wikimedia User-Agent policy);
- `maxlag` on every Action API call, whose failure comes in an HTTP 200 (mediawiki.org
  *Manual:Maxlag parameter*);
- `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3);
- conditional requests (RFC 9110 section 13);
- one rate limit for each host, which all clients share (`infra.http.rate_limit`);
- robots.txt (`infra.http.robots`);
- no request to a private address that a public page names (`infra.http.addresses`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from infra.errors import AnswerError, ConfigError, SourceError
from infra.http.connection import LIBRARY, Connection, ConnectionBroken, OpenResponse, ReadTimeout
from infra.http.fetch import MAX_WAIT_S, STREAM_TYPE, Fetcher, Request
from infra.http.rate_limit import RateLimit
from infra.http.response import Response, ResponseCache
from infra.http.robots import Robots
from infra.http.sse import Event, read_events

MAXLAG_S = 5
"""Seconds of replication lag above which we wait; the value Wikimedia asks bots to use."""
BUSY = ("maxlag", "ratelimited", "concurrency-limit")
"""Error codes of the Action API that mean: try again later."""

_CONTACT = re.compile(r"https?://\S+\.\S+|[^@\s]+@[^@\s]+\.[^@\s]+")


class PoliteClient:
    """Sends GET requests, and few POSTs, with a contact, rate limits, retries, a cache and bounds.

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
        origins: Mapping[str, str] | None = None,
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
        max_attempts    tries of one request while the server answers 429, 503 or maxlag
        origins         prefix of configured URLs -> the origin that serves them now (replay)
        clock           seconds since 1970

        Raises ConfigError where the contact is missing or neither a URL nor an e-mail address.
        """
        if not contact or not _CONTACT.fullmatch(contact):
            raise ConfigError(
                f"source {source}: contact={contact!r} is not a URL or an e-mail address. "
                "Set `contact` to where the site's operators can reach you: they count by it."
            )
        self.source, self.cache = source, ResponseCache(cache) if cache else None
        self.cross_host = cross_host
        self.origins, self.clock = dict(origins or {}), clock
        self.connection = Connection(
            timeout_s=timeout_s, deadline_s=deadline_s, max_body_bytes=max_body_bytes
        )
        user_agent = f"corrigenda/{_version()} ({contact}) {LIBRARY}"
        self.fetcher = Fetcher(
            source=source,
            headers={"User-Agent": user_agent, "Accept-Encoding": "gzip"},
            connection=self.connection,
            rate_limit=rate_limit,
            robots=Robots(cache, clock) if robots else None,
            clock=clock,
            min_interval_s=min_interval_s,
            max_attempts=max_attempts,
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
        allow: tuple[int, ...] = (),
        again: Callable[[Response], float | None] = lambda response: None,
    ) -> Response:
        """The response to a GET of `url`; from the cache where the server answers 304.

        params  appended to the URL as its query
        allow   statuses other than 200 that are returned instead of raised
        again   looks at a whole response; returns seconds to wait before the next try, or None if
                the response is good

        Raises RobotsError for an address that robots.txt closes; AnswerError for a body that is
        too large or damaged; AddressError for an address that is not public and not configured;
        SourceError for an unreachable host, another status, and a host that is still busy after
        `max_attempts` tries.
        """
        if params:
            url = f"{url}?{urlencode(params)}"
        stored = self.cache.load(url) if self.cache else None
        request = Request(
            url,
            self._served_at(url),
            self._served_at(url),
            headers={**(stored.conditions() if stored else {})},
            allow=allow,
            again=again,
            cross_host=self.cross_host,
        )
        response = self.fetcher.fetch(request, stored)
        if self.cache and response.status == 200 and not response.revalidated:
            self.cache.save(response)
        return response

    def get_json(self, url: str, params: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """The JSON value at `url`, and the response it came in. `options` and errors as of `get`.

        Raises AnswerError for a response that is not JSON.
        """
        response = self.get(url, params, **options)
        return self.decode(response), response

    def post_json(self, url: str, value: Any) -> Any:
        """The JSON value that `url` answers to a POST of a JSON value.

        The request waits for its turn and is sent once: no retry, no redirect. Raises SourceError,
        and AnswerError for a response that is not JSON.
        """
        request = Request(url, self._served_at(url), self._served_at(url), posted=value, busy=())
        return self.decode(self.fetcher.fetch(request, None))

    def api(self, url: str, params: Mapping[str, Any]) -> tuple[Any, Response]:
        """The value and the response of a MediaWiki Action API call, sent with `maxlag`.

        While the servers lag or are busy the call is tried again, after `Retry-After` or at least
        `MAXLAG_S` seconds. Raises AnswerError for an `error` in the answer, else as `get_json`.
        """

        def lagged(response: Response) -> float | None:
            if _error(self.decode(response)).get("code") not in BUSY:
                return None
            wait_s = max(MAXLAG_S, response.retry_after_s(self.clock()) or 0.0)
            return min(wait_s, MAX_WAIT_S)

        fixed = {"format": "json", "formatversion": 2, "maxlag": MAXLAG_S}
        value, response = self.get_json(url, {**params, **fixed}, again=lagged)
        error = _error(value)
        if error:
            raise AnswerError(
                f"source {self.source}: {self._served_at(response.url)} refuses: "
                f"{error.get('code')}: {str(error.get('info'))[:200]}"
            )
        return value, response

    def decode(self, response: Response) -> Any:
        """The JSON value in a response. Raises AnswerError, which says what came instead."""
        return response.json(f"source {self.source}: {self._served_at(response.url)}")

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

        Raises SourceError for a host that cannot be reached, a status other than 200 and 204 (no
        more events), another content type, and a read time-out. A connection that breaks ends the
        events without an error.
        """
        url = f"{url}?{urlencode(params)}" if params else url
        headers: dict[str, str | bytes] = {"Accept": STREAM_TYPE, "Cache-Control": "no-store"}
        headers["Accept-Encoding"] = "identity"
        if last_event_id is not None:
            # UTF-8, where requests would send Latin-1 (WHATWG HTML section 9.2.4)
            headers["Last-Event-ID"] = last_event_id.encode()
        request = Request(url, self._served_at(url), self._served_at(url), headers=headers)
        with ExitStack() as stack:
            response = self.fetcher.connect(request, read_timeout_s, stack)
            if response.status != 204:
                where = f"source {self.source}: {response.url}"
                yield from read_events(_until_broken(response, where), where)

    def _served_at(self, url: str) -> str:
        """The address that serves a configured URL now, by `origins`."""
        for prefix, origin in self.origins.items():
            if url.startswith(prefix):
                return origin + url[len(prefix) :]
        return url


def _until_broken(response: OpenResponse, where: str) -> Iterator[bytes]:
    """The chunks of a stream up to its end or a broken connection.

    Raises SourceError for a read time-out.
    """
    try:
        yield from response.chunks
    except ReadTimeout as error:
        raise SourceError(
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


def _error(value: Any) -> Mapping[str, Any]:
    """The `error` object of an Action API answer, empty where there is none."""
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {}
