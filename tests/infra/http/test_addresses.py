"""Where a crawler may be led: numbers, names that resolve, and real redirects on loopback."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_server import RawServer, answer
from urllib3.util import connection

from infra.errors import AddressError, SourceError
from infra.http.addresses import check, host_of, is_configured, origin_of, resolve
from infra.http.client import PoliteClient
from infra.http.fetch import Request
from infra.http.limits.rate_limit import LocalRateLimit

PRIVATE = [
    "10.0.0.7",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "fe80::1",
    "fc00::1",
    "ff02::1",
    "::",
    "fec0::1",
    "192.0.0.8",
    "64:ff9b:1::a00:7",
    "5f00::1",
    "fd00:ec2::254",
]
LOOPBACK = ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "::7f00:1", "::ffff:0:7f00:1"]


def client(**options: Any) -> PoliteClient:
    settings = {"min_interval_s": 0.0, "cross_host": True, **options}
    return PoliteClient(source="s", contact="a@b.org", rate_limit=LocalRateLimit(), **settings)


@pytest.mark.parametrize("address", [*PRIVATE, *LOOPBACK])
def test_what_only_we_can_reach_is_out_of_reach(address: str) -> None:
    """Every kind of address that is not public, in every form that stands for it."""
    with pytest.raises(AddressError, match="not a public address"):
        check(address, "public")
    check(address, "any")


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_an_ipv6_address_is_what_it_stands_for(inner: IPv4Address) -> None:
    """Mapped, 6to4 and NAT64 forms are refused when, and only when, the IPv4 address is."""

    def refused(address: str) -> bool:
        try:
            check(address, "public")
        except AddressError:
            return True
        return False

    packed = f"{int(inner) >> 16:x}:{int(inner) & 0xFFFF:x}"
    expected = refused(str(inner))
    assert refused(f"::ffff:{inner}") == expected
    assert refused(f"64:ff9b::{packed}") == expected
    assert refused(f"2002:{packed}::1") == expected


@pytest.mark.parametrize("name", ["localhost", "127.1", "2130706433", "0x7f000001", "10.1"])
def test_a_name_is_what_it_resolves_to(name: str) -> None:
    """Names, and the spellings of numbers that only the resolver understands."""
    with pytest.raises(AddressError, match=f"{name} resolves to .* not a public address"):
        resolve(name, 80, "public")


def test_urls_of_one_host_have_one_budget() -> None:
    """Case, a final dot and a port that goes without saying make no other host."""
    same = {"http://A.org/x", "https://a.org:443/y", "http://a.org.:80", "https://u:p@a.org"}
    assert {host_of(url) for url in same} == {"a.org"}
    assert host_of("http://a.org:8080") == "a.org:8080" and host_of("http://[::1]:8") == "[::1]:8"
    for url in ("file:///etc/passwd", "ftp://a.org/", "http:///x", "http://a:99999/", "//a", ""):
        with pytest.raises(AddressError, match="not an http or https address"):
            host_of(url)


@pytest.mark.parametrize(
    "target",
    [
        "http://10.0.0.7/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:10.0.0.1]/",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "http://10.1/",
        "file:///etc/passwd",
        "ftp://8.8.8.8/",
        "http://[::1",
        f"http://{'a' * 70}.org/",
    ],
)
@pytest.mark.parametrize("robots", [False, True])
def test_a_redirect_does_not_lead_into_a_private_network(target: str, robots: bool) -> None:
    """The redirect is refused in one line, whether robots.txt would be asked for first or not."""
    with (
        RawServer([answer(404)] * robots + [answer(302, Location=target)]) as base,
        client(robots=robots) as http,
        pytest.raises(AddressError) as caught,
    ):
        http.get(base)
    assert str(caught.value).startswith("source s: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "127.1"])
@pytest.mark.parametrize("home", ["https://example.org", "http://10.0.0.7"])
def test_no_public_page_leads_to_this_machine(name: str, home: str) -> None:
    """A server on loopback hears nothing of a client whose own site is elsewhere, neither by
    number nor by name; the same client asks it if that is the configured host.
    """
    server = RawServer([answer(200, b"secret")] * 2)
    with server as base:
        url = base.replace("127.0.0.1", name)
        with client() as http:
            with pytest.raises(AddressError, match="not a public address"):
                http.fetcher.fetch(Request(url, url, home), None)
            assert server.requests == []
            assert http.get(url).body == b"secret"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]"])
def test_a_private_address_is_allowed_for_its_own_origin(name: str) -> None:
    """A site in the own network leads to no other port there, by redirect or by link, unless that
    is configured too: what listens there was not named by the operator."""
    far = RawServer([answer(200, b"there")] * 2)
    with far as there:
        link = there.replace("127.0.0.1", name)
        with (
            client(configured=["http://127.0.0.1:9/feed"]) as http,
            pytest.raises(AddressError, match="not a public address"),
        ):
            http.get(link, is_link=True)
        assert far.requests == []
        with client(configured=[link]) as http:
            assert http.get(link, is_link=True).body == b"there"


def test_a_redirect_to_another_port_is_one_to_another_machine() -> None:
    """On loopback too: followed where the operator configured that origin, in one line if not."""
    far = RawServer([answer(200, b"there")])
    with far as there, RawServer([answer(302, Location=f"{there}/x")] * 3) as here:
        with client() as http, pytest.raises(AddressError, match="not a public address"):
            http.get(here)
        with client(cross_host=False) as http, pytest.raises(SourceError, match="another host"):
            http.get(here)
        assert far.requests == []
        with client(configured=[there]) as http:
            page = http.get(here)
        assert (page.body, page.url) == (b"there", here)
    assert len(far.requests) == 1


@pytest.mark.parametrize(
    "other",
    [
        "https://wiki.example:8080",
        "http://wiki.example:8081",
        "http://wiki.example",
        "http://a.wiki.example:8080",
        "https://wiki.example",
    ],
)
def test_an_origin_is_scheme_name_and_port(other: str) -> None:
    """Another scheme, port or name is another origin; http may lead to https where both are at
    their own ports."""
    assert not is_configured(other, ["http://wiki.example:8080/feed"])
    assert is_configured("http://WIKI.example.:8080/x", ["http://wiki.example:8080/feed"])
    assert is_configured("https://wiki.example/x", ["http://wiki.example/feed"])
    assert not is_configured("http://wiki.example/x", ["https://wiki.example/feed"])


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9\\@wiki.example/",
        "http://wiki.example\\.evil.example/",
        "http://127.0.0.1:9\\@wiki.example:80/",
        "http://[::1]@wiki.example\\/",
    ],
)
def test_two_readers_of_a_url_must_agree(url: str) -> None:
    """A URL that urllib and urllib3 read otherwise would be checked as one host and sent to
    another."""
    with pytest.raises(AddressError, match="not an http or https address"):
        origin_of(url)


@pytest.mark.parametrize("first", ["public", "private"])
def test_a_name_does_not_move_into_the_own_network(
    first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configured name that led to the internet leads to loopback a moment later: refused. One
    that is in the own network from the start is an inner site."""
    server = RawServer([answer(200, b"inner", Connection="close")] * 2)
    with server as base:
        port = int(base.rpartition(":")[2])
        found = iter(["8.8.8.8"] * (first == "public") + ["127.0.0.1"] * 9)
        real, sent = socket.getaddrinfo, list[str]()

        def lookup(name: Any, *args: Any, **options: Any) -> Any:
            return real(next(found) if name == "rebind.example" else name, *args, **options)

        def connect(address: Any, *args: Any, **options: Any) -> socket.socket:
            sent.append(address[0])
            if address[0] == "8.8.8.8":  # not asked for real
                raise TimeoutError("timed out")
            return dial(address, *args, **options)

        dial = connection.create_connection
        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        monkeypatch.setattr(connection, "create_connection", connect)
        with client(max_attempts=2) as http:
            if first == "private":
                assert http.get(f"http://rebind.example:{port}/").body == b"inner"
                return
            with pytest.raises(AddressError, match="not a public address"):
                http.get(f"http://rebind.example:{port}/")
    assert sent == ["8.8.8.8"] and server.requests == []


def test_a_proxy_is_not_asked_for_what_is_known_to_be_private(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A link by a name of this machine is refused before the proxy hears of it; a name that only
    the proxy knows goes to the proxy."""
    proxy = RawServer([answer(200, b"by proxy")])
    with proxy as at:
        monkeypatch.setenv("http_proxy", at)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with client() as http:
            with pytest.raises(AddressError, match="not a public address"):
                http.get("http://2130706433:1/", is_link=True)
            assert proxy.requests == []
            assert http.get("http://known-to-the-proxy.invalid/", is_link=True).body == b"by proxy"


def test_every_hop_keeps_its_own_hosts_interval() -> None:
    """Two hosts that redirect to and fro: each is asked once in its own interval."""
    naps: list[float] = []
    rate_limit = LocalRateLimit(lambda: sum(naps), naps.append)
    far = RawServer([])
    with far as there:
        near = RawServer([answer(302, Location=f"{there}/1"), answer(200, b"end")])
        with near as here:
            far.answers.append(answer(302, Location=f"{here}/2"))
            http = PoliteClient(
                source="s",
                contact="a@b.org",
                rate_limit=rate_limit,
                cross_host=True,
                configured=[there],
                min_interval_s=3.0,
            )
            with http:
                assert http.get(here).body == b"end"
    assert naps == [3.0]
