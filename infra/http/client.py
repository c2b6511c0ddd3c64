"""A polite HTTP client: identified, unhurried, conditional, and clear about what went wrong.

Rules and their sources: a contact in the User-Agent (Wikimedia User-Agent policy), `maxlag` on
every Action API call and its failure inside an HTTP 200 (mediawiki.org *Manual:Maxlag parameter*),
`Retry-After` as seconds or as a date (RFC 9110 section 10.2.3), conditional requests (RFC 9110
section 13), one rate limit a host, which all clients share (`infra.http.rate_limit`),
robots.txt (`infra.http.robots`), and no way from a public page to a private address
(`infra.http.addresses`).
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
from infra.http.connection import LIBRARY, Broken, Connection, Reply, Silent
from infra.http.fetch import MAX_WAIT_S, STREAM_TYPE, Fetcher, Request
from infra.http.rate_limit import RateLimit
from infra.http.response import Response, ResponseCache
from infra.http.robots import Robots
from infra.http.sse import Event, read_events

MAXLAG_S = 5
"""Replication lag above which we wait; the value Wikimedia asks bots to use."""
BUSY = ("maxlag", "ratelimited", "concurrency-limit")
"""Codes of the Action API that say to come again later."""

_CONTACT = re.compile(r"https?://\S+\.\S+|[^@\s]+@[^@\s]+\.[^@\s]+")


class PoliteClient:
    """GET with a contact, in the host's turn, with retries, a conditional cache and caps."""

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
        contact         URL or e-mail of whoever operates this crawler
        rate_limit      whose turn it is at each host, shared with all other crawlers
        robots          obey robots.txt. For pages and feeds; not for the MediaWiki API, which has a
                        policy of its own, while robots.txt closes /w/ to crawlers of pages
        cross_host      follow redirects to other hosts, if those are on the public network
        cache           directory of stored responses that carry an ETag or Last-Modified
        min_interval_s  seconds between the starts of two requests to one host
        timeout_s       longest silence
        deadline_s      longest time of one request from its turn to the last byte
        max_body_bytes  of an unpacked body
        max_attempts    tries of one request while the server says 429, 503 or maxlag
        origins         prefix of URLs as configured -> the origin that serves them now (replay)

        Raises ConfigError without a contact.
        """
        if not contact or not _CONTACT.fullmatch(contact):
            raise ConfigError(
                f"source {source}: contact={contact!r} is not a URL or an e-mail address. "
                "Set `contact` to where the site's operators can reach you: they count by it."
            )
        self.source, self.store = source, ResponseCache(cache) if cache else None
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
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.close()

    def get(
        self,
        url: str,
        params: Mapping[str, Any] | None = None,
        *,
        allow: tuple[int, ...] = (),
        again: Callable[[Response], float | None] = lambda response: None,
    ) -> Response:
        """The response at `url`, from the store where the server says it has not changed.

        `again` looks at a whole response and returns seconds to wait before asking once more, or
        None.

        Raises RobotsError for what robots.txt closes, SourceError for an unreachable host, a
        status outside 200 and `allow`, an oversize body, or patience at an end.
        """
        if params:
            url = f"{url}?{urlencode(params)}"
        stored = self.store.load(url) if self.store else None
        request = Request(
            url,
            self._real(url),
            self._real(url),
            headers={**(stored.conditions() if stored else {})},
            allow=allow,
            again=again,
            cross_host=self.cross_host,
        )
        response = self.fetcher.fetch(request, stored)
        if self.store and response.status == 200 and not response.revalidated:
            self.store.save(response)
        return response

    def get_json(self, url: str, params: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """The JSON value at `url`, with the response it came in: `(value, response)`."""
        response = self.get(url, params, **options)
        return self.decode(response), response

    def post_json(self, url: str, value: Any) -> Any:
        """What `url` answers to a JSON value, once, in its turn. Raises SourceError."""
        request = Request(url, self._real(url), self._real(url), posted=value, busy=())
        return self.decode(self.fetcher.fetch(request, None))

    def api(self, url: str, params: Mapping[str, Any]) -> tuple[Any, Response]:
        """A MediaWiki Action API call: `maxlag` sent and obeyed, `error` raised as AnswerError."""

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
                f"source {self.source}: {self._real(response.url)} refuses: {error.get('code')}: "
                f"{str(error.get('info'))[:200]}"
            )
        return value, response

    def decode(self, response: Response) -> Any:
        """A response's JSON. Raises AnswerError that says what came instead."""
        return response.json(f"source {self.source}: {self._real(response.url)}")

    def stream(
        self,
        url: str,
        params: Mapping[str, Any] | None = None,
        *,
        last_event_id: str | None = None,
        read_timeout_s: float = 60.0,
    ) -> Generator[Event, None, None]:
        """The server-sent events at `url`, each as it comes, until the server ends the stream.

        Close the generator to hang up, and go on later from the last event's id. A stream takes its
        turn to connect and holds none while it lasts, so that its host can be asked for other
        things meanwhile.

        last_event_id   of the last event seen, sent verbatim
        read_timeout_s  longest silence, comments being no silence

        Raises SourceError for a host that cannot be reached, a status other than 200 and 204 (no
        more events), another content type and silence. A connection that breaks ends the stream as
        its end would.
        """
        url = f"{url}?{urlencode(params)}" if params else url
        headers: dict[str, str | bytes] = {"Accept": STREAM_TYPE, "Cache-Control": "no-store"}
        headers["Accept-Encoding"] = "identity"
        if last_event_id is not None:
            # UTF-8, where requests would send Latin-1 (WHATWG HTML section 9.2.4)
            headers["Last-Event-ID"] = last_event_id.encode()
        request = Request(url, self._real(url), self._real(url), headers=headers)
        with ExitStack() as stack:
            reply = self.fetcher.connect(request, read_timeout_s, stack)
            if reply.status != 204:
                where = f"source {self.source}: {reply.url}"
                yield from read_events(_until_broken(reply, where), where)

    def _real(self, url: str) -> str:
        for prefix, origin in self.origins.items():
            if url.startswith(prefix):
                return origin + url[len(prefix) :]
        return url


def _until_broken(reply: Reply, where: str) -> Iterator[bytes]:
    """The chunks of a stream. Raises SourceError where they stay away, though it is still open."""
    try:
        yield from reply.chunks
    except Silent as error:
        raise SourceError(
            f"{where} timed out. Run the same command again to go on from the last event."
        ) from error
    except Broken:
        return


def _version() -> str:
    try:
        return version("corrigenda")
    except PackageNotFoundError:
        return "0"


def _error(value: Any) -> Mapping[str, Any]:
    """The Action API's error object, empty where there is none."""
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {}
