"""Whose fault it is that a request fails, where a server on loopback cannot play it."""

import socket
import ssl

import pytest
import requests
from loopback import SkippedTime
from raw_server import RawServer, answer

from infra.errors import HostError, RefusedError, SourceError
from infra.http.action_api import call_api
from infra.http.addresses import shown
from infra.http.client import PoliteClient
from infra.http.faults import BACKOFF_S, HostFault, fault_of_address

JSON = {"Content_Type": "application/json"}


def client(time, **options):
    return PoliteClient(
        source="s",
        contact="a@b.org",
        rate_limit=time.rate_limit(),
        clock=time.time,
        min_interval_s=0.0,
        **options,
    )


@pytest.mark.parametrize(
    ("code", "kind", "words", "num"),
    [
        (socket.EAI_AGAIN, HostError, "run the same command again to continue", 3),
        (socket.EAI_NONAME, SourceError, "there is no host of that name. Check the address", 1),
    ],
)
def test_a_name_that_is_not_known_now_and_one_that_does_not_exist(
    monkeypatch, code, kind, words, num
):
    """The first may be known at the next try."""
    asked = []

    def resolve(host, *args, **options):
        asked.append(host)
        raise socket.gaierror(code, socket.gaierror.__name__)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with client(SkippedTime()) as http, pytest.raises(kind, match=words):
        http.get("http://wikibase.example/w/api.php")
    assert len(asked) == num


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ssl.SSLCertVerificationError("x"), "certificate is not valid"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong"), "no secure connection"),
        (ssl.SSLEOFError(8, "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF"), None),
        (ConnectionResetError("reset"), None),
    ],
)
def test_faults_of_a_secure_connection(error, words):
    """A certificate of another name stays one; a connection that ends early may not."""
    if isinstance(error, ssl.SSLCertVerificationError):
        error.verify_message = "Hostname mismatch."
    elif isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        error.reason = "WRONG_VERSION_NUMBER"
    fault = fault_of_address(requests.ConnectionError(requests.RequestException(error)))
    assert (fault is None) if words is None else (fault and words in fault)


def test_a_host_that_has_answered_is_waited_for_longer():
    """One that never did may not exist; both have the patience of all tries of a busy one."""
    good = answer(200, b"{}", **JSON)
    time = SkippedTime()
    with RawServer([good, *[[]] * 5, good]) as base, client(time) as http:
        http.get_json(base)
        http.get_json(base)
    assert sum(time.slept) == pytest.approx(31 * BACKOFF_S, rel=0.05)


def test_a_host_that_is_down_costs_its_patience_once():
    """Until it answers again, each further request to it is tried once."""
    bad, good = answer(502), answer(200, b"{}", **JSON)
    server = RawServer([*[bad] * 8, good, bad, good])
    with server as base, client(SkippedTime()) as http:
        for num in (6, 7, 8):
            with pytest.raises(HostError):
                http.get(f"{base}/{num}")
            assert len(server.requests) == num
        http.get(base)
        http.get(base)
    assert len(server.requests) == 11


def test_a_post_is_sent_again_and_redirected_as_a_post():
    """Ours change nothing; after HTTP 303 the answer is there for a GET."""
    good = answer(200, b"1", **JSON)
    moved = [answer(status, Location="/there") for status in (307, 301, 303)]
    server = RawServer([answer(502), moved[0], good, moved[1], good, moved[2], good])
    with server as base, client(SkippedTime()) as http:
        assert [http.post_json(base, {"a": 1}) for _ in range(3)] == [1, 1, 1]
    methods = [request.split()[0].decode() for request in server.requests]
    assert methods == ["POST"] * 6 + ["GET"]


def test_a_long_list_of_ids_is_posted():
    """To the Action API, with all its parameters in the body."""
    server = RawServer([answer(200, b'{"entities": {}}', **JSON)])
    with server as base, client(SkippedTime()) as http:
        _, page = call_api(http, f"{base}/w/api.php", {"ids": "|".join(["Q100000"] * 1200)})
    assert server.requests[0].startswith(b"POST /w/api.php HTTP")
    assert page.url.startswith(f"{base}/w/api.php?ids=")


def test_an_address_is_shown_without_what_is_long_in_it():
    url = f"https://e.org/sparql?query={'x' * 65}&format=json"
    assert shown(url) == "https://e.org/sparql?query=...&format=json"
    assert shown(f"https://e.org/{'x' * 1000}").endswith("...") and len(shown(url * 9)) <= 300


def test_a_refusal_is_no_fault_of_the_host():
    words = r"HTTP 404 \(none\). It has nothing there: check"
    with (
        RawServer([answer(404, b"none")]) as base,
        client(SkippedTime()) as http,
        pytest.raises(RefusedError, match=words),
    ):
        http.get(base)


def test_a_fault_that_lasts_is_said_with_its_tries():
    fault = HostFault(what="http://e.org answers HTTP 502", status=502)
    assert str(fault.lasting(6, 155.2)) == (
        "http://e.org answers HTTP 502, the last of 6 tries in 155 s. The server is at fault, not "
        "the address: run the same command later to continue; what was fetched before is kept."
    )
