"""Queries: short ones by GET, long ones by POST, and results that are not all are no results."""

import json
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
from loopback import QuietHandler, SkippedTime, on_loopback

from discovery.sources.wikibase.sparql import select_items
from infra.errors import SourceError
from infra.http.client import PoliteClient

ROW = {"item": {"type": "uri", "value": "http://www.wikidata.org/entity/Q7"}}
RESULT = json.dumps({"head": {"vars": ["item"]}, "results": {"bindings": [ROW]}}).encode()


def query(num_items):
    values = " ".join(f"wd:Q{100_000 + n}" for n in range(num_items))
    return f"SELECT ?item WHERE {{ VALUES ?item {{ {values} }} }}"


@contextmanager
def endpoint(limit=8190, refusal=(414, b"<h1>Request-URI Too Large</h1>"), headers=(), post=True):
    """Takes addresses of so many characters, and POSTs; yields its address and what it was sent."""
    sent = []

    class Endpoint(QuietHandler):
        def do_GET(self):
            sent.append(("GET", parse_qs(urlsplit(self.path).query)))
            self._answer(*(refusal if len(self.path) > limit else (200, RESULT)))

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
            sent.append(("POST", parse_qs(body)))
            self._answer(200 if post else 405, RESULT)

        def _answer(self, status, body):
            self.send_response(status)
            for name, text in headers:
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with on_loopback(Endpoint) as origin:
        yield f"{origin}/sparql", sent


def selected(url, text):
    with PoliteClient(
        source="w", contact="a@b.org", rate_limit=SkippedTime().rate_limit(), min_interval_s=0
    ) as client:
        return select_items(client, url, text, "w")[0]


@pytest.mark.parametrize(("num", "methods"), [(3, ["GET"]), (900, ["POST"])])
def test_a_long_query_is_posted(num, methods):
    """The same parameters, in the body (SPARQL 1.1 Protocol section 2.1.2)."""
    with endpoint() as (url, sent):
        assert selected(url, query(num)) == ("Q7",)
    assert [method for method, _ in sent] == methods and sent[0][1]["query"] == [query(num)]


@pytest.mark.parametrize(
    "refusal",
    [
        (414, b""),
        (431, b""),
        (400, b"<h1>400 Bad Request</h1> Request Header Or Cookie Too Large"),
        (404, b"HTTP Error 404.15: query string is too long"),
    ],
    ids=["414", "431", "nginx", "IIS"],
)
def test_an_address_that_a_server_finds_too_long_is_posted(refusal):
    """However it says so, and whatever length it takes."""
    with endpoint(limit=500, refusal=refusal) as (url, sent):
        assert selected(url, query(100)) == ("Q7",)
    assert [method for method, _ in sent] == ["GET", "POST"]


def test_an_endpoint_that_takes_no_long_query_in_any_way():
    """It is said in one line without the query."""
    with endpoint(post=False) as (url, _), pytest.raises(SourceError, match="HTTP 405") as caught:
        selected(url, query(900))
    assert len(str(caught.value)) < 400 and "wd:Q" not in str(caught.value)


def test_an_endpoint_with_parameters_of_its_own():
    """They stay in the address."""
    with endpoint() as (url, sent):
        for num in (3, 900):
            assert selected(f"{url}?default-graph-uri=http://e.org", query(num)) == ("Q7",)
    assert sent[0][1]["default-graph-uri"] == ["http://e.org"]


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ([("X-SQL-State", "S1TAT")], "sent a part of its results"),
        ([("X-SPARQL-MaxRows", "1")], "cuts the query's results at 1"),
    ],
)
def test_results_that_are_not_all(headers, words):
    """Items that are missing for a limit of the endpoint are not taken for items that are gone."""
    with endpoint(headers=headers) as (url, _), pytest.raises(SourceError, match=words):
        selected(url, query(3))
    with endpoint(headers=[("X-SPARQL-MaxRows", "2")]) as (url, _):
        assert selected(url, query(3)) == ("Q7",)


def test_what_a_java_server_says_is_told_without_the_query():
    """Blazegraph answers with the query first, and its exception behind it."""
    body = f"SPARQL-QUERY: queryStr={query(50)}\n".encode()
    body += b"java.util.concurrent.ExecutionException: a.b.MalformedQueryException: line 1\n\tat x"
    with endpoint(limit=0, refusal=(400, body)) as (url, _), pytest.raises(SourceError) as caught:
        selected(url, query(50))
    assert "MalformedQueryException: line 1" in str(caught.value)
    assert "wd:Q" not in str(caught.value)
