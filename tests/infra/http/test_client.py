"""The polite client against a real server on this machine, with an injected clock."""

import json
import re
import threading
from email.utils import formatdate
from pathlib import Path

import pytest
from requests.adapters import HTTPAdapter

from discovery.sources.replay.server import ReplayServer
from infra.errors import ConfigError, SourceError
from infra.http.action_api import call_api
from infra.http.client import PoliteClient
from infra.http.limits.rate_limit import LocalRateLimit
from infra.http.response import Response, ResponseCache

RECORDING = Path(__file__).parents[3] / "examples" / "recordings" / "wikidata"
PAGE = "/wiki/Special:EntityData/Q42.json?revision=716282445"


class Clock:
    """Time that passes only when someone sleeps."""

    def __init__(self) -> None:
        self.now, self.naps = 1_700_000_000.0, []

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server():
    return ReplayServer(RECORDING)


def client(clock, **options):
    defaults = {"source": "wd", "contact": "ops@example.org", "min_interval_s": 0.0}
    defaults["rate_limit"] = LocalRateLimit(clock.time, clock.sleep)
    return PoliteClient(**{**defaults, **options}, clock=clock.time)


@pytest.mark.parametrize("contact", [None, "", "me", "example.org", "a b@c.d"])
def test_refuses_without_contact(clock, contact):
    """No request can be made by someone who cannot be reached."""
    with pytest.raises(ConfigError, match="contact"):
        client(clock, contact=contact)


def test_identifies_itself_and_asks_for_gzip(clock, server):
    """Every request carries tool, contact and library, and takes compressed bodies."""
    with server as base, client(clock) as http:
        http.get(base + PAGE)
    sent = server.requests[0].headers
    assert re.fullmatch(r"corrigenda/\S+ \(ops@example\.org\) requests/[\d.]+", sent["user-agent"])
    assert sent["accept-encoding"] == "gzip"


def test_maxlag_inside_200_is_waited_for(clock, server):
    """`maxlag` fails with HTTP 200: the client waits at least 5 s and at least Retry-After, and
    asks again.
    """
    lag = json.dumps({"error": {"code": "maxlag", "info": "Waiting for a database"}}).encode()
    server.fail(1, body=lag, headers={"Retry-After": "2"})
    server.fail(1, body=lag, headers={"Retry-After": "40"})
    with server as base, client(clock) as http:
        params = {"action": "wbgetentities", "ids": "Q84"}
        answer, _ = call_api(http, f"{base}/w/api.php", params)
    assert answer["entities"]["Q84"]["labels"]["en"]["value"] == "London"
    assert clock.naps[0] >= 5 and clock.naps[1] >= 40
    assert all("maxlag=5" in request.path for request in server.requests)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_as_seconds_and_as_date(clock, server, status):
    """Both forms of Retry-After are honoured, whatever the body is."""
    html = {"Content-Type": "text/html"}
    server.fail(1, status=status, headers={**html, "Retry-After": "7"}, body=b"<html>slow down")
    date = formatdate(clock.now + 7 + 30, usegmt=True)
    server.fail(1, status=status, headers={**html, "Retry-After": date}, body=b"<html>slow down")
    with server as base, client(clock) as http:
        assert http.get(base + PAGE).status == 200
    assert clock.naps == [pytest.approx(7), pytest.approx(30, abs=1)]


def test_a_busy_host_is_paused_for_all(clock, server):
    """What one client is told by Retry-After, every client of the rate_limit waits for."""
    rate_limit = LocalRateLimit(clock.time, clock.sleep)
    server.fail(1, status=503, headers={"Retry-After": "100"})
    with server as base, client(clock, rate_limit=rate_limit, max_attempts=1) as told:
        with pytest.raises(SourceError, match="too busy after 1 try"):
            told.get(base + PAGE)
        with client(clock, rate_limit=rate_limit) as other:
            other.get(base + PAGE)
    assert clock.naps == [100]


def test_connections_are_kept(clock, server):
    """Requests to one host share a connection, also after one whose body was not wanted."""
    with server as base, client(clock) as http:
        http.get(base + PAGE)
        http.get(base + "/nowhere", allow=(404,))
        http.get(base + PAGE)
        (session,) = http.connection._sessions.values()
        adapter = session.get_adapter(base)
        assert isinstance(adapter, HTTPAdapter)
        pools = adapter.poolmanager.pools
        assert sum(pools[key].num_connections for key in pools.keys()) == 1  # noqa: SIM118


def test_redirects_stay_on_the_host_and_end(clock, server):
    """A redirect on the same host is followed in its turn, but not round and round."""
    server.fail(1, status=302, headers={"Location": PAGE})
    with server as base, client(clock, min_interval_s=1.0) as http:
        assert json.loads(http.get(f"{base}/elsewhere").body)["id"] == "Q42"
        assert clock.naps == [1.0]
        server.fail(9, status=302, headers={"Location": "/again"})
        with pytest.raises(SourceError, match="redirects in a circle"):
            http.get(f"{base}/elsewhere")
        assert len(server.requests) == 4
        server.faults.clear()
        for n in range(6):
            server.fail(1, status=302, headers={"Location": f"/{n}"})
        with pytest.raises(SourceError, match="redirects more than 5 times"):
            http.get(f"{base}/elsewhere")
    assert len(server.requests) == 4 + 6


def test_gives_up_in_one_line(clock, server):
    """Patience ends after `max_attempts`, and each pause without advice is longer than the last."""
    server.fail(4, status=503)
    with (
        server as base,
        client(clock, max_attempts=4) as http,
        pytest.raises(SourceError, match="too busy after 4 tries") as caught,
    ):
        http.get(base + PAGE)
    assert "\n" not in str(caught.value)
    assert clock.naps == sorted(clock.naps) and len(clock.naps) == 3


def test_one_budget_for_a_host(clock, server):
    """Requests to one host start at least the interval apart, whatever they ask for."""
    with server as base, client(clock, min_interval_s=1.5) as http:
        for revision in (196015688, 716282445, 716282445):
            http.get(f"{base}/wiki/Special:EntityData/Q42.json", {"revision": revision})
    assert clock.naps == [1.5, 1.5]


def test_unchanged_page_is_not_sent_again(clock, server, tmp_path):
    """A 304 counts as success with the stored body, also for another client later."""
    with server as base:
        with client(clock, cache=tmp_path) as http:
            first = http.get(base + PAGE)
        with client(clock, cache=tmp_path) as http:
            second = http.get(base + PAGE)
    assert not first.revalidated and second.revalidated and second.status == 200
    assert second.body == first.body
    assert server.requests[1].headers["if-none-match"] == first.etag


def test_damaged_store_is_fetched_anew(clock, server, tmp_path, caplog):
    """A stored response that is not what was stored is never served; that it is dropped is said in
    a line."""
    with server as base, client(clock, cache=tmp_path) as http:
        first = http.get(base + PAGE)
        (stored,) = tmp_path.glob("*.response")
        stored.write_bytes(stored.read_bytes()[:-1])
        assert ResponseCache(tmp_path).damaged() == [stored]
        second = http.get(base + PAGE)
    assert second.body == first.body and not second.revalidated
    assert [r.getMessage() for r in caplog.records] == [f"{stored} is damaged: it is fetched again"]
    assert ResponseCache(tmp_path).damaged() == []


def test_every_bit_of_a_stored_response_counts(tmp_path):
    """Headers, digests and body: whatever is turned or cut, nothing of it is served."""
    cache, url = ResponseCache(tmp_path), "https://a.org/x"
    cache.save(response_of(url, b"page"))
    (stored,) = tmp_path.iterdir()
    data = stored.read_bytes()
    for at in range(len(data)):
        stored.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert cache.load(url) is None, at
        stored.write_bytes(data[:at])
        assert cache.load(url) is None, at


def test_two_that_store_at_a_time_leave_a_whole_response(tmp_path):
    """Whoever reads meanwhile, and afterwards, gets what one of them has stored."""
    url, bodies = "https://a.org/x", [b"a" * 5000, b"b" * 50]
    cache = ResponseCache(tmp_path)
    cache.save(response_of(url, bodies[0]))

    def store(body):
        for _ in range(100):
            cache.save(response_of(url, body))

    writers = [threading.Thread(target=store, args=(body,)) for body in bodies]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert (found := cache.load(url)) and found.body in bodies
    assert (found := cache.load(url)) and found.body in bodies and not cache.damaged()


def response_of(url, body):
    """A response that can be requested conditionally."""
    return Response(url=url, status=200, headers={"etag": "1"}, body=body, fetched_at="")


def test_store_outlives_the_port(clock, tmp_path):
    """The store is keyed by the configured address, not by where a replay happens to listen."""
    for expected in (False, True):
        with ReplayServer(RECORDING) as base:
            http = client(clock, cache=tmp_path, origins={"replay:recordings": base})
            with http:
                assert http.get("replay:recordings" + PAGE).revalidated is expected


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            {"headers": {"Content-Type": "text/html"}, "body": b"<h1>Log in</h1>"},
            "text/html instead",
        ),
        ({"body": b'{"entities": {"Q42"'}, "broken JSON"),
        ({"body": b'{"error": {"code": "nope", "info": "no"}}'}, "refuses: nope"),
        ({"status": 400, "body": b"oops"}, "HTTP 400"),
        ({"body": b"x" * 3000}, "more than 2000 bytes"),
        ({"status": 302, "headers": {"Location": "http://localhost:9/"}}, "another host"),
    ],
)
def test_faults_are_one_clear_line(clock, server, fault, words):
    """What is not an answer is a SourceError of one line that names the source and the address."""
    server.fail(3, **fault)
    with (
        server as base,
        client(clock, max_body_bytes=2000) as http,
        pytest.raises(SourceError) as caught,
    ):
        call_api(http, f"{base}/w/api.php", {"action": "wbgetentities", "ids": "Q84"})
    text = str(caught.value)
    assert words in text and text.startswith("source wd: ") and "\n" not in text


def test_unreachable_host_is_one_clear_line(clock):
    """A refused connection says who, where, why and what to do."""
    with ReplayServer(RECORDING) as base:
        pass
    with client(clock) as http, pytest.raises(SourceError) as caught:
        http.get(base + PAGE)
    assert str(caught.value) == (
        f"source wd: cannot reach {base}{PAGE}: connection refused. Check the address and the "
        "network; run the same command again to continue."
    )


@pytest.mark.parametrize(
    "asked",
    ["99999999999", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"],
    ids=["year", "inf", "date"],
)
def test_a_wait_without_reason_is_not_waited(clock, server, asked):
    """Nobody waits for thousands of years: the error says what was asked for, in one line."""
    server.fail(9, status=429, headers={"Retry-After": asked})
    with server as base, client(clock) as http, pytest.raises(SourceError) as caught:
        http.get(base + PAGE)
    assert "\n" not in str(caught.value) and sum(clock.naps) < 7 * 24 * 3600
