"""Recorded answers of a Wikibase over real HTTP on this machine: demos and tests without a network.

A recording is a directory with `index.json`,

    {"format": 1, "labels": FILE,
     "entities": {ID: [{"revision": N, "timestamp": ISO, "file": FILE}]}}

gzipped `Special:EntityData` payloads, and a gzipped map of labels {ID: entity as wbgetentities
answers}. Served are `w/api.php` (`prop=revisions`, `wbgetentities`) and
`wiki/Special:EntityData/ID.json?revision=N`, with ETag, 304 and gzip. Lists of revisions are
composed from the index, so they hold recorded ids only.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from infra.errors import ConfigError

MAX_IDS = 50
"""Ids that `wbgetentities` takes in one call without `apihighlimits`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An answer that is given instead of the recorded one."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, for tests to look at."""

    path: str
    """With the query."""
    headers: Mapping[str, str]


class ReplayServer:
    """A context manager: serves a recording on a free loopback port and yields the base URL."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.faults: deque[Fault] = deque()
        self.requests: list[Request] = []
        try:
            index = json.loads((directory / "index.json").read_text(encoding="utf-8"))
            if index["format"] != 1:
                raise ValueError(f"format {index['format']!r} instead of 1")
            self.entities: dict[str, list[dict[str, Any]]] = index["entities"]
            self.labels = json.loads(gzip.decompress((directory / index["labels"]).read_bytes()))
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(
                f"{directory} is not a recording: {error}. "
                "Give a directory with an index.json (examples/recordings/wikidata is one)."
            ) from error

    def fail(self, times: int = 1, **fault: Any) -> None:
        """The next `times` requests get this `Fault`."""
        self.faults.extend([Fault(**fault)] * times)

    def __enter__(self) -> str:
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
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and JSON body for a path below the base URL."""
        stem = path.removeprefix("/wiki/Special:EntityData/").removesuffix(".json")
        if path == "/w/api.php":
            actions = {"query": self._revisions, "wbgetentities": self._labels}
            action = actions.get(query.get("action", ""))
            unknown = _refusal("badvalue", "Unrecognized value for parameter action.")
            return 200, json.dumps(action(query) if action else unknown).encode()
        if stem != path and stem in self.entities:
            for recorded in self.entities[stem]:
                if str(recorded["revision"]) == query.get("revision"):
                    return 200, gzip.decompress((self.directory / recorded["file"]).read_bytes())
        return 404, b'{"error": "not recorded"}'

    def _revisions(self, query: Mapping[str, str]) -> Any:
        """The newest recorded revision at or before `rvstart`."""
        title = query.get("titles", "")
        if "|" in title:
            return _refusal("multpages", "rvlimit may only be used with a single page.")
        if title not in self.entities:
            return {"query": {"pages": [{"ns": 0, "title": title, "missing": True}]}}
        until = query.get("rvstart", "9999")
        found = [item for item in self.entities[title] if item["timestamp"] <= until]
        page: dict[str, Any] = {"ns": 0, "title": title}
        if found:
            last = max(found, key=lambda item: item["timestamp"])
            page["revisions"] = [{"revid": last["revision"], "timestamp": last["timestamp"]}]
        return {"batchcomplete": True, "query": {"pages": [page]}}

    def _labels(self, query: Mapping[str, str]) -> Any:
        ids = query.get("ids", "").split("|")
        if len(ids) > MAX_IDS:
            return _refusal("toomanyvalues", f'Too many values for parameter "ids": {MAX_IDS}.')
        missing = {"missing": ""}
        return {
            "entities": {key: self.labels.get(key, {"id": key, **missing}) for key in ids},
            "success": 1,
        }


class _Handler(BaseHTTPRequestHandler):
    """One request: a fault if one waits, else the recording."""

    protocol_version = "HTTP/1.1"
    timeout = 10
    replay: ReplayServer

    def do_GET(self) -> None:
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
        status, body = self.replay.answer(unquote(parts.path), dict(parse_qsl(parts.query)))
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

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: `ReplayServer.requests` is the log."""


def _refusal(code: str, info: str) -> Any:
    return {"error": {"code": code, "info": info}}
