"""Faults of a host cost a crawl time, and nothing else; faults of an address are said at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, get_args

import pytest
from discovery_helpers import EXAMPLES
from failing_host import FAILURES, front_of
from feed_site import article, rss, serve
from loopback import QuietHandler, SkippedTime, on_loopback

from discovery.sources import AskedConfig, make_source
from discovery.sources.observation import Since
from discovery.sources.replay.server import STREAM, ReplayServer
from discovery.sources.settings import NetworkSettings
from discovery.sources.web import items, sandbox
from discovery.sources.web.config import FeedConfig
from discovery.sources.wikibase.config import WikidataConfig
from infra.errors import HostError, SourceError
from infra.http.client import PoliteClient

ADA = {"guid": "1", "description": "Ada Lovelace is married to William King."}
BOB = {"guid": "2", "description": "Bob Smith works for Acme."}
FILLER = [f"This is paragraph {n} of a text about nothing in particular." for n in range(6)]
DAY = date(2022, 10, 20)
ENTITIES = ("Q9100000000", "Q9100000001", "Q9100000004")
"""One that was merged later, one that did not change, one that changed after the day."""
RELATIONS = ("P6", "P31")
QUERY = "SELECT ?item WHERE { ?item wdt:P31 wd:Q6256 }"
LONG_QUERY = f"SELECT ?item WHERE {{ VALUES ?item {{ {'wd:Q9100000001 ' * 900}}} }}"


@dataclass(frozen=True)
class Row:
    """A way in which a kind of source uses the network."""

    kind: str
    host: Callable[[], Any]
    """Serves what the source reads."""
    settings: Callable[[str], dict[str, Any]]
    """Its settings, given the host's origin."""
    cursor: Any = None


@contextmanager
def wikibase() -> Iterator[str]:
    """A Wikibase with a query service and a stream of changes."""
    server = ReplayServer(EXAMPLES / "recordings" / "october")
    for query in (QUERY, LONG_QUERY):
        server.recording.queries[query] = list(ENTITIES[:2])
    with server as origin:
        yield origin


@contextmanager
def website() -> Iterator[str]:
    """A site with rules, a feed and a page."""
    with serve() as site:
        site.put("/robots.txt", "User-agent: *\nDisallow: /private")
        told = article("Bob Smith works for Acme.", *FILLER)
        site.put("/page", told, Content_Type="text/html")
        site.put("/feed", rss(ADA, {**BOB, "guid": "3"}))
        yield site.origin


def _asked(origin: str, **settings: Any) -> dict[str, Any]:
    asked = {"endpoint": origin, "properties": "wikidata", "query_endpoint": f"{origin}/sparql"}
    return {**asked, "relations": RELATIONS, **settings}


ROWS = {
    "entities": Row("wikidata", wikibase, lambda o: _asked(o, entities=ENTITIES)),
    "query": Row("wikidata", wikibase, lambda o: _asked(o, query=QUERY)),
    "long query": Row("wikidata", wikibase, lambda o: _asked(o, query=LONG_QUERY)),
    "stream": Row(
        "wikidata",
        wikibase,
        lambda o: _asked(o, entities=ENTITIES, stream=f"{o}{STREAM}"),
        {"event_id": None, "at": "2022-10-19T12:00:00Z"},
    ),
    "feed": Row(
        "feed",
        website,
        lambda o: {"feeds": (f"{o}/feed",), "pages": (f"{o}/page",), "relations": ("P26", "P108")},
    ),
}


def crawled(config: AskedConfig, cursor: Any = None, **options: Any) -> tuple[list, list, set]:
    """What is heard, what is left out, and the facts of a crawl of one source."""
    assert isinstance(config, NetworkSettings)
    time = SkippedTime()
    settings = {"timeout_s": 0.3, "max_attempts": 6, **options}
    source = make_source(config)
    with PoliteClient(
        source=config.name,
        contact="ops@example.org",
        rate_limit=time.rate_limit(),
        min_interval_s=0.0,
        robots=config.obeys_robots,
        cross_host=config.obeys_robots,
        clock=time.time,
        **settings,
    ) as client:
        signals: list[Any] = []
        while not signals or not signals[-1].done:
            signal = source.listen(DAY, signals[-1].cursor if signals else cursor, client)
            if signal is None:
                break
            signals.append(signal)
        parts = source.partitions(DAY, Since(cursor=cursor), signals)
        observations = [o for part in parts for o in source.fetch(part, client)]
    parsed = [source.parse(o) for o in observations]
    heard = [(list(map(_portless, s.subjects)), s.selected, s.gap, len(s.skips)) for s in signals]
    absent = sorted(o.absent for o in observations if o.absent)
    return heard, absent, {f.statement_id for p in parsed for f in p.facts}


def config_of(row: Row, origin: str) -> AskedConfig:
    kinds = {"wikidata": WikidataConfig, "feed": FeedConfig}
    return kinds[row.kind].model_validate({"name": "s", **row.settings(origin)})


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents are parsed here, which is quicker; statement ids do not name the port."""

    def read(kind: str, body: bytes, url: str, headers: Any) -> Any:
        if kind == "feed":
            return items.read_feed(body, url, headers)
        return [items.read_page(body, url, headers)], None

    monkeypatch.setattr(sandbox, "read", read)
    monkeypatch.setattr(items, "_digest", lambda text, own=items._digest: own(_portless(text)))


def _portless(text: str) -> str:
    return re.sub(r"127\.0\.0\.1:\d+", "host", text)


FAULTLESS: dict[str, Any] = {}


def test_every_kind_that_uses_the_network_has_a_row() -> None:
    """A kind of source that is registered without one is not tested against faults."""
    kinds = [c for c in get_args(AskedConfig) if issubclass(c, NetworkSettings)]
    assert {row.kind for row in ROWS.values()} == {c.model_fields["kind"].default for c in kinds}


CASES = [
    (name, failure)
    for failure, how in FAILURES.items()
    for name in ROWS
    if not how.where or name in {"/sparql": ("query", "long query")}.get(how.where, ("entities",))
]


@pytest.mark.parametrize(("name", "failure"), CASES)
def test_a_crawl_of_a_host_that_fails_once_is_one_of_a_host_that_does_not(
    name: str, failure: str
) -> None:
    """Every request fails the first time, robots.txt as well: the same is heard, left out and
    read."""
    row = ROWS[name]
    with row.host() as backend:
        if name not in FAULTLESS:
            with front_of(backend, None) as (origin, _):
                FAULTLESS[name] = crawled(config_of(row, origin), row.cursor)
        with front_of(backend, FAILURES[failure]) as (origin, failed):
            assert crawled(config_of(row, origin), row.cursor) == FAULTLESS[name] and failed
    assert FAULTLESS[name][2]


@contextmanager
def always(status: int, body: bytes = b"no") -> Iterator[tuple[str, list[str]]]:
    """A host that answers everything alike, but has no robots.txt; and what it was asked for."""
    asked: list[str] = []

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(self.path)
            self.send_response(404 if self.path == "/robots.txt" else status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

    with on_loopback(Handler) as origin:
        yield origin, asked


SETTINGS = {"entities": "endpoint", "query": "query_endpoint", "long query": "query_endpoint"}
SETTINGS |= {"stream": "stream", "feed": "pages"}
"""Row -> the setting that is at fault, the last one of several."""


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "Check `{}`"),
        (401, "give it in `{}` by reference"),
        (403, "check what `{}` gives by reference"),
        (404, "check `{}`"),
        (410, "take it out of `{}`"),
        (451, "take it out of `{}`"),
    ],
)
@pytest.mark.parametrize("name", ROWS)
def test_what_an_address_is_at_fault_for_is_said_at_once(
    name: str, status: int, words: str
) -> None:
    """One line, after one try of each address, with the setting and what to do; without the
    query."""
    with always(status) as (origin, asked), pytest.raises(SourceError) as caught:
        config = config_of(ROWS[name], origin)
        if name == "stream":  # of Wikidata it is known how its items are called
            config = config.model_copy(update={"endpoint": "https://www.wikidata.org"})
        crawled(config, ROWS[name].cursor)
    text = str(caught.value)
    assert words.format(SETTINGS[name]) in text and f"HTTP {status}" in text
    assert "\n" not in text and len(text) < 400 and "VALUES" not in text
    assert len(set(asked)) == len(asked) and not isinstance(caught.value, HostError)


@pytest.mark.parametrize("status", [500, 502, 504])
@pytest.mark.parametrize("name", ROWS)
def test_a_host_that_stays_at_fault_is_said_to_be(name: str, status: int) -> None:
    """After as many tries as there is patience for: which status, how often, how long, and to run
    the command again."""
    with always(status) as (origin, asked), pytest.raises(SourceError) as caught:
        crawled(config_of(ROWS[name], origin), ROWS[name].cursor)
    text = str(caught.value)
    assert f"HTTP {status}" in text and "\n" not in text and "VALUES" not in text
    if name != "feed":  # whose second address is tried once
        assert asked == [asked[0]] * 6 and isinstance(caught.value, HostError)
        assert "the last of 6 tries in 1" in text and "run the same command later" in text
    assert "Check" not in text
