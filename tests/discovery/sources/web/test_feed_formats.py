"""A feed is known by what it is: in any format, with any prefix, behind whatever comes before."""

import json
from datetime import date

import pytest

from discovery.sources.web.items import UnreadableDocument, read_feed

URL = "https://example.org/feed"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XML = "<?xml version='1.0' encoding='utf-8'?>"


def atom(prefix="", namespace="http://www.w3.org/2005/Atom"):
    """An Atom feed of one entry whose elements have a prefix."""
    p, declared = (f"{prefix}:", f"xmlns:{prefix}") if prefix else ("", "xmlns")
    entry = (
        f"<{p}entry><{p}id>urn:1</{p}id><{p}title>Zoë</{p}title>"
        f"<{p}updated>2024-05-02T23:30:00-02:00</{p}updated></{p}entry>"
    )
    return f"<{p}feed {declared}='{namespace}'><{p}title>t</{p}title>{entry}</{p}feed>"


def rdf(prefix, item_prefix, namespace):
    """An RSS 0.90 or 1.0 feed of one item."""
    q, declared = (f"{item_prefix}:", f"xmlns:{item_prefix}") if item_prefix else ("", "xmlns")
    item = f"<{q}item><{q}title>Zoë</{q}title></{q}item>"
    return f"<{prefix}:RDF xmlns:{prefix}='{RDF}' {declared}='{namespace}'>{item}</{prefix}:RDF>"


def rss(version, before="", p=""):
    return (
        f"{before}<{p}rss version='{version}'><{p}channel><{p}title>t</{p}title>"
        f"<{p}item><{p}title>Zoë</{p}title></{p}item></{p}channel></{p}rss>"
    )


DTD = (
    '<!DOCTYPE rss PUBLIC "-//Netscape Communications//DTD RSS 0.91//EN" '
    '"http://my.netscape.com/publish/formats/rss-0.91.dtd">'
)
JSON_FEED = {
    "version": "https://jsonfeed.org/version/1.1",
    "title": "t",
    "items": [
        {
            "id": "urn:1",
            "url": "https://example.org/1",
            "title": "Zoë",
            "content_text": "2 < 3",
            "date_published": "2024-05-02T23:30:00-02:00",
        }
    ],
}
FORMS = {
    **{f"prefix {p}": f"{XML}{atom(p)}" for p in ("", "ns0", "atom", "a", "x-1.y", "RSS")},
    "no declaration": atom("ns0"),
    "long comment": f"{XML}<!-- {'licence ' * 5000}-->{atom('ns0')}",
    "comments and instructions": (
        f"{XML}\n<?xml-stylesheet href='a>b'?><!-- a > b --><?x?>\n<!---->{atom('a')}"
    ),
    "document type": f"{XML}{DTD}{rss('0.91')}",
    "blank lines": f"\n\n \t{XML}{atom('ns0')}",
    "RSS 0.92": rss("0.92"),
    "RSS 0.90": rdf("r", "", "http://my.netscape.com/rdf/simple/0.9/"),
    "RSS 1.0": rdf("rdf", "", "http://purl.org/rss/1.0/"),
    "RSS 1.0, prefixes": rdf("ns0", "ns1", "http://purl.org/rss/1.0/"),
    "Atom 0.3": atom("", "http://purl.org/atom/ns#"),
    "Atom without namespace": "<feed><title>t</title><entry><title>Zoë</title></entry></feed>",
    "JSON Feed": json.dumps(JSON_FEED),
    "JSON Feed 1": json.dumps({**JSON_FEED, "version": "https://jsonfeed.org/version/1"}),
}


@pytest.mark.parametrize("kind", ["application/xml", "text/html; charset=utf-8", ""])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_feed_is_read(form: str, kind: str) -> None:
    """Whatever the server calls it, and with a byte order mark or without, and nothing is said to
    be wrong with it."""
    body = FORMS[form].encode()
    for marked in (body, b"\xef\xbb\xbf" + body):
        (item,), fault = read_feed(marked, URL, {"content-type": kind})
        assert item.title == "Zoë" and fault is None


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("prefix", ["", "ns0"])
def test_a_feed_of_two_bytes_a_character(coding: str, prefix: str) -> None:
    text = f"{XML.replace('utf-8', coding)}{atom(prefix)}"
    (item,), _ = read_feed(text.encode(coding), URL, {})
    assert item.title == "Zoë"


def test_a_document_type_with_a_subset() -> None:
    """It may hold declarations, which end as it does."""
    subset = "<!DOCTYPE rss [<!ELEMENT rss ANY> <!ATTLIST rss version CDATA #IMPLIED>]>"
    (item,), _ = read_feed(rss("0.91", subset).encode(), URL, {})
    assert item.title == "Zoë"


def test_entries_of_a_json_feed() -> None:
    """Address, day (UTC) and text; text is no markup, HTML is; what is no entry is told."""
    (item,), _ = read_feed(json.dumps(JSON_FEED).encode(), URL, {})
    assert (item.url, item.day) == ("https://example.org/1", date(2024, 5, 3))
    assert item.text == "Zoë\n2 < 3"
    html = {"id": 7, "content_html": "<p>Ada <b>Lovelace</b></p>", "date_modified": "soon"}
    feed = {**JSON_FEED, "items": [html, "entry"]}
    (other,), fault = read_feed(json.dumps(feed).encode("utf-16"), URL, {})
    assert (other.text, other.day, other.url) == ("Ada Lovelace", None, URL)
    assert fault == "entry of the feed is no JSON object"


@pytest.mark.parametrize(
    "text",
    [
        f"<rdf:RDF xmlns:rdf='{RDF}'><rdf:Description rdf:about='x'/></rdf:RDF>",
        "<urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'><url/></urlset>",
        "<opml version='1.0'><body/></opml>",
        "<feeds><feed/></feeds>",
        "<!-- <rss version='2.0'> -->",
        "<!-- <rss version='2.0'>",
        '{"version": "1.1", "items": []}',
        '{"version": "https://jsonfeed.org/version/1.1", "items": null}',
        '["https://jsonfeed.org/version/1.1"]',
    ],
)
def test_documents_that_are_no_feeds(text: str) -> None:
    """Also those that have a root element, or words, which feeds have."""
    with pytest.raises(UnreadableDocument, match="not a feed"):
        read_feed(text.encode(), URL, {})


def test_a_feed_without_entries_is_one() -> None:
    """An empty feed is not taken for a document of another kind."""
    empty = "<n:feed xmlns:n='http://www.w3.org/2005/Atom'><n:title>t</n:title></n:feed>"
    assert read_feed(empty.encode(), URL, {}) == ([], None)
