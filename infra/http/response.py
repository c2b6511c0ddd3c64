"""HTTP responses, and a cache on disk of those that can be requested conditionally."""

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
from infra.files.atomic import Flush, write_atomic
from infra.files.notes import if_writable, read_note, write_note
from infra.http.faults import exception_in, excerpt_of

VALIDATORS = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}
"""Response header -> request header that makes the next one conditional (RFC 9110 section 13)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A response with its whole body."""

    url: str
    """The address as configured; redirects and `origins` may have led to another."""
    status: int
    """HTTP status."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    """Decompressed."""
    fetched_at: str
    """ISO 8601 time of this request, UTC."""
    revalidated: bool = False
    """Whether the server answered 304; body, headers and the status 200 are those of the cache."""

    @classmethod
    def unread(cls, url: str) -> Response:
        """A placeholder for a response that could not be used: status 0, no body."""
        return cls(url=url, status=0, headers={}, body=b"", fetched_at="")

    @property
    def etag(self) -> str | None:
        """Value of the `ETag` header (RFC 9110 section 8.8.3), or None."""
        return self.headers.get("etag")

    def conditions(self) -> dict[str, str]:
        """Headers that make a request conditional: the server sends the body only if it changed."""
        return {VALIDATORS[name]: self.headers[name] for name in VALIDATORS if name in self.headers}

    @property
    def media_type(self) -> str:
        """Media type in lower case, without parameters; empty where the server names none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def excerpt(self) -> str:
        """What the body says on one line, at most 160 characters, for errors."""
        return excerpt_of(self.body) or "empty"

    def retry_after_s(self, now_s: float) -> float | None:
        """Seconds to wait by the `Retry-After` header, None where it is missing or unreadable.

        The header holds seconds or an HTTP date (RFC 9110 section 10.2.3).

        now_s  the time now, in seconds since 1970
        """
        return retry_after_s(self.headers, now_s)

    def json(self, where: str) -> Any:
        """The JSON value in the body, strictly by RFC 8259: UTF-8, no NaN.

        where  begins the error: which source and address answered

        Raises AnswerError, which says what came instead.
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
            if ended := exception_in(self.body):
                fault = f"the server says in it: {ended}"
        raise AnswerError(
            f"{where} answers broken JSON of {len(self.body)} bytes ({fault}). {advice}"
        )


@dataclass(frozen=True, slots=True)
class ResponseCache:
    """Responses on disk, by URL: for each, one file with the headers and one with the body.

    The URL is a sufficient key, whatever `Vary` says, because our requests always carry the same
    headers; where a secret is left out of it, the name of the source that asks is a part of the
    key. Responses are never removed; delete the directory to empty the cache.
    """

    directory: Path
    """Made when the first response is saved."""

    def load(self, url: str, asker: str = "") -> Response | None:
        """The stored response to a URL; None where it is missing or damaged.

        asker  name of the source that asks, where the URL is requested with a secret
        """
        about, content = self._paths(url, asker)
        meta = read_note(about)
        try:
            body = content.read_bytes()
        except OSError:
            return None
        if meta is None or (meta["url"], meta.get("asker", "")) != (url, asker):
            return None
        if meta["sha256"] != _sha256(body):
            return None
        return Response(url=url, status=200, headers=meta["headers"], body=body, fetched_at="")

    def save(self, response: Response, asker: str = "") -> None:
        """Store a response, if it can be requested conditionally; others are ignored.

        asker  as of `load`

        Where the store cannot be written, that is said in a line, and the response is not stored.
        """
        if not response.conditions():
            return
        about, content = self._paths(response.url, asker)
        headers = {name: text for name, text in response.headers.items() if name != "set-cookie"}
        said = {"url": response.url, "headers": headers, "sha256": _sha256(response.body)}
        if asker:
            said["asker"] = asker
        with if_writable(about):
            write_atomic(content, partial(_write, response.body), flush=Flush.NOTHING)
            write_note(about, said)

    def damaged(self) -> list[Path]:
        """Files with headers that `load` does not take: damaged, or with another body beside."""
        found = []
        for about in sorted(self.directory.glob(f"{'[0-9a-f]' * 64}.json")):
            meta = read_note(about)
            if meta is None or self.load(meta["url"], meta.get("asker", "")) is None:
                found.append(about)
        return found

    def _paths(self, url: str, asker: str) -> tuple[Path, Path]:
        """The files for headers and body, named by the digest of the key."""
        key = f"{asker}\n{url}" if asker else url
        stem = hashlib.sha256(key.encode()).hexdigest()
        return self.directory / f"{stem}.json", self.directory / f"{stem}.body"


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """`Response.retry_after_s` for headers with names in lower case."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _write(data: bytes, path: Path) -> None:
    path.write_bytes(data)
