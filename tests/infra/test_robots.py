"""robots.txt and redirects, against a real server on loopback."""

# ruff: noqa: SIM117 -- a client inside its server reads better so

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.addresses import check_target
from infra.budget import LocalBudget
from infra.errors import SourceError
from infra.http import PoliteClient
from infra.robots import MAX_BYTES


@contextmanager
def site(**answers):
    """Serves `{path: (status, headers, body)}`, 404 elsewhere; yields the origin and what was
    asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            name = self.path.strip("/").replace(".", "_") or "root"
            status, headers, body = answers.get(name, (404, {}, b""))
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def client(now=lambda: 1e9, slept=None, **options):
    """A client whose clock stands still while it works; `slept` takes what it waits."""
    waited = slept if slept is not None else []
    budget = LocalBudget(lambda: 1e9 + sum(waited), waited.append)
    settings = {"robots": True, "cross_host": True, "min_interval_s": 0.0, **options}
    return PoliteClient(source="s", contact="ops@example.org", budget=budget, clock=now, **settings)


def rules(text, status=200):
    return (status, {}, text.encode())


PAGE = (200, {}, b"page")


def test_the_longest_match_wins_and_rules_are_asked_for_once():
    """An Allow that says more goes before a Disallow that comes first."""
    text = "User-agent: *\nDisallow: /a\nAllow: /a/b\n\nUser-agent: other\nDisallow: /\n"
    with site(robots_txt=rules(text), **{"a/b": PAGE, "a/c": PAGE, "x": PAGE}) as (base, asked):
        with client() as c:
            assert c.get(f"{base}/a/b").body == b"page" and c.get(f"{base}/x").body == b"page"
            with pytest.raises(SourceError, match=r"does not allow .*/a/c"):
                c.get(f"{base}/a/c")
    assert asked == ["/robots.txt", "/a/b", "/x"]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_rules_that_are_not_there_allow_everything(status):
    with site(robots_txt=rules("User-agent: *\nDisallow: /", status), x=PAGE) as (base, _):
        with client() as c:
            assert c.get(f"{base}/x").body == b"page"


@pytest.mark.parametrize("status", [500, 503])
def test_rules_that_cannot_be_had_forbid_everything(status):
    with site(robots_txt=rules("", status), x=PAGE) as (base, asked):
        with client() as c, pytest.raises(SourceError, match=f"cannot be had .HTTP {status}"):
            c.get(f"{base}/x")
    assert asked == ["/robots.txt"]


def test_a_host_that_cannot_be_reached_forbids_everything():
    with site() as (base, _):
        pass
    with client() as c, pytest.raises(SourceError, match=r"cannot be had .*connection refused"):
        c.get(f"{base}/x")


def test_rules_are_asked_for_again_after_a_day_and_parsed_up_to_a_bound():
    """Half a megabyte is read, what follows is not."""
    long = "User-agent: *\n" + "#" * MAX_BYTES + "\nDisallow: /x\n"
    now = [1e9]
    with site(robots_txt=rules(long), x=PAGE) as (base, asked), client(lambda: now[0]) as c:
        c.get(f"{base}/x")
        now[0] += 23 * 3600
        c.get(f"{base}/x")
        now[0] += 2 * 3600
        c.get(f"{base}/x")
    assert asked == ["/robots.txt", "/x", "/x", "/robots.txt", "/x"]


def test_the_delay_that_a_site_asks_for_is_kept():
    slept = []
    text = "User-agent: *\nCrawl-delay: 7\n"
    with site(robots_txt=rules(text), x=PAGE) as (base, _), client(slept=slept) as c:
        c.get(f"{base}/x")
        c.get(f"{base}/x")
    assert slept == [7.0, 7.0]  # after the rules, and after the first page


def test_each_hop_of_a_redirect_is_asked_about():
    """Another host's rules count for what it is asked for."""
    with site(robots_txt=rules("User-agent: *\nDisallow: /secret"), secret=PAGE) as (far, asked):
        with site(x=(302, {"Location": f"{far}/secret"}, b"")) as (near, _):
            with client() as c, pytest.raises(SourceError, match="does not allow"):
                c.get(f"{near}/x")
    assert asked == ["/robots.txt"]


def test_redirects_in_a_circle_end():
    with site(x=(302, {"Location": "/y"}, b""), y=(302, {"Location": "/x"}, b"")) as (base, _):
        with client() as c, pytest.raises(SourceError, match="redirects more than 3 times"):
            c.get(f"{base}/x")


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:1/",
        "http://localhost/",
        "http://10.0.0.7/",
        "http://192.168.1.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://100.64.0.1/",
        "file:///etc/passwd",
        "ftp://8.8.8.8/",
        "http:///nowhere",
    ],
)
def test_a_redirect_does_not_lead_into_a_private_network(target):
    """From a public address to what only this machine or its network can reach."""
    with pytest.raises(SourceError, match="redirects to"):
        check_target("s", "http://8.8.8.8/", target)


def test_a_redirect_leads_to_public_addresses_and_from_loopback_to_loopback():
    check_target("s", "http://8.8.8.8/", "https://1.1.1.1/x")
    check_target("s", "http://127.0.0.1:8000/", "http://127.0.0.1:9000/x")
    with pytest.raises(SourceError, match="private network"):
        check_target("s", "http://127.0.0.1:8000/", "http://10.0.0.1/")
