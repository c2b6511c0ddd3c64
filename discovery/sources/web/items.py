"""Bytes of a feed or a page -> items: what one entry or page says, when, and where.

Feeds are read by feedparser (RSS 0.9-2.0, RDF, Atom), the main text of a page by trafilatura. Both
are given bytes that anybody may have written: what they cannot read is an `Unreadable` with a
reason, and of what they can, links that do not lead to the web are left out. Markup can be written
that costs them hours, or more memory than there is; so a crawl calls this file as a program, which
gives itself limits (`discovery.sources.web.sandbox`).
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any
from urllib.parse import urlsplit

MAX_BYTES = 8 * 2**20
"""Of a feed or a page; a larger one is no text for people."""
MEMORY_BYTES = 2 * 2**30
"""What a process may use to read one document."""
MAX_URL_CHARS = 2048
MAX_TEXT_CHARS = 200_000
"""Of an item; what is beyond is cut, and the item says so."""


_ROOT = re.compile(
    rb"[^<]{0,64}(?:<\?[^>]*>\s*|<!--.{0,10000}?-->\s*|<!doctype\b[^>\[]*(?:\[.*?\]\s*)?>\s*)*"
    rb"<(?:rss|rdf:RDF|feed|channel|atom:feed)\b",
    re.IGNORECASE | re.DOTALL,
)
_ENTITY = re.compile(rb"<!ENTITY", re.IGNORECASE)
_CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
"""Soft hyphens, zero widths, and what turns the direction of text."""
_BLOCK_END = re.compile(r"</(?:p|div|li|h\d|tr|td|blockquote)\s*>|<br\s*/?>", re.IGNORECASE)


class Unreadable(ValueError):
    """Why a feed or page cannot be read; the same words for the same fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One entry of a feed, or one page."""

    id: str
    """16 hex digits: digest of the GUID, the link, or what it says if it has neither."""
    url: str
    """Where it can be read."""
    title: str
    text: str
    """Title and main text, plain, a paragraph a line."""
    day: date | None
    """When it was last changed, or published (UTC)."""
    faults: tuple[str, ...] = ()
    """Reasons why a part of it was left out."""

    @property
    def digest(self) -> str:
        """16 hex digits of what it says."""
        return _digest(json.dumps([self.title, self.text, str(self.day)]))


def read_feed(body: bytes, url: str, headers: Mapping[str, str]) -> tuple[list[Item], str | None]:
    """Items of a feed in its order, each once, and what is wrong with it besides.

    A feed that is cut short gives what stands before the cut. Raises Unreadable.
    """
    _check_size(body)
    text = body.replace(b"\0", b"")  # UTF-16 and UTF-32 too show their marks
    if not _ROOT.match(text):
        is_html = re.search(rb"<html|<!doctype html", text[:4096], re.IGNORECASE)
        raise Unreadable("HTML where a feed was due" if is_html else "not a feed")
    if _ENTITY.search(text):
        raise Unreadable("feed declares entities")
    import feedparser

    told = {"content-location": url, "content-type": headers.get("content-type", "")}
    with _parsing("feed"):
        feed: Any = feedparser.parse(
            io.BytesIO(body),  # a stream: bytes would be tried as the name of a file
            response_headers=told,
            sanitize_html=False,  # markup is taken off here, in linear time
            resolve_relative_uris=False,
        )
    items = {item.id: item for item in (_entry(entry, url) for entry in feed.entries)}
    fault = None
    if "SAX" in type(feed.get("bozo_exception")).__name__:
        fault = "feed is not well-formed: there may be more of it"
    return list(items.values()), fault


def read_page(body: bytes, url: str, headers: Mapping[str, str]) -> Item:
    """The main text of an HTML page, its title and date. Raises Unreadable."""
    _check_size(body)
    kind = headers.get("content-type", "text/html").partition(";")[0].strip().lower()
    if kind not in ("text/html", "application/xhtml+xml", ""):
        raise Unreadable("page is not HTML")
    import trafilatura

    with _parsing("page"):
        found: Any = trafilatura.bare_extraction(
            body,
            url=url,
            with_metadata=True,
            include_comments=False,
            include_tables=False,
            date_extraction_params={"extensive_search": False, "original_date": False},
        )
    if found is None or not (found.text or "").strip():
        raise Unreadable("page has no main text")
    title, main_text = _line(found.title or ""), _clean(found.text)
    titled = main_text if main_text.startswith(title) else f"{title}\n{main_text}"
    text, faults = _cut(titled)
    return Item(
        id=_digest(url), url=url, title=title, text=text, day=_iso_day(found.date), faults=faults
    )


@contextmanager
def _parsing(what: str) -> Iterator[None]:
    """A foreign parser at work on foreign bytes: whatever it trips over is the bytes' fault."""
    try:
        yield
    except Exception as error:
        raise Unreadable(f"{what} cannot be parsed ({type(error).__name__})") from error


def is_web(link: str) -> bool:
    """Whether a link is one that a crawler may follow: http or https, to a host."""
    try:
        parts = urlsplit(link)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _entry(entry: Any, feed_url: str) -> Item:
    faults = []
    link = str(dict.get(entry, "link") or "")
    if link and not is_web(link):
        if link != dict.get(entry, "id"):  # an id may be read as a link, where there is none
            faults.append("link of an entry is not http or https")
        link = ""
    if len(link) > MAX_URL_CHARS:
        faults.append(f"link of an entry is longer than {MAX_URL_CHARS} characters")
        link = ""
    title = _line(_plain(str(dict.get(entry, "title") or "")))
    bodies = [str(part.get("value") or "") for part in dict.get(entry, "content") or ()]
    bodies += [str(dict.get(entry, "summary") or "")]
    body = max((_plain(text) for text in bodies), key=len)
    text, cut = _cut(f"{title}\n{body}".strip())
    guid = str(dict.get(entry, "id") or "") or link or text
    return Item(
        id=_digest(f"{feed_url}\n{guid}"),
        url=link or feed_url,
        title=title,
        text=text,
        day=_struct_day(dict.get(entry, "updated_parsed") or dict.get(entry, "published_parsed")),
        faults=(*faults, *cut),
    )


def _plain(markup: str) -> str:
    """Text of a piece of markup, a paragraph a line."""
    if "<" not in markup and "&" not in markup:
        return _clean(markup)
    from lxml import html

    spaced = _clean(_BLOCK_END.sub("\n", markup))
    with _parsing("markup of an entry"):
        tree = html.fromstring(f"<div>{spaced}</div>")
        for code in list(tree.iter("script", "style")):
            code.drop_tree()
        return _clean(tree.text_content())


def _clean(text: str) -> str:
    visible = _INVISIBLE.sub("", _CONTROL.sub(" ", text))
    lines = (" ".join(line.split()) for line in visible.splitlines())
    return "\n".join(line for line in lines if line)


def _line(text: str) -> str:
    return " ".join(_clean(text).split())[:1000]


def _cut(text: str) -> tuple[str, tuple[str, ...]]:
    if len(text) <= MAX_TEXT_CHARS:
        return text, ()
    return text[:MAX_TEXT_CHARS], (f"text is longer than {MAX_TEXT_CHARS} characters",)


def _check_size(body: bytes) -> None:
    if len(body) > MAX_BYTES:
        raise Unreadable(f"larger than {MAX_BYTES} bytes")


def _struct_day(when: Any) -> date | None:
    try:
        return date(*when[:3]) if when else None
    except (ValueError, TypeError):
        return None


def _iso_day(text: str | None) -> date | None:
    try:
        return date.fromisoformat((text or "")[:10])
    except ValueError:
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def main() -> None:
    """Read one document: arguments are `feed` or `page` and seconds of CPU time; on standard input
    a line of JSON, the URL and the headers, and then the body; on standard output JSON, of which
    `unreadable` is the reason."""
    kind, seconds = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    headers = json.loads(sys.stdin.buffer.readline())
    body = sys.stdin.buffer.read()
    answer: dict[str, Any] = {"items": [], "fault": None, "unreadable": None}
    try:
        if kind == "feed":
            items, answer["fault"] = read_feed(body, headers["url"], headers)
        else:
            items = [read_page(body, headers["url"], headers)]
        answer["items"] = [{**asdict(item), "day": item.day and str(item.day)} for item in items]
    except Unreadable as error:
        answer["unreadable"] = str(error)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
