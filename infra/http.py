"""A polite HTTP client: identified, unhurried, conditional, and clear about what went wrong.

Rules and their sources: a contact in the User-Agent (Wikimedia User-Agent policy), `maxlag` on
every Action API call and its failure inside an HTTP 200 (mediawiki.org *Manual:Maxlag parameter*),
`Retry-After` as seconds or as a date (RFC 9110 section 10.2.3), conditional requests (RFC 9110
section 13), one budget for each host, which all clients share (`infra.budget`).
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ProtocolError, ReadTimeoutError
from urllib3.util import Retry

from infra.addresses import check_target
from infra.budget import LEASE_S, Budget, turn
from infra.errors import AnswerError, ConfigError, SourceError
from infra.pages import Page, PageStore
from infra.robots import Robots
from infra.sse import Event, read_events

MAXLAG_S = 5
"""Replication lag above which we wait; the value Wikimedia asks bots to use."""
MAX_BACKOFF_S = 300.0
"""Longest single pause that we choose ourselves; a server may ask for more."""
MAX_REDIRECTS = 3
"""Of one request; each takes its turn."""
MAX_ROBOTS_REDIRECTS = 5
"""Of a request for robots.txt (RFC 9309 section 2.3.1.2)."""
STREAM_TYPE = "text/event-stream"
LOOPBACK = ("127.0.0.1", "localhost", "::1")

_CONTACT = re.compile(r"https?://\S+\.\S+|[^@\s]+@[^@\s]+\.[^@\s]+")


class PoliteClient:
    """GET with a contact, one budget per host, retries, a conditional cache and a cap on size."""

    def __init__(
        self,
        *,
        source: str,
        contact: str | None,
        budget: Budget,
        cache: Path | None = None,
        min_interval_s: float = 1.0,
        timeout_s: float = 30.0,
        max_body_bytes: int = 64 * 2**20,
        max_attempts: int = 6,
        origins: Mapping[str, str] | None = None,
        robots: bool = False,
        cross_host: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        source          named in every error
        contact         URL or e-mail of whoever operates this crawler
        budget          whose turn it is at each host, shared with all other crawlers
        cache           directory of stored responses that carry an ETag or Last-Modified
        min_interval_s  seconds between the starts of two requests to one host
        max_attempts    tries of one request while the server says 429, 503 or maxlag
        origins         prefix of URLs as configured -> the origin that serves them now (replay)
        robots          whether pages are asked for as robots.txt says (RFC 9309). Not for a
                        MediaWiki's API, whose own rules allow what its robots.txt, meant for
                        crawlers of pages, forbids
        cross_host      whether redirects to other public hosts are followed

        Raises ConfigError without a contact.
        """
        if not contact or not _CONTACT.fullmatch(contact):
            raise ConfigError(
                f"source {source}: contact={contact!r} is not a URL or an e-mail address. "
                "Set `contact` to where the site's operators can reach you: they count by it."
            )
        self.source, self.store = source, PageStore(cache) if cache else None
        self.min_interval_s, self.timeout_s = min_interval_s, timeout_s
        self.max_body_bytes, self.max_attempts = max_body_bytes, max_attempts
        self.origins = dict(origins or {})
        self.budget, self.clock = budget, clock
        self.user_agent = f"corrigenda/{_version()} ({contact}) requests/{requests.__version__}"
        self._sessions: dict[str, requests.Session] = {}
        self.cross_host = cross_host
        self._robots = Robots(source, self._robots_page, clock) if robots else None

    def __enter__(self) -> PoliteClient:
        return self

    def __exit__(self, *exc: object) -> None:
        for session in self._sessions.values():
            session.close()

    def get(
        self,
        url: str,
        params: Mapping[str, Any] | None = None,
        *,
        allow: tuple[int, ...] = (),
        again: Callable[[Page], float | None] = lambda page: None,
    ) -> Page:
        """The page at `url`, from the store where the server says it has not changed.

        `again` looks at a whole page and returns seconds to wait before asking once more, or None.
        Raises SourceError for an unreachable host, a status outside 200 and `allow`, an oversize
        body, or patience at an end.
        """
        if params:
            url = f"{url}?{urlencode(params)}"
        stored = self.store.load(url) if self.store else None
        for attempt in range(self.max_attempts):
            page = self._request(url, stored)
            backoff = min(MAX_BACKOFF_S, MAXLAG_S * 2**attempt) * random.uniform(1.0, 1.25)
            if page.status in (429, 503):
                wait = _retry_after(page.headers, self.clock())
                self._pause(url, backoff if wait is None else wait)
                continue
            if page.status == 304 and stored is not None:
                page = replace(stored, fetched_at=page.fetched_at, revalidated=True)
            elif page.status != 200 and page.status not in allow:
                raise SourceError(
                    f"source {self.source}: {self._real(url)} answers HTTP {page.status} "
                    f"({_excerpt(page.body)}). Check the address and the id."
                )
            wait = again(page)
            if wait is not None:
                self._pause(url, max(wait, backoff))
                continue
            if self.store and page.status == 200 and not page.revalidated:
                self.store.save(page)
            return page
        raise SourceError(
            f"source {self.source}: {self._real(url)} was still too busy after "
            f"{self.max_attempts} tries. Run the same command later to continue."
        )

    def get_json(self, url: str, params: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """The JSON value at `url`, with the page it came in: `(value, page)`."""
        page = self.get(url, params, **options)
        return self.decode(page), page

    def post_json(self, url: str, value: Any) -> Any:
        """What `url` answers to a JSON value, once, in its turn. Raises SourceError."""
        real = self._real(url)
        with self._turn(real):
            page, _ = self._ask(url, real, {"User-Agent": self.user_agent}, value)
        if page.status != 200:
            raise SourceError(
                f"source {self.source}: {real} answers HTTP {page.status} "
                f"({_excerpt(page.body)}). Check the address."
            )
        return self.decode(page)

    def api(self, url: str, params: Mapping[str, Any]) -> tuple[Any, Page]:
        """A MediaWiki Action API call: `maxlag` sent and obeyed, `error` raised as AnswerError."""

        def lagged(page: Page) -> float | None:
            error = _error(self.decode(page))
            if error.get("code") not in ("maxlag", "ratelimited"):
                return None
            return max(MAXLAG_S, _retry_after(page.headers, self.clock()) or 0.0)

        fixed = {"format": "json", "formatversion": 2, "maxlag": MAXLAG_S}
        value, page = self.get_json(url, {**params, **fixed}, again=lagged)
        error = _error(value)
        if error:
            raise AnswerError(
                f"source {self.source}: {self._real(page.url)} refuses: {error.get('code')}: "
                f"{str(error.get('info'))[:200]}"
            )
        return value, page

    def stream(
        self,
        url: str,
        params: Mapping[str, Any] | None = None,
        *,
        last_event_id: str | None = None,
        read_timeout_s: float = 60.0,
    ) -> Generator[Event, None, None]:
        """Server-sent events as they come, until the server ends them; close the iterator to stop.

        last_event_id   the id to go on behind, as the stream gave it
        read_timeout_s  longest silence

        Raises SourceError for an unreachable host, what is no event stream, or too long a silence.
        A connection that breaks in the middle ends the stream as its end would.
        """
        if params:
            url = f"{url}?{urlencode(params)}"
        real = self._real(url)
        headers = {"User-Agent": self.user_agent, "Accept": "text/event-stream"}
        if last_event_id is not None:
            # UTF-8, where requests would send Latin-1 (WHATWG HTML section 9.2.4)
            headers["Last-Event-ID"] = last_event_id.encode()  # type: ignore[assignment]
        with self._begin_stream(real, headers, read_timeout_s) as response:
            if response.status_code == 204:  # there will be no more
                return
            yield from read_events(self._chunks(real, response), f"source {self.source}: {real}")

    def _begin_stream(
        self, real: str, headers: Mapping[str, str], read_timeout_s: float
    ) -> requests.Response:
        """The response whose body is the stream, once the server is not too busy for it."""
        for attempt in range(self.max_attempts):
            with self._turn(real):
                pass  # a stream that is open keeps nobody waiting
            try:
                response = self._session(urlsplit(real).netloc).get(
                    real,
                    headers=headers,
                    timeout=(self.timeout_s, read_timeout_s),
                    stream=True,
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                raise self._unreachable(real, error) from error
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if response.status_code == 204 or (response.status_code == 200 and kind == STREAM_TYPE):
                return response
            answered = {name.lower(): text for name, text in response.headers.items()}
            body = self._read(real, response)
            response.close()
            if response.status_code not in (429, 503):
                raise SourceError(
                    f"source {self.source}: {real} answers HTTP {response.status_code} and "
                    f"{kind or 'no type'} instead of an event stream ({_excerpt(body)}). "
                    "Check the address."
                )
            wait = _retry_after(answered, self.clock())
            self._pause(real, MAXLAG_S * 2**attempt if wait is None else wait)
        raise SourceError(
            f"source {self.source}: {real} was still too busy after {self.max_attempts} tries. "
            "Run the same command later to continue."
        )

    def _chunks(self, real: str, response: requests.Response) -> Iterator[bytes]:
        """A body piece by piece, as soon as there is one; a broken connection is its end."""
        try:
            while chunk := response.raw.read1(2**16):
                yield chunk
        except (TimeoutError, ReadTimeoutError) as error:
            raise self._unreachable(real, error) from error
        except (ProtocolError, OSError):
            return

    def _unreachable(self, real: str, error: BaseException) -> SourceError:
        return SourceError(
            f"source {self.source}: cannot reach {real}: {_cause(error)}. Check the address "
            "and the network; run the same command again to continue."
        )

    def decode(self, page: Page) -> Any:
        """A page's JSON. Raises AnswerError that says what came instead."""
        kind = page.headers.get("content-type", "").partition(";")[0].strip().lower()
        where = f"source {self.source}: {self._real(page.url)}"
        if kind and "json" not in kind:
            raise AnswerError(
                f"{where} answers {kind} instead of JSON ({_excerpt(page.body)}). "
                "Check the endpoint; a proxy or a login page may stand in between."
            )
        try:
            return json.loads(page.body)
        except (ValueError, RecursionError) as error:
            raise AnswerError(
                f"{where} answers broken JSON of {len(page.body)} bytes ({error}). "
                "Run the same command again to continue."
            ) from error

    def _request(self, url: str, stored: Page | None) -> Page:
        """One request in its turn, and those that it redirects to."""
        headers = {"User-Agent": self.user_agent, "Accept-Encoding": "gzip"}
        headers |= stored.conditions() if stored else {}
        return self._follow(url, headers, MAX_REDIRECTS, self._robots)

    def _robots_page(self, url: str) -> Page:
        """A site's rules, for which there are no rules."""
        return self._follow(url, {"User-Agent": self.user_agent}, MAX_ROBOTS_REDIRECTS, None)

    def _follow(
        self, url: str, headers: Mapping[str, str], max_redirects: int, robots: Robots | None
    ) -> Page:
        """The page at the end of the redirects, each asked for in its turn and as it is allowed."""
        real = origin = self._real(url)
        for _ in range(1 + max_redirects):
            delay = robots.check(real) if robots else 0.0
            with self._turn(real, delay):
                page, target = self._ask(url, real, headers)
            if target is None:
                return page
            if urlsplit(target).netloc != urlsplit(real).netloc:
                if not self.cross_host:
                    raise SourceError(
                        f"source {self.source}: {real} redirects to another host ({target}). "
                        "Set that address as the endpoint if you trust it."
                    )
                check_target(self.source, origin, target)
            real = target
        raise SourceError(
            f"source {self.source}: {origin} redirects more than {max_redirects} times. "
            "Check the address."
        )

    def _ask(
        self, url: str, real: str, headers: Mapping[str, str], posted: Any = None
    ) -> tuple[Page, str | None]:
        """One exchange, a POST where there is a JSON value for it: the page, and where it redirects
        to."""
        try:
            with self._session(urlsplit(real).netloc).request(
                "GET" if posted is None else "POST",
                real,
                headers=headers,
                json=posted,
                timeout=self.timeout_s,
                stream=True,
                allow_redirects=False,
            ) as response:
                page = Page(
                    url=url,
                    status=response.status_code,
                    headers={name.lower(): text for name, text in response.headers.items()},
                    body=self._read(real, response),
                    fetched_at=datetime.fromtimestamp(self.clock(), UTC).isoformat("T", "seconds"),
                )
                redirected = response.is_redirect
        except requests.RequestException as error:
            raise self._unreachable(real, error) from error
        return page, urljoin(real, page.headers["location"]) if redirected else None

    def _read(self, real: str, response: requests.Response) -> bytes:
        body = bytearray()
        for chunk in response.iter_content(2**16):
            body += chunk
            if len(body) > self.max_body_bytes:
                raise AnswerError(
                    f"source {self.source}: {real} answers more than {self.max_body_bytes} bytes. "
                    "Ask for less, or raise the cap if the size is right."
                )
        return bytes(body)

    def _session(self, host: str) -> requests.Session:
        if host not in self._sessions:
            session = self._sessions[host] = requests.Session()
            session.trust_env = (
                urlsplit(f"//{host}").hostname not in LOOPBACK
            )  # no proxy to ourselves
            retry = Retry(
                connect=2, read=2, redirect=0, status=0, backoff_factor=0.2, raise_on_status=False
            )
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=retry))
        return self._sessions[host]

    def _turn(self, real: str, delay: float = 0.0) -> AbstractContextManager[object]:
        """The host's permission for one request; `delay` is what it wants between two, seconds."""
        return turn(self.budget, urlsplit(real).netloc, max(self.min_interval_s, delay), LEASE_S)

    def _pause(self, url: str, seconds: float) -> None:
        """Nothing more is asked of the whole host for so long."""
        self.budget.pause(urlsplit(self._real(url)).netloc, seconds)

    def _real(self, url: str) -> str:
        for prefix, origin in self.origins.items():
            if url.startswith(prefix):
                return origin + url[len(prefix) :]
        return url


def _version() -> str:
    try:
        return version("corrigenda")
    except PackageNotFoundError:
        return "0"


def _retry_after(headers: Mapping[str, str], now_s: float) -> float | None:
    """Seconds to wait by `Retry-After`, which is a number of seconds or an HTTP date."""
    text = headers.get("retry-after", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except ValueError:
        return None


def _error(value: Any) -> Mapping[str, Any]:
    """The Action API's error object, empty where there is none."""
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {}


def _excerpt(body: bytes) -> str:
    """The start of a body on one line."""
    return " ".join(body[:200].decode("utf-8", "replace").split())[:80] or "empty"


def _cause(error: BaseException) -> str:
    """The plainest words for why a request failed, out of the exceptions' chain."""
    text = str(error)
    for words in ("connection refused", "name or service not known", "timed out", "reset by peer"):
        if words in text.lower():
            return words
    return type(error).__name__ if len(text) > 120 else text
