"""The stream of recent changes: nothing of a day is missed, and what may be is said."""

# ruff: noqa: SIM117 -- an error inside its server reads better so

import json
from contextlib import contextmanager
from datetime import UTC, date, datetime

import pytest
from discovery_helpers import EXAMPLES
from loopback import QuietHandler, SkippedTime, on_loopback

from discovery.sources.replay.server import STREAM, ReplayServer
from discovery.sources.wikibase.recent_changes import follow, read_event
from infra.errors import SourceError
from infra.http.client import PoliteClient

WIKI = "wikidatawiki"
DAY = date(2025, 5, 22)
BEGIN = "2025-05-22T00:00:00Z"
REAL = {
    "$schema": "/mediawiki/recentchange/1.0.0",
    "meta": {
        "uri": "https://www.wikidata.org/wiki/Q63761164",
        "dt": "2025-05-22T09:34:13Z",
        "domain": "www.wikidata.org",
        "stream": "mediawiki.recentchange",
        "topic": "eqiad.mediawiki.recentchange",
        "partition": 0,
        "offset": 5604911050,
    },
    "id": 2422790437,
    "type": "edit",
    "namespace": 0,
    "title": "Q63761164",
    "comment": "/* wbsetclaim-update:2||1|1 */ [[Property:P20]]: [[Q220]]",
    "timestamp": 1747906453,
    "revision": {"old": 2351154603, "new": 2351154701},
    "wiki": WIKI,
}
"""An event that Wikimedia sent (metadata of recent changes, CC0-1.0), without its user."""


def event(at, item="Q1", revision: int | None = 1, **more):
    """An event like the real one, at a time of the day or at an ISO time, with its id."""
    at = at if "T" in at else f"{DAY}T{at}Z"
    meta = {**REAL["meta"], "dt": at, "domain": more.pop("domain", "www.wikidata.org")}
    made = {**REAL, "meta": meta, "title": item, "revision": {"new": revision}, **more}
    return identifier(at, revision), json.dumps(made)


def canary(at):
    return event(at, domain="canary", revision=None)


def identifier(at, number):
    """An id as EventStreams gives it: an array, whose spaces must not change either."""
    stamp = int(datetime.fromisoformat(at).timestamp() * 1000)
    topics = [
        {"topic": "eqiad.mediawiki.recentchange", "partition": 0, "timestamp": stamp},
        {"topic": "codfw.mediawiki.recentchange", "partition": 0, "offset": -1, "n": number},
    ]
    return json.dumps(topics)


@pytest.fixture
def server():
    return ReplayServer(EXAMPLES / "recordings" / "october")


def heard(server, base, events, state=None, day=DAY):
    """The slice that a day's listening gives."""
    server.recording.events = events
    client = PoliteClient(
        source="w", contact="a@example.org", rate_limit=SkippedTime().rate_limit(), min_interval_s=0
    )
    with client:
        state = {"event_id": None, "at": BEGIN} if state is None else state
        return follow(client, f"{base}{STREAM}", WIKI, state, day, "w")


def streams(server):
    return [request for request in server.requests if request.path.startswith(STREAM)]


def test_a_real_event_is_read():
    """Its item, its time and its new revision."""
    change = read_event(json.dumps(REAL), WIKI)
    assert change is not None and not change.canary
    assert (change.item, change.revision) == ("Q63761164", 2351154701)
    assert change.at == datetime(2025, 5, 22, 9, 34, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    ("other", "item"),
    [
        ({}, "Q1"),
        ({"type": "log", "log_type": "delete", "revision": None}, "Q1"),
        ({"type": "new"}, "Q1"),
        ({"type": "categorize"}, None),
        ({"wiki": "dewiki"}, None),
        ({"namespace": 1}, None),
        ({"title": "Property:P31", "namespace": 120}, None),
        ({"title": "Main Page"}, None),
    ],
)
def test_which_events_are_of_an_item(other, item):
    """Edits, creations and log entries of the wiki's items, and nothing else."""
    change = read_event(json.dumps({**json.loads(event("01:00:00")[1]), **other}), WIKI)
    assert change is not None and change.item == item


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "7", '{"meta": {}}', '{"meta": null}', pytest.param("[" * 9999, id="deep")],
)
def test_what_is_no_event_is_none(text):
    """Of the wrong type, cut off, or nested without end."""
    assert read_event(text, WIKI) is None


def test_the_first_crawl_hears_nothing(server):
    """There is nothing to be told of what is looked at in full: the position is the day's end."""
    with server as base:
        signal = heard(server, base, [event("01:00:00")], state={"selected_for": "x"})
    assert not streams(server) and signal.done
    after = {"selected_for": "x", "event_id": None, "at": "2025-05-23T00:00:00Z"}
    assert signal.cursor == after


def test_the_id_is_sent_back_verbatim(server):
    """The whole array, character by character; the events behind it come, once."""
    events = [event("01:00:00", "Q1", 1), event("02:00:00", "Q2", 2), event("03:00:00", "Q3", 3)]
    server.events_a_connection = 1
    with server as base:
        signal = heard(server, base, [*events, *(canary(f"{h:02}:30:00") for h in range(3, 24))])
    sent = [request.headers.get("last-event-id") for request in streams(server)]
    assert sent[0] is None and "since=2025-05-22T00%3A00%3A00Z" in streams(server)[0].path
    assert sent[1:4] == [number for number, _ in events]
    assert signal.subjects == ("Q1", "Q2", "Q3") and signal.gap is None and signal.skips == ()


def test_events_of_later_days_are_left_for_later(server):
    """The slice ends with the day, its cursor before the first event of the next."""
    events = [canary(f"{hour:02}:30:00") for hour in range(24)]
    last = event("23:59:59", "Q1", 9)
    with server as base:
        signal = heard(server, base, [*events, last, event("2025-05-23T00:30:00Z", "Q2", 10)])
    assert signal.subjects == ("Q1",) and signal.done and signal.gap is None
    assert signal.cursor == {"event_id": last[0], "at": "2025-05-22T23:59:59Z"}


def test_an_event_that_comes_late_is_of_its_day(server):
    """One of the day behind one of the next day is heard, and the position stays before both."""
    events = [canary(f"{hour:02}:30:00") for hour in range(24)]
    tail = [
        event("2025-05-23T00:00:05Z", "Q2", 10),
        event("23:59:58", "Q1", 9),
        event("2025-05-23T00:30:00Z", "Q3", 11),
    ]
    with server as base:
        signal = heard(server, base, [*events, *tail])
        after = heard(server, base, [*events, *tail], signal.cursor, date(2025, 5, 23))
    assert signal.subjects == ("Q1",)
    assert signal.cursor["event_id"] == events[-1][0]
    assert set(after.subjects) >= {"Q2", "Q3"}


@pytest.mark.parametrize("resumed", ["23:59:59", "2025-05-24T09:00:00Z", None])
def test_a_jump_is_a_gap_wherever_it_ends(server, resumed):
    """What the stream forgot without a word ends within the day, behind it, or with no event at
    all: a gap each time; and the next day is followed from where everything was looked at."""
    kept = [] if resumed is None else [event(resumed, "Q1", 5)]
    server.events = lambda last, since: iter(
        f"id: {number}\ndata: {data}\n\n".encode() for number, data in kept
    )
    state = {"event_id": identifier(f"{DAY}T01:00:00Z", 1), "at": f"{DAY}T01:00:00Z"}
    with server as base:
        signal = heard(server, base, [], state)
    assert signal.done and signal.gap is not None
    assert signal.gap.startswith("the stream is silent from 2025-05-22T01:00:00Z")
    if resumed != "23:59:59":
        assert signal.cursor == {"event_id": None, "at": "2025-05-23T00:00:00Z"}


def test_canaries_are_the_heartbeat(server):
    """A day without an edit is no gap while canaries come each hour; without them it is one."""
    canaries = [canary(f"{hour:02}:30:00") for hour in range(24)]
    with server as base:
        quiet = heard(server, base, canaries)
        silent = heard(server, base, canaries[:20])
    assert quiet.subjects == () and quiet.gap is None
    assert silent.gap is not None


def test_what_cannot_be_read_is_counted(server):
    """A broken event, one of the future and one that comes twice are skips; the rest is heard."""
    broken = {"meta": {"dt": f"{DAY}T00:10:00Z", "domain": "www.wikidata.org"}}
    events = [
        (identifier(f"{DAY}T00:10:00Z", 0), json.dumps(broken)),
        event("2999-01-01T00:00:00Z", "Q9", 1),
        event("01:00:00", "Q1", 2),
        event("01:00:00", "Q1", 2),
        *(canary(f"{hour:02}:30:00") for hour in range(1, 24)),
    ]
    with server as base:
        signal = heard(server, base, events)
    reasons = ["event is malformed", "event is of the future", "event was delivered twice"]
    assert [skip.reason for skip in signal.skips] == reasons
    assert signal.subjects == ("Q1",) and signal.gap is None


def test_a_listener_that_is_refused_waits_and_is_heard_once(server):
    """A site that takes one listener at a time refuses the second with HTTP 429: it asks again with
    the same position, loses nothing, and gives up in one line."""
    events = [event("01:00:00", "Q1", 1), *(canary(f"{h:02}:30:00") for h in range(1, 24))]
    busy = {"status": 429, "headers": {"Retry-After": "0", "Content-Type": "text/html"}}
    server.fail(2, **busy, body=b"<html>Too many connections")
    with server as base:
        signal = heard(server, base, events)
        assert signal.subjects == ("Q1",) and signal.gap is None and signal.skips == ()
        first, second, third = (request.path for request in streams(server)[:3])
        assert first == second == third
        server.fail(9, **busy)
        with pytest.raises(SourceError, match="too busy after 6 tries") as caught:
            heard(server, base, events)
    assert "\n" not in str(caught.value)


POSITION = {"event_id": identifier(f"{DAY}T01:00:00Z", 1), "at": f"{DAY}T01:00:00Z"}


@contextmanager
def refusing(*refused, status=400, error=""):
    """A stream that refuses requests `by id`, `by time` or `plain`, with a status or an event."""
    asked = []

    class Stream(QuietHandler):
        def do_GET(self):
            by_id = "Last-Event-ID" in self.headers
            how = "by id" if by_id else "by time" if "since=" in self.path else "plain"
            asked.append(how)
            if how in refused and not error:
                self.send_response(status)
                body = b"{}"
            else:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                events = [
                    event("01:30:00", "Q1", 5),
                    *(canary(f"{h}:30:00") for h in range(10, 24)),
                ]
                texts = [f"id: {number}\ndata: {data}\n\n" for number, data in events]
                body = "".join(texts if how not in refused else [error]).encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with on_loopback(Stream) as origin:
        yield f"{origin}/s", asked


def followed(url, state):
    with PoliteClient(
        source="w",
        contact="a@example.org",
        rate_limit=SkippedTime().rate_limit(),
        min_interval_s=0,
    ) as client:
        return follow(client, url, WIKI, state, DAY, "w")


KAFKA_ERROR = 'event: error\ndata: {"message": "Offset out of range", "origin": "KafkaSSE"}\n\n'


@pytest.mark.parametrize(
    "refusal",
    [{"status": 400}, {"status": 404}, {"status": 410}, {"status": 500}, {"error": KAFKA_ERROR}],
    ids=["400", "404", "410", "500", "event"],
)
def test_a_position_that_is_refused(refusal):
    """Its time is asked for instead, and the gap said; where that is refused as well everything is
    looked at, and the next slice goes on from there."""
    with refusing("by id", **refusal) as (url, asked):
        signal = followed(url, POSITION)
    assert signal.subjects == ("Q1",) and signal.done
    assert signal.gap is not None and "refuses its position" in signal.gap
    assert "127.0.0.1" not in signal.gap and asked[-1] == "by id" and "by time" in asked
    with refusing("by id", "by time", "plain", **{"status": 400, **refusal}) as (url, _):
        if refusal != {"status": 500}:  # which without a position is the host's fault
            swept = followed(url, POSITION)
            assert swept.done and swept.subjects == () and swept.gap is not None
            assert swept.cursor == {"event_id": None, "at": "2025-05-23T00:00:00Z"}


def test_a_time_that_is_refused():
    """Where the stream answers without one, its address is right: everything is looked at. Where it
    does not, the address is wrong."""
    state = {"event_id": None, "at": f"{DAY}T01:00:00Z"}
    with refusing("by time", status=400) as (url, _):
        signal = followed(url, state)
    assert signal.gap is not None and "the time of its last event (HTTP 400)" in signal.gap
    with refusing("by time", "plain", status=404) as (url, _):
        with pytest.raises(SourceError, match=r"HTTP 404.* check `stream`"):
            followed(url, state)


@pytest.mark.parametrize("status", [401, 403])
def test_a_stream_that_refuses_us_is_not_taken_for_a_position(status):
    with refusing("by id", "by time", "plain", status=status) as (url, asked):
        with pytest.raises(SourceError, match=rf"HTTP {status}.*`stream`"):
            followed(url, POSITION)
    assert asked == ["by id"]
