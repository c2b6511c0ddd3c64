"""Serve a recording over HTTP on this machine, for demos and tests without a network.

Served are `w/api.php` (`prop=revisions`, `wbgetentities`), `wiki/Special:EntityData/ID.json` and
`sparql`, with ETag, 304 and gzip, and `v2/stream/recentchange` as server-sent events. The stream
has the difficulties of the real one: it continues after the event of a given id, closes now and
then, sends events twice, and drops old events without notice.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from discovery.sources.replay.recording import Recording

STREAM = "/v2/stream/recentchange"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An answer that is sent instead of the recorded one."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that the server received, for tests."""

    path: str
    """Path and query."""
    headers: Mapping[str, str]


class ReplayServer:
    """A context manager: serves a recording on a free loopback port and yields the base URL."""

    def __init__(self, directory: Path, now: str = "9999") -> None:
        """
        now  ISO time of the replay: revisions and events after it do not exist yet
        """
        self.recording = Recording(directory, now)
        self.faults: deque[Fault] = deque()
        self.requests: list[Request] = []
        self.retained_from = ""
        """ISO time of the oldest event that the stream retains."""
        self.events_a_connection: int | None = None
        """Events after which the stream closes; None closes it at its end."""
        self.breaks_off = False
        """Whether the stream closes in the middle of the event after those."""
        self.repeats = 0
        """Number of events up to the client's last one that are sent again."""

    def fail(self, times: int = 1, **fault: Any) -> None:
        """Answer the next `times` requests with this `Fault`, given by its fields."""
        self.faults.extend([Fault(**fault)] * times)

    def __enter__(self) -> str:
        """Start the server, and return its base URL."""
        handler = type("Handler", (_Handler,), {"replay": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False  # a client may hold its connection open
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *exc: object) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def events(self, last_id: str | None, since: str | None) -> Iterator[bytes]:
        """The events that one connection to the stream is sent.

        last_id  id of the client's last event
        since    ISO time of the first event, without a last id

        Where that position is no longer retained, no recorded event is sent, as if the stream went
        on from now.
        """
        happened = [event for event in self.recording.events if _time(event) <= self.recording.now]
        kept = [event for event in happened if _time(event) >= self.retained_from]
        places = [n for n, event in enumerate(kept) if event[0] == last_id]
        if places:
            start = max(0, places[-1] + 1 - self.repeats)
        elif last_id is None and since is not None and since >= self.retained_from:
            start = next((n for n, e in enumerate(kept) if _time(e) >= since), len(kept))
        else:
            start = len(kept)
        limit = self.events_a_connection
        end = None if limit is None else start + self.repeats + limit
        for event_id, data in kept[start:end]:
            yield f"event: message\nid: {event_id}\ndata: {data}\n\n".encode()
        if self.breaks_off and end is not None and end < len(kept):
            yield f"event: message\nid: {kept[end][0]}\ndata: {kept[end][1][:40]}".encode()


class _Handler(BaseHTTPRequestHandler):
    """Answers a request: with the next fault if there is one, else from the recording."""

    protocol_version = "HTTP/1.1"
    timeout = 10
    disable_nagle_algorithm = True
    """Head and body are two writes; the second would wait 40 ms for an acknowledgement."""
    replay: ReplayServer

    def do_GET(self) -> None:
        """Answer a GET request."""
        self._answer(dict(parse_qsl(urlsplit(self.path).query)))

    def do_POST(self) -> None:
        """Answer a POST of parameters as the GET of them."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self._answer(dict(parse_qsl(f"{urlsplit(self.path).query}&{body}")))

    def _answer(self, query: dict[str, str]) -> None:
        """Answer a request with these parameters."""
        self.replay.requests.append(
            Request(self.path, {name.lower(): text for name, text in self.headers.items()})
        )
        if self.replay.faults:
            fault = self.replay.faults.popleft()
            self._send(
                fault.status, {"Content-Type": "application/json", **fault.headers}, fault.body
            )
            return
        parts = urlsplit(self.path)
        if parts.path == STREAM:
            self._stream(self.headers.get("Last-Event-ID"), query.get("since"))
            return
        status, body = self.replay.recording.answer(unquote(parts.path), query)
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if status == 200:
            headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            if self.headers.get("If-None-Match") == headers["ETag"]:
                self._send(304, headers, b"")
                return
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, mtime=0)
        self._send(status, headers, body)

    def _stream(self, last_id: str | None, since: str | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            self.wfile.write(b":ok\n\n")
            for event in self.replay.events(last_id, since):
                self.wfile.write(event)
        except ConnectionError:  # the client has closed the connection
            pass
        self.close_connection = True

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: `ReplayServer.requests` is the log."""


def _time(event: tuple[str, str]) -> str:
    """ISO time of an event."""
    return json.loads(event[1])["meta"]["dt"]
