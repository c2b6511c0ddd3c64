"""Real HTTP servers on loopback, for as long as a block runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from infra.http.limits.rate_limit import LocalRateLimit


class SkippedTime:
    """A clock whose seconds pass when someone sleeps, which takes no time."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def time(self) -> float:
        return 1_700_000_000.0 + sum(self.slept)

    def rate_limit(self) -> LocalRateLimit:
        return LocalRateLimit(self.time, self.slept.append)


class QuietHandler(BaseHTTPRequestHandler):
    """Answers as its subclass says, at once, and keeps no log."""

    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def on_loopback(handler: type[QuietHandler]) -> Iterator[str]:
    """Serves requests on a free port, a thread each; yields the origin. Threads that are still busy
    at the end are left behind."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads, server.block_on_close = True, False
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
