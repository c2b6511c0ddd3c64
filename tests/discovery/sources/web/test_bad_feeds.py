"""Feeds and pages as they should not be: counted with a reason, and nothing else happens."""

import gzip
import json
import re
import resource
import time

import pytest
from feed_site import FEEDS, TODAY, article, crawl_feed, rss, serve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_feed import ADA, BOB, FILLER

from discovery.sources.web import items, sandbox
from discovery.sources.web.feed import FeedSource
from discovery.sources.web.items import MAX_BYTES, UnreadableDocument, read_feed, read_page
from infra.errors import SourceError

URL = "https://example.org/feed"


@pytest.fixture
def site():
    with serve() as served:
        yield served


def bomb(levels=9, width=10):
    """The billion laughs: entities of entities, `width` ** `levels` times ten characters."""
    names = "abcdefghijklmnop"
    entities = ['<!ENTITY a "hahahahaha">'] + [
        f'<!ENTITY {names[n]} "{f"&{names[n - 1]};" * width}">' for n in range(1, levels + 1)
    ]
    start = f"<?xml version='1.0'?><!DOCTYPE rss [{''.join(entities)}]>"
    body = f"<item><title>&{names[levels]};</title></item>"
    return f"{start}<rss version='2.0'><channel>{body}</channel></rss>"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (article(*FILLER), "HTML where a feed was due"),
        ("", "not a feed"),
        ('{"items": []}', "not a feed"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not a feed"),
        ("/etc/passwd", "not a feed"),
        (bomb(), "feed declares entities"),
        (bomb().encode("utf-16"), "feed declares entities"),
        (b" " * (MAX_BYTES + 1), f"larger than {MAX_BYTES} bytes"),
    ],
    ids=["html", "empty", "json", "image", "path", "bomb", "utf16", "huge"],
)
def test_what_is_no_feed(site, body, reason):
    """What was no feed is counted with its reason, and the next address is read."""
    bad, good = site.put("/bad", body), site.put("/feed", rss(ADA))
    crawled = crawl_feed(feeds=(bad, good))
    assert crawled.said == {("Ada Lovelace", "P26", "William King")}
    assert crawled.reasons == [reason] and crawled.skips[0].sample == bad


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        ("", "text/html", "page has no main text"),
        ("<html><body><script>1</script></body></html>", "text/html", "page has no main text"),
        (b"\0" * 1000, "text/html", "page has no main text"),
        ("%PDF-1.7", "application/pdf", "page is not HTML"),
        ('{"a": 1}', "application/json", "page is not HTML"),
        (b"x" * (MAX_BYTES + 1), "text/html", f"larger than {MAX_BYTES} bytes"),
    ],
    ids=["empty", "script", "nul", "pdf", "json", "huge"],
)
def test_what_is_no_page(site, body, kind, reason):
    """What has no text for people is counted with its reason."""
    bad, good = site.put("/bad", body, Content_Type=kind), site.put("/feed", rss(ADA))
    crawled = crawl_feed(pages=(bad,), feeds=(good,))
    assert crawled.said and crawled.reasons == [reason]


@pytest.mark.parametrize("status", [403, 404, 410, 500])
def test_statuses(site, status):
    """An address that is forbidden, gone or broken does not cost the others; its sample says what
    to do."""
    bad, good = site.put("/bad", "no", status=status), site.put("/feed", rss(ADA))
    crawled = crawl_feed(feeds=(good, bad))
    at_fault = status == 500
    assert crawled.said
    assert crawled.reasons == ["cannot be fetched" if at_fault else f"HTTP {status}"]
    assert ("HTTP 500" if at_fault else "`feeds`") in crawled.skips[0].sample


def test_a_source_none_of_whose_addresses_is_a_feed_is_an_error(site):
    """It does not end well with nothing; the feed that a page names is told."""
    link = '<link rel="alternate" type="application/rss+xml" href="/rss?a=1&amp;b=2">'
    page = site.put("/bad", article(*FILLER, head=link), Content_Type="text/html")
    gone = site.put("/gone", "no", status=404)
    with pytest.raises(SourceError, match="none of its addresses gives a feed") as caught:
        crawl_feed(feeds=(gone, page))
    text = str(caught.value)
    assert "HTML where a feed was due" in text and "\n" not in text
    assert f"it names the feed {site.origin}/rss?a=1&b=2" in text


def test_a_feed_that_was_cut(site):
    """A feed that ends in the middle gives what stands before, and says that there may be more; the
    next crawl of the whole feed reads the rest."""
    whole = rss(ADA, BOB)
    url = site.put("/feed", whole[: whole.index("<title>", whole.index("</item>"))])
    cut = crawl_feed(feeds=(url,))
    assert cut.said == {("Ada Lovelace", "P26", "William King")}
    assert "feed is not well-formed: there may be more of it" in cut.reasons
    site.put("/feed", whole)
    assert crawl_feed(cursor=cut.cursor, feeds=(url,)).said == {("Bob Smith", "P108", "Acme")}


def test_entries_without_anything(site):
    """No link, no GUID, no date, no text: what there is is read, an entry without text is counted
    once, and links that lead to no web page are left out and counted."""
    text = "Eve Jones works for Initech."
    entries = [
        {"description": text},
        {"title": "", "guid": "x"},
        {**BOB, "link": "javascript:alert(1)"},
        {**ADA, "link": "file:///etc/passwd"},
        {**ADA, "guid": "3", "link": "//[broken"},
    ]
    url = site.put("/feed", rss(*entries))
    crawled = crawl_feed(feeds=(url,), follow=True)
    assert crawled.said == {
        ("Eve Jones", "P108", "Initech"),
        ("Bob Smith", "P108", "Acme"),
        ("Ada Lovelace", "P26", "William King"),
    }
    assert {fact.references for fact in crawled.facts.values()} == {(url,)}
    assert crawled.reasons.count("entry has no text") == 1
    assert crawled.reasons.count("link of an entry is not http or https") == 2
    assert not crawl_feed(cursor=crawled.cursor, feeds=(url,)).reasons


def test_a_link_without_end(site):
    """A link of a hundred thousand characters is left out and counted; what the entry says is
    read."""
    far = f"{site.origin}/{'x' * 100_000}"
    url = site.put("/feed", rss({**ADA, "link": far}))
    site.put(f"/{'x' * 100_000}", article(*FILLER), Content_Type="text/html")
    crawled = crawl_feed(feeds=(url,), follow=True)
    assert crawled.said == {("Ada Lovelace", "P26", "William King")}
    assert crawled.reasons == ["link of an entry is longer than 2048 characters"]


def test_a_reader_that_fails_is_not_taken_for_a_hostile_page(monkeypatch):
    """What goes wrong in the reader itself is told by its name."""
    monkeypatch.setattr(items, "__file__", "/nowhere/reader.py")
    with pytest.raises(UnreadableDocument, match=r"the reader of feeds fails"):
        sandbox.read("feed", b"<rss/>", URL, {})


def test_one_guid_twice(site):
    """Of entries with one GUID the last counts, whatever the order of crawls."""
    later = {**BOB, "guid": ADA["guid"]}
    url = site.put("/feed", rss(ADA, later))
    crawled = crawl_feed(feeds=(url,))
    assert crawled.said == {("Bob Smith", "P108", "Acme")}


def test_markup_and_control_characters_do_not_get_through(site):
    """Text is plain: no tags, scripts, control or bidirectional characters in names."""
    text = "&lt;script&gt;x()&lt;/script&gt;&lt;b&gt;Ada\u202e Lovelace&lt;/b&gt; "
    text += "is married to William\u200b King."
    url = site.put("/feed", rss({**ADA, "title": "", "description": text}))
    crawled = crawl_feed(feeds=(url,))
    assert crawled.said == {("Ada Lovelace", "P26", "William King")}
    said = json.loads(crawled.observations[0].payload)["text"]
    assert said == "Ada Lovelace is married to William King."


def test_sentences_without_end(site):
    """A text of one sentence of a megabyte is cut and counted, and so is each that is too long."""
    url = site.put("/feed", rss({**ADA, "description": "word " * 200_000}))
    crawled = crawl_feed(feeds=(url,))
    assert crawled.reasons == [
        "sentence is longer than 600 characters",
        "text is longer than 200000 characters",
    ]
    assert all(len(skip.sample) <= 200 for skip in crawled.skips)


RSS = "<rss version='2.0'><channel><item><description>"
HOSTILE = {
    "bomb": bomb(),
    "quadratic": f"<!DOCTYPE r [<!ENTITY a '{'a' * 100_000}'>]>{RSS}{'&a;' * 10_000}</description>",
    "external": "<!DOCTYPE r [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
    + RSS
    + "&x;</description>",
    "deep": RSS + "<div>" * 300_000,
    "attributes": RSS + "<p " + "a='b' " * 300_000 + ">text</p>",
    "comments": RSS + "<![CDATA[" + "<!--" * 300_000 + "]]></description></item></channel></rss>",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["feed", "page"])
def test_hostile_markup_costs_so_much_and_no_more(name, kind):
    """Whatever a document does to the parsers, there is an answer or a reason once it has used its
    time; what it says is not what it was not given."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        said = str(sandbox.read(kind, HOSTILE[name].encode(), URL, {}, cpu_s=3))
    except UnreadableDocument as error:
        said = str(error)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 6
    assert len(said) < 1_000_000 and "root:" not in said


def test_entities_are_not_expanded_by_the_parsers_either(monkeypatch):
    """A bomb that gets past our own look for entities is not one: what it says is short."""
    monkeypatch.setattr(items, "_ENTITY", re.compile(rb"(?!)"))
    found, _ = read_feed(bomb().encode(), URL, {})
    assert sum(len(item.text) for item in found) < 100


def test_a_compressed_answer_that_unpacks_without_end(site):
    """A gigabyte of blanks in a megabyte of gzip ends at the client's cap, and is counted."""
    packed = gzip.compress(b" " * (100 * 2**20))
    bad = site.put("/bad", packed, Content_Encoding="gzip")
    good = site.put("/feed", rss(ADA))
    crawled = crawl_feed(feeds=(bad, good))
    assert crawled.said and crawled.reasons == ["cannot be fetched"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(path.name for path in FEEDS.glob("*[ms]"))),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=20),
    st.integers(0, 3000),
)
def test_damaged_feeds_are_items_or_a_reason(name, changes, cut):
    """However bytes of a real feed are changed and wherever it is cut, the answer is items that can
    be written as text, or one reason."""
    body = bytearray((FEEDS / name).read_bytes())
    for place, value in changes:
        body[place % len(body)] = value
    try:
        items, _ = read_feed(bytes(body[: len(body) - cut % len(body)]), URL, {})
    except UnreadableDocument as error:
        assert "\n" not in str(error)
        return
    for item in items:
        f"{item.text}{item.title}{item.url}".encode()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300), st.integers(0, 900))
def test_damaged_pages_are_text_or_a_reason(noise, place):
    """The same of pages, with noise put anywhere."""
    page = article(*FILLER).encode()
    try:
        item = read_page(page[:place] + noise + page[place:], URL, {})
    except UnreadableDocument as error:
        assert "\n" not in str(error)
        return
    item.text.encode()


def test_a_long_feed_takes_time_in_proportion(site):
    """Twice the entries take about twice the time: nothing in the reading is quadratic."""

    def seconds(number):
        body = rss(*({**ADA, "guid": str(n)} for n in range(number))).encode()
        start = time.process_time()
        items, _ = read_feed(body, URL, {})
        assert len(items) == number and items[0].day and items[0].day < TODAY
        return time.process_time() - start

    seconds(50)
    assert seconds(1600) < 4 * seconds(800) + 0.5


def test_names_of_megabytes(site):
    """A title is cut, a subject of a megabyte is no name, a GUID as long is an id like others; ten
    megabytes are no feed."""
    long = "A" + "b" * 1_000_000
    entries = [
        {**ADA, "title": "T" * 3_000_000},
        {**BOB, "guid": "g" * 3_000_000},
        {**ADA, "guid": "3", "description": f"{long} is married to {long}."},
    ]
    url = site.put("/feed", rss(*entries))
    crawled = crawl_feed(feeds=(url,))
    assert crawled.said == {("Ada Lovelace", "P26", "William King"), ("Bob Smith", "P108", "Acme")}
    assert max(len(json.loads(o.payload)["title"]) for o in crawled.observations) <= 1000
    assert "text is longer than 200000 characters" in crawled.reasons
    assert all(len(skip.sample) <= 200 for skip in crawled.skips)
    site.put("/feed", rss({**ADA, "title": "T" * 10_000_000}))
    other = site.put("/other", rss(BOB))
    crawled = crawl_feed(feeds=(url, other))
    assert crawled.said == {("Bob Smith", "P108", "Acme")}
    assert crawled.reasons == [f"larger than {MAX_BYTES} bytes"]


@pytest.mark.parametrize("status", [403, 404, 200])
def test_a_feed_that_goes_between_its_two_readings_loses_nothing(site, monkeypatch, status):
    """Its entries were heard of and cannot be read: an error, since they would count as read."""
    url = site.put("/feed", rss(ADA))
    listen = FeedSource.listen

    def then_gone(self, *given):
        signal = listen(self, *given)
        site.put("/feed", "no feed", status=status)
        return signal

    monkeypatch.setattr(FeedSource, "listen", then_gone)
    with pytest.raises(SourceError, match=r"was read a moment ago.*Run the same command again"):
        crawl_feed(feeds=(url,))
