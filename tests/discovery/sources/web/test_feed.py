"""Feeds and pages, over real HTTP on loopback."""

import json
from datetime import date

import pytest
from discovery_helpers import EXAMPLES, make_crawl, put_snapshot
from feed_site import FEEDS, TODAY, article, crawl_feed, rss, serve
from pydantic import ValidationError

from discovery.crawl.stage import local_inputs
from discovery.facts.dates import iso_interval
from discovery.facts.fact import Fact
from discovery.facts.tables import from_table
from discovery.snapshot.output import bucket_file
from discovery.sources import SOURCES, make_source
from discovery.sources.observation import Since
from discovery.sources.web.config import FeedConfig
from discovery.sources.web.feed import MAX_KNOWN, FeedSource
from discovery.sources.web.items import read_feed, read_page
from discovery.trust.policy import TrustConfig, standings
from infra.errors import ConfigError, SourceError
from infra.http.client import PoliteClient
from infra.http.limits.rate_limit import LocalRateLimit

ADA = {
    "title": "A wedding",
    "link": "https://example.org/1",
    "guid": "1",
    "pubDate": "Mon, 03 Jun 2024 10:00:00 GMT",
    "description": "Ada Lovelace is married to William King. Both live in London.",
}
BOB = {**ADA, "guid": "2", "description": "Bob Smith works for Acme.", "link": "https://e.org/2"}
FILLER = [
    f"This is paragraph {n} of a text about nothing in particular, at length." for n in range(6)
]


@pytest.fixture
def site():
    with serve() as served:
        yield served


@pytest.mark.parametrize(
    ("name", "first", "day", "num"),
    [
        ("encoding.rss", "Mãe de utente é a nova presidente da Raríssimas", date(2018, 1, 3), 3),
        ("rss-1.rss", "Food for fungi", date(2017, 6, 15), 3),
        ("gulp-atom.atom", "v3.9.0", date(2015, 6, 1), 10),
        ("reader_full.atom", "Atom-Powered Robots Run Amok", date(2003, 12, 13), 5),
        ("reader_full.rss", "Example entry", date(2009, 9, 6), 5),
    ],
)
def test_real_feeds(name, first, day, num):
    """RSS 1.0 and 2.0 and Atom, as sites served them, in their own encodings: every entry is an
    item with its title and its day, and each has its own id."""
    items, fault = read_feed((FEEDS / name).read_bytes(), "https://example.org/feed", {})
    assert (items[0].title, items[0].day, len(items), fault) == (first, day, num, None)
    assert len({item.id for item in items}) == num


def test_a_fact_carries_what_says_it(site):
    """Subject, relation and object as they stand in the sentence, which the fact has with it, the
    entry's address and its day."""
    url = site.put("/feed", rss(ADA))
    crawled = crawl_feed(feeds=(url,))
    (fact,) = crawled.facts.values()
    assert (fact.subject, fact.relation, fact.value) == ("Ada Lovelace", "P26", "William King")
    assert fact.quote == "Ada Lovelace is married to William King."
    assert fact.references == ("https://example.org/1",)
    assert fact.point == iso_interval("2024-06-03") and fact.value_type == "string"
    (observation,) = crawled.observations
    said = json.loads(observation.payload)
    assert said["extractor"] == {"name": "patterns", "version": "1"}
    assert "Both live in London." in said["text"] and len(said["body"]) == 64


def test_parsing_needs_no_extractor(site):
    """An observation alone gives the same facts, whatever extractor and relations are configured
    by then: what a model once said is a record."""
    url = site.put("/feed", rss(ADA))
    crawled = crawl_feed(feeds=(url,))
    other = make_source(FeedConfig(name="news", pages=("https://e.org",), relations=("P36",)))
    parsed = other.parse(crawled.observations[0])
    assert {fact.statement_id: fact for fact in parsed.facts} == crawled.facts


def test_every_fact_of_it_is_quarantined():
    """The source's kind says so, and no policy of trust lifts it."""
    config = FeedConfig(name="news", feeds=("https://e.org/feed",), relations=("P36",))
    assert FeedConfig.quarantined and SOURCES["feed"] is FeedSource
    generous = TrustConfig.model_validate({"sources": {"news": {"base_trust": 1.0}}})
    for policy in (TrustConfig(), generous):
        standing = standings((config,), policy)["news"]
        assert standing.quarantined and not standing.own


def test_what_was_read_is_not_read_again(site, tmp_path):
    """From its cursor a crawl reads new entries and changed ones, and the feed itself is asked for
    conditionally."""
    url = site.put("/feed", rss(ADA))
    first = crawl_feed(tmp_path, feeds=(url,))
    again = crawl_feed(tmp_path, first.cursor, feeds=(url,))
    assert not again.observations and again.cursor == first.cursor
    assert site.asked[-1] == ("/feed", 304)
    site.put("/feed", rss(BOB, ADA))
    more = crawl_feed(tmp_path, again.cursor, feeds=(url,))
    assert more.said == {("Bob Smith", "P108", "Acme")}
    wedded = {**ADA, "description": "Ada Lovelace is married to Charles Babbage."}
    site.put("/feed", rss(BOB, wedded))
    changed = crawl_feed(tmp_path, more.cursor, feeds=(url,))
    assert changed.said == {("Ada Lovelace", "P26", "Charles Babbage")}
    assert not crawl_feed(tmp_path, changed.cursor, feeds=(url,)).observations


def test_crawls_one_by_one_find_what_one_crawl_finds(site, tmp_path):
    """Statements of a feed that grows, put together crawl by crawl, are those of one crawl of all
    of it."""
    entries = [
        {**ADA, "guid": str(n), "description": f"Person {n} is married to Spouse {n}."}
        for n in range(10, 16)
    ]
    union, cursor, url = {}, None, ""
    for n in range(1, 7):
        url = site.put("/feed", rss(*entries[:n]))
        step = crawl_feed(tmp_path, cursor, feeds=(url,))
        assert len(step.facts) == 1
        union, cursor = {**union, **step.facts}, step.cursor
    assert union == crawl_feed(feeds=(url,)).facts


def test_a_cursor_does_not_grow_without_end(site):
    """It remembers so many items, those last seen."""
    url = site.put("/feed", rss(ADA))
    known = [[f"{n:016x}", "0" * 16] for n in range(MAX_KNOWN)]
    crawled = crawl_feed(cursor={"at": 0, "unreached": 0, "known": known}, feeds=(url,))
    assert len(crawled.cursor["known"]) == MAX_KNOWN
    assert crawled.cursor["known"][:2] == known[1:3]


def test_a_page_is_read_for_its_main_text(site, tmp_path):
    """Of an HTML page the article is read, not the menu; it is read again when that changes, and
    not when only what surrounds it does."""
    head = '<meta property="article:published_time" content="2024-05-06">'
    told = ["Ada Lovelace is married to William King.", *FILLER]
    url = site.put("/p", article(*told, title="A wedding", head=head), Content_Type="text/html")
    first = crawl_feed(tmp_path, pages=(url,))
    (fact,) = first.facts.values()
    assert fact.point == iso_interval("2024-05-06") and fact.references == (url,)
    assert "Home | Sport" not in json.loads(first.observations[0].payload)["text"]
    site.put("/p", article(*told, title="A wedding", head=head).replace("Sport", "Weather"))
    assert not crawl_feed(tmp_path, first.cursor, pages=(url,)).observations
    told[0] = "Ada Lovelace is married to Charles Babbage."
    site.put("/p", article(*told, title="A wedding", head=head))
    assert crawl_feed(tmp_path, first.cursor, pages=(url,)).said == {
        ("Ada Lovelace", "P26", "Charles Babbage")
    }


def test_entries_are_followed_where_the_config_says(site, tmp_path):
    """With `follow` an entry's page is read in place of its summary, on the hosts that are named;
    where it cannot be had, the summary is, and the reason counted."""
    long = article("Ada Lovelace is married to William King.", *FILLER)
    link = site.put("/1", long, Content_Type="text/html")
    here = {**ADA, "link": link, "description": "A short notice."}
    gone = {**BOB, "link": f"{site.origin}/gone"}
    inside = {**BOB, "guid": "3", "link": "http://169.254.169.254/latest/meta-data"}
    local = {**BOB, "guid": "4", "link": "http://localhost:1/"}
    url = site.put("/feed", rss(here, gone, inside, local))
    crawled = crawl_feed(tmp_path, feeds=(url,), follow=True)
    assert ("Ada Lovelace", "P26", "William King") in crawled.said
    assert ("Bob Smith", "P108", "Acme") in crawled.said
    assert crawled.reasons == [
        "link of an entry leads to another host",
        "link of an entry leads to another host",
        "page of an entry: HTTP 404",
    ]
    assert not crawl_feed(feeds=(url,)).said & {("Ada Lovelace", "P26", "William King")}


def test_a_link_leads_to_no_other_port_of_the_own_network(site):
    """Another port of the feed's own host is another server, of which the operator knows nothing:
    it is asked only where `hosts` names it with that port."""
    with serve() as inner:
        link = inner.put("/1", article("Ada Lovelace is married to William King.", *FILLER))
        url = site.put("/feed", rss({**BOB, "link": link}))
        crawled = crawl_feed(feeds=(url,), follow=True, hosts=("127.0.0.1",))
        assert crawled.reasons == ["page of an entry: cannot be fetched"] and not inner.asked
        hosts = (inner.origin.removeprefix("http://"),)
        named = crawl_feed(feeds=(url,), follow=True, hosts=hosts)
        assert named.said == {("Ada Lovelace", "P26", "William King")}


@pytest.mark.parametrize("host", ["http://a.org", "a.org/x", "a b", "", "a.org:x"])
def test_a_host_is_a_name_and_perhaps_a_port(host):
    """Anything else is refused by the config."""
    settings = {"name": "n", "relations": ["P26"], "feeds": ["http://a.org/f"], "hosts": [host]}
    with pytest.raises(ValueError, match="is no host"):
        FeedConfig.model_validate(settings)


def test_a_feed_of_many_entries_is_read_to_a_bound(site):
    """The first entries count, and how many are left out is said; the default leaves a config what
    it was."""
    url = site.put("/feed", rss(ADA, BOB, {**BOB, "guid": "3"}, {**BOB, "guid": "4"}))
    crawled = crawl_feed(feeds=(url,), max_entries=2)
    assert crawled.said == {("Ada Lovelace", "P26", "William King"), ("Bob Smith", "P108", "Acme")}
    (skip,) = {(skip.reason, skip.count) for skip in crawled.skips}
    assert skip == ("feed has more than 2 entries (`max_entries`)", 2)
    settings = {"name": "n", "relations": ["P26"], "feeds": [url]}
    assert "max_entries" not in FeedConfig.model_validate(settings).model_dump(mode="json")


def test_robots_are_obeyed(site):
    """A page that robots.txt forbids is counted, with the rule's words, and not asked for."""
    site.put("/robots.txt", "User-agent: *\nDisallow: /private")
    url = site.put("/feed", rss(ADA))
    secret = site.put("/private", article(*FILLER), Content_Type="text/html")
    crawled = crawl_feed(feeds=(url,), pages=(secret,))
    assert crawled.said and crawled.reasons == ["cannot be fetched"]
    assert "does not allow" in crawled.skips[0].sample
    assert "/private" not in [path for path, _ in site.asked]


def test_entries_of_a_later_day_wait(site):
    """Clock skew, or an old day asked for: an entry dated after the day is counted and not read; it
    is when its day has come. One without a date is read, and says nothing of when."""
    undated = {key: text for key, text in BOB.items() if key != "pubDate"}
    url = site.put("/feed", rss(ADA, undated))
    early = crawl_feed(as_of=date(2024, 6, 2), feeds=(url,))
    assert early.said == {("Bob Smith", "P108", "Acme")}
    assert [fact.point for fact in early.facts.values()] == [None]
    assert early.reasons == ["dated after the day of the crawl"]
    late = crawl_feed(cursor=early.cursor, as_of=date(2024, 6, 3), feeds=(url,))
    assert late.said == {("Ada Lovelace", "P26", "William King")} and not late.reasons


def test_a_page_of_a_later_day_waits(site):
    """One that says it was published after the day is counted and not read, until its day."""
    head = '<meta property="article:published_time" content="2024-05-06">'
    told = article("Ada Lovelace is married to William King.", *FILLER, head=head)
    url = site.put("/p", told, Content_Type="text/html")
    early = crawl_feed(as_of=date(2024, 5, 5), pages=(url,))
    assert not early.said and early.reasons == ["dated after the day of the crawl"]
    late = crawl_feed(cursor=early.cursor, as_of=date(2024, 5, 6), pages=(url,))
    assert late.said == {("Ada Lovelace", "P26", "William King")} and not late.reasons


def test_sentences_that_only_seem_to_say_it(site):
    """What is denied, doubted, asked or long past is not read, and is counted."""
    text = (
        "Ada Lovelace is not married to William King. It is alleged that Ada Lovelace is married "
        "to William King. Is it true that Ada Lovelace is married to William King? Ada Lovelace "
        "was once married to William King."
    )
    url = site.put("/feed", rss({**ADA, "title": "", "description": text}))
    crawled = crawl_feed(feeds=(url,))
    assert not crawled.facts
    assert crawled.reasons == ["sentence denies, doubts, supposes or looks back"] * 4


def test_an_entry_that_leaves_before_it_is_read(site):
    """Between hearing of an entry and reading it the feed may drop it: that is counted."""
    url = site.put("/feed", rss(ADA, BOB))
    source = FeedSource(FeedConfig(name="news", feeds=(url,), relations=("P26",)))
    with PoliteClient(
        source="n", contact="o@example.org", rate_limit=LocalRateLimit(), min_interval_s=0.0
    ) as client:
        signal = source.listen(TODAY, None, client)
        assert signal is not None
        site.put("/feed", rss(ADA))
        (part,) = source.partitions(TODAY, Since(), [signal])
        observations = list(source.fetch(part, client))
    assert [o.absent for o in observations] == [None, "gone before it was read"]


def test_unreachable_addresses(site, tmp_path):
    """One that cannot be reached is counted and does not cost the others; where none can, the crawl
    stops, for then the network is at fault."""
    dead = "http://127.0.0.1:9/feed"
    url = site.put("/feed", rss(ADA))
    crawled = crawl_feed(feeds=(dead, url))
    assert crawled.said and crawled.reasons == ["cannot be fetched"]
    with pytest.raises(SourceError, match="none of its addresses"):
        crawl_feed(feeds=(dead, dead + "2"))


def test_settings_that_are_refused(site):
    """Addresses of the web only, something to read, relations that have templates."""
    for settings, words in (
        ({"feeds": ("file:///etc/passwd",)}, "no http or https"),
        ({"pages": ("javascript:alert(1)",)}, "no http or https"),
        ({}, "give `feeds` or `pages`"),
        ({"feeds": ("https://e.org",), "relations": ()}, "relations"),
        ({"feeds": ("https://e.org",), "extractor": {"name": "guess"}}, "extractor"),
    ):
        with pytest.raises(ValidationError, match=words):
            FeedConfig.model_validate({"name": "news", "relations": ("P26",), **settings})
    url = site.put("/feed", rss(ADA))
    with pytest.raises(ConfigError, match="did you mean 'P26'"):
        crawl_feed(feeds=(url,), relations=("P266",))


def test_through_the_stages(site, workspace, runner, tmp_path):
    """Crawl and snapshot, day by day, each from the cursor of the one before: what a feed no longer
    holds stays; what an entry no longer says, once it is altered, does not."""
    eve = {**BOB, "guid": "9", "description": "Eve Jones works for Initech."}
    altered = {**ADA, "description": "Ada Lovelace works for Initech."}
    days = (
        ("2024-06-27", (ADA, {**BOB, "link": "file:///etc/passwd"})),
        ("2024-06-28", (eve,)),
        ("2024-06-29", (altered, eve)),
        ("2024-06-30", ({**altered, "description": "She went for a walk."},)),
    )
    made = []
    for day, entries in days:
        as_of, before = date.fromisoformat(day), made[-1] if made else None
        url = site.put("/feed", rss(*entries))
        config = FeedConfig(
            name="news",
            feeds=(url,),
            relations=("P26", "P108"),
            contact="ops@example.org",
            min_interval_s=0.0,
        )

        on = {"version": day, "previous": before}
        crawled = make_crawl(workspace, runner, (config,), as_of, base_dir=tmp_path, **on)
        made.append(put_snapshot(workspace, runner, crawled, (config,), as_of, **on))
    assert made[0].record["counts"]["skipped"] == {"link of an entry is not http or https": 1}
    ada, bob, eve = ("Ada Lovelace", "P26"), ("Bob Smith", "P108"), ("Eve Jones", "P108")
    said = [{(fact.subject, fact.relation) for fact in facts_of(artifact)} for artifact in made]
    assert said == [
        {ada, bob},
        {ada, bob, eve},
        {("Ada Lovelace", "P108"), bob, eve},
        {bob, eve},
    ]


def facts_of(artifact):
    buckets = range(artifact.json("manifest.json")["num_buckets"])
    return [f for n in buckets for f in from_table(artifact.table(bucket_file("facts", n)), Fact)]


def test_a_file_of_templates_counts(tmp_path):
    """Relations of a user's own are read from a file, which is among the inputs of a crawl."""
    path = tmp_path / "own.json"
    raw = json.loads((EXAMPLES.parent / "discovery/relations/en.json").read_text())
    path.write_text(json.dumps({"relations": {"mine": raw["relations"]["P26"]}}))
    settings = {"feeds": ("https://e.org/feed",), "relations": ("mine",), "templates": "own.json"}
    config = FeedConfig.model_validate({"name": "news", **settings})
    (relation,) = FeedSource(config, tmp_path).relations
    assert relation.id == "mine"
    before = local_inputs((config,), tmp_path)
    path.write_text(path.read_text() + "\n")
    assert local_inputs((config,), tmp_path) != before


def test_pages_that_declare_another_encoding_are_read():
    """A page of Windows-1252 that calls itself UTF-8 keeps its letters."""
    page = article(
        "Zoë Kravitz is married to René Descartes.", *FILLER, head='<meta charset="utf-8">'
    )
    item = read_page(
        page.encode("cp1252"), "https://e.org", {"content-type": "text/html; charset=utf-8"}
    )
    assert "Zoë Kravitz is married to René Descartes." in item.text
