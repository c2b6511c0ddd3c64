"""HTTP responses read whole, and a directory of those that carry an ETag or a date."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

from infra.errors import AnswerError
from infra.files.atomic import write_atomic

VALIDATORS = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}
"""Response header -> request header that makes the next one conditional (RFC 9110 section 13)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A response whose body was read whole."""

    url: str
    """As configured, which is not always where it was fetched from."""
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    fetched_at: str
    """ISO 8601 UTC time of this request."""
    revalidated: bool = False
    """The server said 304 and the body is the stored one; `status` is the stored 200."""

    @classmethod
    def unread(cls, url: str) -> Response:
        """A response that was asked for and whose answer was of no use."""
        return cls(url=url, status=0, headers={}, body=b"", fetched_at="")

    @property
    def etag(self) -> str | None:
        return self.headers.get("etag")

    def conditions(self) -> dict[str, str]:
        """Request headers that ask for the response only if it is no longer this one."""
        return {VALIDATORS[name]: self.headers[name] for name in VALIDATORS if name in self.headers}

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def excerpt(self) -> str:
        """The start of the body on one line."""
        return " ".join(self.body[:200].decode("utf-8", "replace").split())[:80] or "empty"

    def retry_after_s(self, now_s: float) -> float | None:
        """Seconds to wait by `Retry-After`, a number of seconds or an HTTP date (RFC 9110 section
        10.2.3); None where it says nothing that can be read.
        """
        return retry_after_s(self.headers, now_s)

    def json(self, where: str) -> Any:
        """The body's JSON as RFC 8259 has it: UTF-8, no NaN. `where` begins the error's line.

        Raises AnswerError that says what came instead.
        """
        if self.media_type and "json" not in self.media_type:
            raise AnswerError(
                f"{where} answers {self.media_type} instead of JSON ({self.excerpt}). "
                "Check the endpoint; a proxy or a login page may stand in between."
            )
        try:
            return json.loads(self.body.decode("utf-8-sig"), parse_constant=_no_constant)
        except RecursionError:
            fault, advice = "is nested too deeply", "Check the endpoint."
        except ValueError as error:
            fault, advice = str(error), "Run the same command again to continue."
        raise AnswerError(
            f"{where} answers broken JSON of {len(self.body)} bytes ({fault}). {advice}"
        )


@dataclass(frozen=True, slots=True)
class ResponseCache:
    """One file for the headers and one for the body of each response, named by the digest of its
    URL.

    Our requests carry the same headers always, so the URL is key enough whatever `Vary` says.
    Nothing is ever removed: delete the directory to be rid of it.
    """

    directory: Path

    def load(self, url: str) -> Response | None:
        """The stored response, unless it is missing or damaged."""
        about, content = self._paths(url)
        try:
            meta, body = json.loads(about.read_text(encoding="utf-8")), content.read_bytes()
        except (OSError, ValueError):
            return None
        if meta["url"] != url or meta["sha256"] != hashlib.sha256(body).hexdigest():
            return None
        return Response(url=url, status=200, headers=meta["headers"], body=body, fetched_at="")

    def save(self, response: Response) -> None:
        """Keep a response that can be asked for conditionally; pass over any other."""
        if not response.conditions():
            return
        about, content = self._paths(response.url)
        digest = hashlib.sha256(response.body).hexdigest()
        text = json.dumps(
            {"url": response.url, "sha256": digest, "headers": dict(response.headers)}
        )
        for path, data in ((content, response.body), (about, text.encode())):
            write_atomic(path, partial(_write, data))

    def _paths(self, url: str) -> tuple[Path, Path]:
        stem = hashlib.sha256(url.encode()).hexdigest()
        return self.directory / f"{stem}.json", self.directory / f"{stem}.body"


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """As `Response.retry_after_s`, of headers whose names are in lower case."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _write(data: bytes, path: Path) -> None:
    path.write_bytes(data)
