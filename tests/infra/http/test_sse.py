"""Server-sent events: the WHATWG examples, every way of cutting them, and a real server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import QuietHandler, SkippedTime, on_loopback

from infra.errors import SourceError
from infra.http.client import PoliteClient
from infra.http.sse import Event, read_events


def read(*chunks: bytes, **options: Any) -> list[Event]:
    return list(read_events(chunks, "source x: http://x", **options))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("", "message", "YHOO\n+2\n10")]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third\n",
            [("1", "message", "first event"), ("", "message", "second event")],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [("", "message", ""), ("", "message", "\n")]),
        (b"data:test\n\ndata: test\n\n", [("", "message", "test")] * 2),
        (b"event: add\ndata: 7\n\ndata: 8\n\n", [("", "add", "7"), ("", "message", "8")]),
        (b"event: add\n\ndata: 8\n\n", [("", "message", "8")]),
        (b"id: 5\n\ndata: a\n\n", [("5", "message", "a")]),
        (b"id: 5\nid: 6\0\ndata: a\n\n", [("5", "message", "a")]),
        (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", [("", "message", "a")]),
        (b"data: a:b\nDATA: c\nother: d\n\n", [("", "message", "a:b")]),
        (b"data: \xff\xe2\x82\n\n", [("", "message", "\ufffd\ufffd")]),
        (b"data: a", []),
        (b"data: a\n", []),
    ],
)
def test_examples_of_the_standard(body: bytes, expected: list[tuple[str, str, str]]) -> None:
    """What WHATWG HTML section 9.2.6 says, mostly in its own examples; the last event of a stream
    counts only if a blank line ends it.
    """
    assert [(event.id, event.event, event.data) for event in read(body)] == expected


@given(
    lines=st.lists(
        st.sampled_from(["data: a", "data:é€😀", "id: [1]", "event: e", ":c", "", "", "retry: 9"])
    ),
    end=st.sampled_from(["\n", "\r", "\r\n"]),
    cuts=st.lists(st.integers(0, 120)),
)
def test_line_ends_and_cuts_do_not_matter(lines: list[str], end: str, cuts: list[int]) -> None:
    """Any kind of line end, cut into any chunks, gives what plain LF in one piece gives."""
    plain = "".join(f"{line}\n" for line in lines).encode()
    body = plain.replace(b"\n", end.encode())
    bounds = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    assert read(*(body[a:b] for a, b in pairwise(bounds))) == read(plain)


def test_events_come_as_soon_as_they_are_whole() -> None:
    """An event that ends in CR is not held back for the LF that may follow."""
    given_up: list[bytes] = []

    def chunks() -> Iterator[bytes]:
        for chunk in (b"data: a\r\r", b"\ndata: b\r\n\r\n"):
            given_up.append(chunk)
            yield chunk

    events = read_events(chunks(), "x")
    assert next(events).data == "a" and len(given_up) == 1
    assert next(events).data == "b"


def test_retry_is_kept_and_nonsense_is_not() -> None:
    """`retry` is a number of ASCII digits, or nothing."""
    body = b"retry: 5000\ndata: a\n\nretry: soon\ndata: b\n\nretry: \xd9\xa3\ndata: c\n\n"
    assert [event.retry_ms for event in read(body)] == [5000] * 3


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ([b"data: " + b"x" * 60] * 2, "a line of more than 100 bytes"),
        ([b"x" * 101 + b"\n"], "a line of more than 100 bytes"),
        ([b"data: 12345678\n"] * 30, "an event of more than 200 bytes"),
    ],
)
def test_lines_and_events_are_bounded(chunks: list[bytes], words: str) -> None:
    """What never ends is an error, not memory."""
    with pytest.raises(SourceError, match=words):
        read(*chunks, max_line_bytes=100, max_event_bytes=200)


class Streamer:
    """A real server that sends what it is given, then ends, breaks, or falls silent."""

    def __init__(
        self, body: bytes, *, then: str = "end", status: int = 200, kind: str = ""
    ) -> None:
        self.body, self.then, self.status = body, then, status
        self.kind = kind or "text/event-stream; charset=utf-8"
        self.headers: list[dict[str, str]] = []
        self.hung_up = threading.Event()

    def __enter__(self) -> str:
        streamer = self

        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                streamer.headers.append({k.lower(): v for k, v in self.headers.items()})
                self.send_response(streamer.status)
                self.send_header("Content-Type", streamer.kind)
                if streamer.status == 204:
                    self.end_headers()
                    return
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self._chunk(streamer.body)
                if streamer.then == "end":
                    self._chunk(b"")
                elif streamer.then == "silence":
                    streamer.hung_up.wait(5)
                elif streamer.then == "go on":
                    try:
                        while True:
                            self._chunk(streamer.body)
                            time.sleep(0.01)
                    except OSError:
                        streamer.hung_up.set()
                self.close_connection = True

            def _chunk(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

        self.server = on_loopback(Handler)
        return self.server.__enter__()

    def __exit__(self, *exc: Any) -> None:
        self.hung_up.set()
        self.server.__exit__(*exc)


def client() -> PoliteClient:
    return PoliteClient(
        source="wd",
        contact="ops@example.org",
        rate_limit=SkippedTime().rate_limit(),
        min_interval_s=0.0,
    )


LAST_ID = json.dumps([{"topic": "eqiad.é", "partition": 0, "timestamp": 1}], ensure_ascii=False)


def test_stream_is_read_to_its_end() -> None:
    """Every event arrives; the id goes out byte for byte; a normal end is no error."""
    body = f"id: {LAST_ID}\ndata: 1\n\ndata: 2\n\n".encode()
    streamer = Streamer(body)
    with streamer as base, client() as http:
        events = list(http.stream(f"{base}/v2", {"since": "x"}, last_event_id=LAST_ID))
    assert [(event.id, event.data) for event in events] == [(LAST_ID, "1"), (LAST_ID, "2")]
    sent = streamer.headers[0]
    assert sent["last-event-id"].encode("latin-1").decode() == LAST_ID
    assert "ops@example.org" in sent["user-agent"] and sent["accept"] == "text/event-stream"


def test_no_id_is_sent_before_the_first() -> None:
    """Without a last event there is no `Last-Event-ID`; HTTP 204 says that there is no more."""
    streamer = Streamer(b"", status=204)
    with streamer as base, client() as http:
        assert list(http.stream(base)) == []
    assert "last-event-id" not in streamer.headers[0]


def test_closing_the_generator_hangs_up() -> None:
    """Whoever has seen enough closes the stream, and the server notices."""
    streamer = Streamer(b"data: 1\n\n", then="go on")
    with streamer as base, client() as http:
        events = http.stream(base)
        assert next(events).data == "1"
        events.close()
        assert streamer.hung_up.wait(5)


def test_a_connection_that_breaks_is_the_end_of_the_stream() -> None:
    """What came before is there; the listener goes on from its last id, as after any end."""
    with Streamer(b"data: 1\n\n", then="break") as base, client() as http:
        assert [event.data for event in http.stream(base)] == ["1"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"then": "silence"}, "timed out"),
        ({"status": 500}, "HTTP 500"),
        ({"kind": "text/html"}, "text/html instead of an event stream"),
    ],
)
def test_faults_of_a_stream_are_one_clear_line(options: dict[str, Any], words: str) -> None:
    """Silence and what is no stream end in a SourceError, after the events that came before."""
    events = []
    with (
        Streamer(b"data: 1\n\n", **options) as base,
        client() as http,
        pytest.raises(SourceError, match=words) as caught,
    ):
        for event in http.stream(base, read_timeout_s=0.2):
            events.append(event.data)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("source wd: ")
    assert events == (["1"] if "then" in options else [])
