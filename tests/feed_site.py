"""A site on loopback with feeds and pages, and crawls of one source of it."""

import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from urllib.parse import unquote

from loopback import QuietHandler, SkippedTime, on_loopback

from discovery.sources.observation import Since
from discovery.sources.web.config import FeedConfig
from discovery.sources.web.feed import FeedSource
from infra.http.client import PoliteClient

FEEDS = Path(__file__).parent / "discovery" / "data" / "feeds"
TODAY = date(2024, 6, 30)
RELATIONS = ("P26", "P108", "P36")


@dataclass
class Site:
    """What a site serves, by path, and what it was asked for."""

    origin: str = ""
    pages: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)

    def put(self, path, body, status=200, **headers):
        content = body.encode() if isinstance(body, str) else body
        headers = {name.replace("_", "-"): text for name, text in headers.items()}
        self.pages[path] = (status, headers, content)
        return f"{self.origin}{path}"


@contextmanager
def serve():
    """An empty `Site` on a free port; every answer has an ETag."""
    site = Site()

    class Handler(QuietHandler):
        def do_GET(self):
            status, headers, body = site.pages.get(unquote(self.path), (404, {}, b"none"))
            etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            if status == 200 and self.headers.get("If-None-Match") == etag:
                status, body = 304, b""
            site.asked.append((self.path, status))
            self.send_response(status)
            for name, text in {"ETag": etag, **headers}.items():
                self.send_header(name, text)
            if status != 304:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with on_loopback(Handler) as site.origin:
        yield site


def rss(*entries, version="2.0"):
    """An RSS feed of entries given as maps of elements."""
    items = "".join(
        "<item>" + "".join(f"<{k}>{v}</{k}>" for k, v in entry.items()) + "</item>"
        for entry in entries
    )
    channel = f"<channel><title>t</title>{items}</channel>"
    return f'<?xml version="1.0"?><rss version="{version}">{channel}</rss>'


def article(*paragraphs, title="News", head=""):
    """An HTML page with a menu around an article."""
    body = "".join(f"<p>{text}</p>" for text in paragraphs)
    return (
        f"<html><head><title>{title}</title>{head}</head><body><nav>Home | Sport</nav>"
        f"<article><h1>{title}</h1>{body}</article><footer>All rights</footer></body></html>"
    )


@dataclass
class Crawled:
    facts: dict
    skips: list
    observations: list
    cursor: dict

    @property
    def said(self):
        return {(f.subject, f.relation, f.value) for f in self.facts.values()}

    @property
    def reasons(self):
        return sorted(skip.reason for skip in self.skips)


def crawl_feed(cache=None, cursor=None, as_of=TODAY, **settings):
    """One crawl of a source, slice by slice, as the stage does it."""
    config = FeedConfig.model_validate({"name": "news", "relations": RELATIONS, **settings})
    source = FeedSource(config)
    with PoliteClient(
        source="news",
        contact="ops@example.org",
        rate_limit=SkippedTime().rate_limit(),
        cache=cache,
        min_interval_s=0.0,
        robots=True,
        cross_host=True,
        configured=config.configured,
    ) as client:
        signals = []
        while not signals or not signals[-1].done:
            before = signals[-1].cursor if signals else cursor
            signals.append(source.listen(as_of, json.loads(json.dumps(before)), client))
        parts = source.partitions(as_of, Since(cursor=cursor), signals)
        observations = [o for part in parts for o in source.fetch(part, client)]
    parsed = [source.parse(o) for o in observations]
    skips = [s for signal in signals for s in signal.skips] + [s for p in parsed for s in p.skips]
    facts = {fact.statement_id: fact for p in parsed for fact in p.facts}
    return Crawled(facts, skips, observations, signals[-1].cursor)
