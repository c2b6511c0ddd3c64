"""A host on loopback that fails each request once, in one way, and then answers it."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from loopback import QuietHandler, on_loopback

HTML = b"<html><head><title>Bad Gateway</title></head><body>nginx</body></html>"
SILENCE_S = 0.6
"""Seconds of a host that sends nothing."""
RESULTS = b'{"head": {"vars": ["item"]}, "results": {"bindings": [{"item": {"type": "uri"'


@dataclass(frozen=True)
class Failure:
    """One way to fail."""

    play: Callable[[FrontHandler], None]
    """Answers a request so."""
    where: str = ""
    """Part of the addresses that can fail so; empty for all."""


class FrontHandler(QuietHandler):
    """Fails a request that it sees for the first time, else passes it on to the real host."""

    failure: Failure | None
    backend: str
    seen: set[tuple[str | bytes | None, ...]]

    def do_GET(self) -> None:
        """Fail, or answer."""
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = (self.command, self.path, self.body, self.headers.get("Last-Event-ID"))
        fails = self.failure and self.failure.where in self.path and key not in self.seen
        if fails and self.failure:
            self.seen.add(key)
            self.failure.play(self)
        else:
            self._pass_on()

    do_POST = do_GET

    def _pass_on(self) -> None:
        host = http.client.HTTPConnection(urlsplit(self.backend).netloc)
        host.request(self.command, self.path, self.body or None, dict(self.headers.items()))
        answer = host.getresponse()
        body = answer.read()
        headers = [(k, v) for k, v in answer.getheaders() if k.lower() in PASSED]
        host.close()
        self.answer(answer.status, body, *headers)

    def answer(self, status: int, body: bytes, *headers: tuple[str, str], cut: int = 0) -> None:
        """Send a response, the last `cut` bytes of which do not come."""
        self.send_response(status)
        for name, text in headers:
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) - cut])


PASSED = ("content-type", "content-encoding", "etag", "last-modified")
JSON = ("Content-Type", "application/json")


def _status(status: int) -> Failure:
    """A gateway's page with a status."""
    return Failure(lambda handler: handler.answer(status, HTML, ("Content-Type", "text/html")))


def _api(code: str) -> Failure:
    """An error of the Action API inside of an HTTP 200."""
    body = json.dumps({"error": {"code": code, "info": "[x] Caught exception"}}).encode()
    return Failure(lambda handler: handler.answer(200, body, JSON), "api.php")


def _reset(handler: FrontHandler) -> None:
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()


def _cut_chunk(handler: FrontHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n{")


FAILURES = {
    **{str(status): _status(status) for status in (408, 429, 500, 502, 503, 504, 520, 524)},
    "reset": Failure(_reset),
    "closed": Failure(lambda handler: None),
    "silence": Failure(lambda handler: time.sleep(SILENCE_S)),
    "cut length": Failure(lambda handler: handler.answer(200, b"{}" * 40, JSON, cut=9)),
    "cut chunk": Failure(_cut_chunk),
    "cut gzip": Failure(
        lambda handler: handler.answer(
            200, gzip.compress(b"{}" * 40)[:-9], ("Content-Encoding", "gzip")
        )
    ),
    **{
        code: _api(code)
        for code in (
            "internal_api_error_DBConnectionError",
            "internal_api_error_Wikimedia\\Rdbms\\DBQueryTimeoutError",
            "internal_api_error_MWException",
            "readonly",
            "maxlag",
            "ratelimited",
            "cirrussearch-too-busy-error",
        )
    },
    "page in place of JSON": Failure(
        lambda handler: handler.answer(200, HTML, ("Content-Type", "text/html")), "/w"
    ),
    "exception behind a cut result": Failure(
        lambda handler: handler.answer(
            200, RESULTS + b"\njava.util.concurrent.TimeoutException\n\tat java.util", JSON
        ),
        "/sparql",
    ),
    "result that QLever cannot finish": Failure(
        lambda handler: handler.answer(
            200,
            RESULTS + b"\n!!!!>># An error has occurred while exporting the result",
            JSON,
        ),
        "/sparql",
    ),
    "part of a result, as Virtuoso": Failure(
        lambda handler: handler.answer(200, RESULTS + b"}}]}}", JSON, ("X-SQL-State", "S1TAT")),
        "/sparql",
    ),
    "part of a result, by status": Failure(
        lambda handler: handler.answer(206, RESULTS + b"}}]}}", JSON), "/sparql"
    ),
}


@contextmanager
def front_of(backend: str, failure: Failure | None) -> Iterator[tuple[str, set]]:
    """Stands before a host; yields its own origin, and the requests that it has failed."""
    seen: set = set()
    about = {"failure": failure, "backend": backend, "seen": seen}
    handler = type("Front", (FrontHandler,), about)
    with suppress(ConnectionError), on_loopback(handler) as origin:
        yield origin, seen
