"""Addresses that differ only in a secret are written alike, and are each asked for by itself."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from discovery_helpers import make_crawl, put_snapshot
from feed_site import article, rss
from loopback import QuietHandler, on_loopback

from discovery.facts.fact import Fact
from discovery.facts.tables import from_table
from discovery.snapshot.output import bucket_file
from discovery.sources.web.config import FeedConfig

WHO = {"secret-of-ada": "Ada Lovelace", "secret-of-bob": "Bob Smith"}
"""What is behind each secret: the one who works for the Navy."""


class Behind(QuietHandler):
    """Answers by the secret in the query, with one entity tag and one GUID for all; 304 where that
    tag is known already."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        who = WHO.get(parse_qs(parts.query).get("token", [""])[0])
        status = 404 if who is None else 304 if self.headers.get("If-None-Match") else 200
        said = f"{who} works for the Navy."
        entry = {"title": "News", "guid": "1", "description": said}
        filling = (f"This is paragraph {n} of a text about nothing at all." for n in range(6))
        page = article(said, *filling)
        body = (rss(entry) if parts.path == "/feed" else page).encode()
        self.send_response(status)
        if status == 200:
            self.send_header("ETag", '"1"')
            self.send_header("Content-Type", "text/html" if parts.path == "/page" else "text/xml")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status == 200:
            self.wfile.write(body)


@pytest.mark.parametrize(
    ("setting", "together"), [("feeds", False), ("pages", True)], ids=["two sources", "one source"]
)
def test_each_is_its_own(
    runner: Any, workspace: Any, tmp_path: Path, setting: str, together: bool
) -> None:
    """In one source or two, from the cache or not: the facts of each are there, on every crawl."""
    with on_loopback(Behind) as origin:
        path = {"feeds": "feed", "pages": "page"}[setting]
        urls = [f"{origin}/{path}?token={secret}" for secret in WHO]
        given = {"s1": urls} if together else {f"s{n}": [url] for n, url in enumerate(urls)}
        configs = tuple(
            FeedConfig.model_validate(
                {"name": name, setting: of, "relations": ["P108"], "contact": "a@b.org"}
                | {"min_interval_s": 0.0}
            )
            for name, of in given.items()
        )
        made = None
        for day in ("2024-06-29", "2024-06-30"):
            as_of, on = date.fromisoformat(day), {"version": day, "previous": made}
            crawled = make_crawl(workspace, runner, configs, as_of, base_dir=tmp_path, **on)
            made = put_snapshot(workspace, runner, crawled, configs, as_of, **on)
            buckets = range(made.json("manifest.json")["num_buckets"])
            tables = [made.table(bucket_file("facts", n)) for n in buckets]
            facts = [fact for table in tables for fact in from_table(table, Fact)]
            assert {fact.subject for fact in facts} == set(WHO.values())
