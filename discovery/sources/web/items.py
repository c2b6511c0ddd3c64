"""Parse a feed or a page into items: the text of each entry or page, its day and its address.

feedparser reads feeds of XML (RSS 0.9-2.0, RDF, Atom), which are known by the local name of their
root element, whatever its prefix; JSON Feeds (jsonfeed.org, version 1.1) are read here. trafilatura
reads the main text of a page. Anybody may have written their bytes. A document that cannot be
parsed raises `UnreadableDocument` with a reason; links other than http and https are left out.
Hostile markup can cost the parsers hours, or more memory than there is. So a crawl runs this file
as a program of its own, which sets limits for itself (`discovery.sources.web.sandbox`); therefore
it imports nothing else of this project.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import resource
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from html import escape, unescape
from typing import Any
from urllib.parse import urljoin, urlsplit

MAX_BYTES = 8 * 2**20
"""Bytes of the largest feed or page; a larger one is no text for people."""
MEMORY_BYTES = 2 * 2**30
"""Bytes of memory of the process that parses one document."""
MAX_URL_CHARS = 2048
MAX_TEXT_CHARS = 200_000
"""Characters of an item's text; the rest is cut off, and counted as a fault."""


_MAX_JUNK = 64
"""Bytes before the first markup of a feed, at most: a byte order mark, blank lines, a warning."""
_MARK = b"\xef\xbb\xbf"
"""Byte order mark of UTF-8."""
_ROOT = re.compile(rb"<(?:[\w.-]+:)?(rss|rdf|feed|channel|html)(?=[\s/>])", re.IGNORECASE)
_BEFORE_ROOT = ((b"<?", b"?>"), (b"<!--", b"-->"))
"""Beginning and end of what may stand before the root element, but for the document type."""
_BLANK = re.compile(rb"\s*")
_DOCTYPE = re.compile(rb"<!doctype\b[^>\[]*(?:\[.*?\]\s*)?>", re.IGNORECASE | re.DOTALL)
_LINK = re.compile(r"<link\b[^>]{0,1000}>", re.IGNORECASE)
_FEED_TYPE = re.compile(r"application/(?:rss|atom|feed)\+(?:xml|json)", re.IGNORECASE)
_HREF = re.compile(r"""\bhref\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
_ENTITY = re.compile(rb"<!ENTITY", re.IGNORECASE)
_CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
"""Soft hyphens, zero-width characters, and controls of the direction of text."""
_BLOCK_END = re.compile(r"</(?:p|div|li|h\d|tr|td|blockquote)\s*>|<br\s*/?>", re.IGNORECASE)


class UnreadableDocument(ValueError):
    """A feed or page cannot be read; its message has the same words for the same kind of fault.

    advice  what to do about this very document, or empty
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One entry of a feed, or one page."""

    id: str
    """16 hex digits: a digest of the GUID; without one, of the link; without both, of the text."""
    url: str
    """Address of the entry's page, or else of the feed."""
    title: str
    text: str
    """Title and main text without markup, a paragraph in each line."""
    day: date | None
    """Day (UTC) of the last change, or else of publication."""
    faults: tuple[str, ...] = ()
    """Reasons why parts of the item were left out."""

    @property
    def digest(self) -> str:
        """16 hex digits: a digest of title, text and day."""
        return _digest(json.dumps([self.title, self.text, str(self.day)]))


def read_feed(body: bytes, url: str, headers: Mapping[str, str]) -> tuple[list[Item], str | None]:
    """The items of a feed in its order, each once, and a fault of the feed or None.

    A feed that is cut off gives the items before the cut. Raises UnreadableDocument.
    """
    _check_size(body)
    text = body.replace(b"\0", b"")  # so that the patterns match UTF-16 and UTF-32 too
    root = _root(text)
    if root == "json":
        entries, fault = _json_entries(body)
        return _items(entries, url), fault
    if root == "html":
        raise UnreadableDocument("HTML where a feed was due", _named_feed(text, url))
    if not root:
        raise UnreadableDocument("not a feed")
    if _ENTITY.search(text):
        raise UnreadableDocument("feed declares entities")
    import feedparser

    response_headers = {"content-location": url, "content-type": headers.get("content-type", "")}
    with _parsing("feed"):
        feed: Any = feedparser.parse(
            io.BytesIO(_trimmed(body)),  # a stream: bytes would be tried as the name of a file
            response_headers=response_headers,
            sanitize_html=False,  # `_plain` removes markup, in linear time
            resolve_relative_uris=False,
        )
    items = _items(feed.entries, url)
    if not feed.version and not items:  # such as an RDF document of other things
        raise UnreadableDocument("not a feed")
    fault = None
    if "SAX" in type(feed.get("bozo_exception")).__name__:
        fault = "feed is not well-formed: there may be more of it"
    return items, fault


def _items(entries: Iterable[Any], url: str) -> list[Item]:
    """The items of a feed's entries, each once: of entries with one id the last counts."""
    items = {item.id: item for item in (_entry(entry, url) for entry in entries)}
    return list(items.values())


def _trimmed(body: bytes) -> bytes:
    """The body without blank lines before the XML declaration, where XML allows none."""
    mark = _MARK if body.startswith(_MARK) else b""
    return body if b"\0" in body[:_MAX_JUNK] else mark + body[len(mark) :].lstrip()


def _root(text: bytes) -> str:
    """What a document is, by its root element: `html`, `json` for an object, or a name that feeds
    have; empty for any other. Takes time in proportion to what stands before it."""
    place = text.find(b"<", 0, _MAX_JUNK + 1)
    brace = text.find(b"{", 0, _MAX_JUNK + 1)
    if brace >= 0 and not 0 <= place < brace:
        return "json"
    while 0 <= place < len(text):
        for begin, end in _BEFORE_ROOT:
            if text.startswith(begin, place):
                close = text.find(end, place + len(begin))
                after = close + len(end) if close >= 0 else len(text)
                break
        else:
            doctype = _DOCTYPE.match(text, place)
            if doctype is None:
                root = _ROOT.match(text, place)
                name = root[1].decode().lower() if root else ""
                return name or ("html" if b"<html" in text[place : place + 4096].lower() else "")
            if re.match(rb"<!doctype\s+html", doctype[0], re.IGNORECASE):
                return "html"
            after = doctype.end()
        blank = _BLANK.match(text, after)
        place = blank.end() if blank else after
    return ""


def _named_feed(page: bytes, url: str) -> str:
    """The advice to read the feed that an HTML page names by a link; empty where it names none."""
    for link in _LINK.findall(page[:100_000].decode("utf-8", "replace")):
        href = _HREF.search(link)
        if href and _FEED_TYPE.search(link) and is_web(urljoin(url, unescape(href[1]))):
            return f"it names the feed {urljoin(url, unescape(href[1]))}"
    return ""


def _json_entries(body: bytes) -> tuple[list[dict[str, Any]], str | None]:
    """The entries of a JSON Feed in the form of feedparser's, and a fault of the feed or None.

    Raises UnreadableDocument.
    """
    with _parsing("feed"):
        feed = json.loads(body.decode(json.detect_encoding(body)))
        entries = feed.get("items")
    if "jsonfeed.org/version" not in str(feed.get("version")) or not isinstance(entries, list):
        raise UnreadableDocument("not a feed")
    read = [
        {
            "id": entry.get("id"),
            "link": entry.get("url") or entry.get("external_url"),
            "title": escape(str(entry.get("title") or "")),
            "summary": escape(str(entry.get("summary") or "")),
            "content": [
                {"value": entry.get("content_html")},
                {"value": escape(str(entry.get("content_text") or ""))},
            ],
            "updated_parsed": _time_tuple(entry.get("date_modified")),
            "published_parsed": _time_tuple(entry.get("date_published")),
        }
        for entry in entries
        if isinstance(entry, dict)
    ]
    return read, None if len(read) == len(entries) else "entry of the feed is no JSON object"


def read_page(body: bytes, url: str, headers: Mapping[str, str]) -> Item:
    """The main text of an HTML page, its title and date. Raises UnreadableDocument."""
    _check_size(body)
    kind = headers.get("content-type", "text/html").partition(";")[0].strip().lower()
    if kind not in ("text/html", "application/xhtml+xml", ""):
        raise UnreadableDocument("page is not HTML")
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
        raise UnreadableDocument("page has no main text")
    title, main_text = _line(found.title or ""), _clean(found.text)
    titled = main_text if main_text.startswith(title) else f"{title}\n{main_text}"
    text, faults = _cut(titled)
    return Item(
        id=_digest(url), url=url, title=title, text=text, day=_iso_day(found.date), faults=faults
    )


@contextmanager
def _parsing(what: str) -> Iterator[None]:
    """Turn any exception of a parser into an UnreadableDocument: the document is at fault."""
    try:
        yield
    except Exception as error:
        raise UnreadableDocument(f"{what} cannot be parsed ({type(error).__name__})") from error


def is_web(link: str) -> bool:
    """Whether a link is an http or https address with a host."""
    try:
        parts = urlsplit(link)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _entry(entry: Any, feed_url: str) -> Item:
    """The item of a feed's entry, as feedparser gives it."""
    faults = []
    link = str(dict.get(entry, "link") or "")
    if link and not is_web(link):
        if link != dict.get(entry, "id"):  # feedparser takes an id for a missing link
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
    """The text in a piece of markup, a paragraph in each line."""
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
    """Text without control and invisible characters, blank lines and repeated spaces."""
    visible = _INVISIBLE.sub("", _CONTROL.sub(" ", text))
    lines = (" ".join(line.split()) for line in visible.splitlines())
    return "\n".join(line for line in lines if line)


def _line(text: str) -> str:
    """Clean text in one line of at most 1000 characters."""
    return " ".join(_clean(text).split())[:1000]


def _cut(text: str) -> tuple[str, tuple[str, ...]]:
    """The text, cut to `MAX_TEXT_CHARS`, and the fault if it was cut."""
    if len(text) <= MAX_TEXT_CHARS:
        return text, ()
    return text[:MAX_TEXT_CHARS], (f"text is longer than {MAX_TEXT_CHARS} characters",)


def _check_size(body: bytes) -> None:
    """Raises UnreadableDocument for a body that is too large."""
    if len(body) > MAX_BYTES:
        raise UnreadableDocument(f"larger than {MAX_BYTES} bytes")


def _struct_day(when: Any) -> date | None:
    """The day of feedparser's time tuple, None where it is none."""
    try:
        return date(*when[:3]) if when else None
    except (ValueError, TypeError):
        return None


def _time_tuple(text: Any) -> Any:
    """The UTC time tuple of an ISO 8601 time, as feedparser gives it; None where it is none."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC).timetuple()
    except (ValueError, OverflowError):
        return None


def _iso_day(text: str | None) -> date | None:
    """The day of an ISO date, None where it is none."""
    try:
        return date.fromisoformat((text or "")[:10])
    except ValueError:
        return None


def _digest(text: str) -> str:
    """16 hex digits of a text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def main() -> None:
    """Parse one document, as a program.

    Arguments: `feed` or `page`, and the seconds of CPU time. Standard input: a line of JSON with
    the URL and the content type, then the body. Standard output: JSON with the items, a fault, and
    in `unreadable` the reason and the advice if the document cannot be read.
    """
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
    except UnreadableDocument as error:
        answer["unreadable"] = [str(error), error.advice]
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
