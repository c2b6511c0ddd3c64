"""robots.txt and redirects, against a real server on loopback."""

# ruff: noqa: SIM117 -- a client inside its server reads better so

from contextlib import contextmanager

import pytest
from loopback import QuietHandler, on_loopback

from infra.errors import RobotsError, SourceError
from infra.http.client import PoliteClient
from infra.http.limits.rate_limit import LocalRateLimit
from infra.http.limits.robots import MAX_PARSED_BYTES


@contextmanager
def site(**answers):
    """Serves `{path: (status, headers, body)}`, 404 elsewhere; yields the origin and what was
    asked."""
    asked = []

    class Handler(QuietHandler):
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

    with on_loopback(Handler) as origin:
        yield origin, asked


def client(now=lambda: 1e9, slept=None, **options):
    """A client whose clock stands still while it works; `slept` takes what it waits."""
    waited = slept if slept is not None else []
    rate_limit = LocalRateLimit(lambda: 1e9 + sum(waited), waited.append)
    settings = {"robots": True, "cross_host": True, "min_interval_s": 0.0, **options}
    return PoliteClient(
        source="s", contact="ops@example.org", rate_limit=rate_limit, clock=now, **settings
    )


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
    """They are asked for again first, as anything that a host fails at."""
    with site(robots_txt=rules("", status), x=PAGE) as (base, asked):
        words = f"cannot be had .*HTTP {status}.* 6 tries"
        with client() as c, pytest.raises(RobotsError, match=words):
            c.get(f"{base}/x")
    assert asked == ["/robots.txt"] * 6


def test_a_host_that_cannot_be_reached_forbids_everything():
    with site() as (base, _):
        pass
    with client() as c, pytest.raises(SourceError, match=r"cannot be had .*connection refused"):
        c.get(f"{base}/x")


def test_rules_are_asked_for_again_after_a_day_and_parsed_up_to_a_bound():
    """Half a megabyte is read, what follows is not."""
    long = "User-agent: *\n" + "#" * MAX_PARSED_BYTES + "\nDisallow: /x\n"
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
            with client(configured=[far]) as c:
                with pytest.raises(SourceError, match="does not allow"):
                    c.get(f"{near}/x")
    assert asked == ["/robots.txt"]


def test_redirects_in_a_circle_end():
    with site(x=(302, {"Location": "/y"}, b""), y=(302, {"Location": "/x"}, b"")) as (base, _):
        with client() as c, pytest.raises(SourceError, match="redirects in a circle"):
            c.get(f"{base}/x")


def test_a_group_of_our_own_goes_before_the_one_for_all():
    """The product token chooses the group, in any case of its letters, and groups merge."""
    text = (
        "User-agent: *\nDisallow: /\n\n"
        "User-agent: CORRIGENDA\nDisallow: /a\n\n"
        "User-agent: other\nUser-agent: corrigenda\nDisallow: /b\n"
    )
    with site(robots_txt=rules(text), a=PAGE, b=PAGE, x=PAGE) as (base, asked), client() as c:
        for path in ("a", "b"):
            with pytest.raises(RobotsError, match="does not allow"):
                c.get(f"{base}/{path}")
        assert c.get(f"{base}/x").body == b"page"
    assert asked == ["/robots.txt", "/x"]


def test_a_client_of_an_api_asks_for_no_rules():
    """Without `robots` the file is not even fetched."""
    with site(robots_txt=rules("User-agent: *\nDisallow: /"), x=PAGE) as (base, asked):
        with client(robots=False) as c:
            assert c.get(f"{base}/x").body == b"page"
    assert asked == ["/x"]


def test_rules_are_kept_for_the_next_process(tmp_path):
    """Another client with the same directory does not ask again; a damaged file is asked for anew;
    that a site was closed is not kept.
    """
    text = "User-agent: *\nDisallow: /secret\n"
    with site(robots_txt=rules(text), x=PAGE) as (base, asked):
        for _ in range(2):
            with client(cache=tmp_path) as c:
                c.get(f"{base}/x")
                with pytest.raises(RobotsError):
                    c.get(f"{base}/secret")
        assert asked.count("/robots.txt") == 1
        (kept,) = tmp_path.glob("*.robots")
        kept.write_text(kept.read_text()[:-9])
        with client(cache=tmp_path) as c:
            c.get(f"{base}/x")
        assert asked.count("/robots.txt") == 2
    with site(robots_txt=rules("", 500), x=PAGE) as (base, _), client(cache=tmp_path) as c:
        with pytest.raises(RobotsError):
            c.get(f"{base}/x")
    assert len(list(tmp_path.glob("*.robots"))) == 1


def test_a_rule_that_the_bound_cuts_is_not_read():
    """`Disallow: /x1` cut to `/x` would close more than it says."""
    head = "User-agent: *\n"
    filling = "#" * (MAX_PARSED_BYTES - len(head) - len("\nDisallow: /x")) + "\n"
    with site(robots_txt=rules(f"{head}{filling}Disallow: /x1\n"), x=PAGE) as (base, _):
        with client() as c:
            assert c.get(f"{base}/x").body == b"page"


@pytest.mark.parametrize("hops", [5, 6])
def test_rules_are_followed_over_five_redirects(hops):
    """Also to other hosts (section 2.3.1.2); what is further away cannot be had."""
    text = "User-agent: *\nDisallow: /x\n"
    with site(end=rules(text)) as (far, _):
        steps = {f"r{n}": (302, {"Location": f"/r{n + 1}"}, b"") for n in range(1, hops)}
        steps[f"r{hops}"] = (301, {"Location": f"{far}/end"}, b"")
        first = steps.pop("r1")
        with (
            site(robots_txt=first, x=PAGE, **steps) as (base, asked),
            client(configured=[far]) as c,
        ):
            words = "does not allow" if hops == 5 else "cannot be had .*more than 5 times"
            with pytest.raises(RobotsError, match=words):
                c.get(f"{base}/x")
    assert len(asked) == min(hops, 6) and "/x" not in asked


def test_a_delay_without_reason_closes_the_site():
    """Nobody waits a week; the error says so, and no page is asked for."""
    text = "User-agent: *\nCrawl-delay: 604800\n"
    with site(robots_txt=rules(text), x=PAGE) as (base, asked), client() as c:
        with pytest.raises(RobotsError, match="asks for 604800 s"):
            c.get(f"{base}/x")
    assert asked == ["/robots.txt"]


def test_a_closed_site_is_asked_again_after_a_while():
    """For five minutes nothing more is asked of it; then it may be open, and is asked once."""
    now = [1e9]
    answers = {"robots_txt": rules("", 500), "x": PAGE}
    with site(**answers) as (base, asked), client(lambda: now[0]) as c:
        for seconds in (0, 200, 200):
            now[0] += seconds
            with pytest.raises(RobotsError):
                c.get(f"{base}/x")
    assert asked == ["/robots.txt"] * (6 + 1)
