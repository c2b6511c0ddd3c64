"""HTTP responses, and a cache on disk of those that can be requested conditionally."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

from infra.errors import AnswerError, reason
from infra.files.atomic import Flush, write_atomic
from infra.files.digest import canonical_json, digest_of
from infra.files.notes import if_writable
from infra.http.faults import exception_in, excerpt_of

log = logging.getLogger(__name__)

STORED = ".response"
"""Suffix of the files of stored responses."""
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
    """Responses on disk, by URL: for each, one file, so that of two processes that save one at a
    time each leaves a whole one. Its first line is JSON with headers and digests, the rest the
    body.

    The URL is a sufficient key, whatever `Vary` says, because our requests always carry the same
    headers; where a secret is left out of it, the name of the source that asks is a part of the
    key. Responses are never removed; delete the directory to empty the cache.
    """

    directory: Path
    """Made when the first response is saved."""

    def load(self, url: str, asker: str = "") -> Response | None:
        """The stored response to a URL; None where it is missing or, with a line, damaged.

        asker  name of the source that asks, where the URL is requested with a secret
        """
        path = self._path(url, asker)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("%s cannot be read (%s): it is fetched again", path, reason(error))
            return None
        stored = _unpack(content)
        if stored is None or (stored[0].url, stored[1]) != (url, asker):
            log.warning("%s is damaged: it is fetched again", path)
            return None
        return stored[0]

    def save(self, response: Response, asker: str = "") -> None:
        """Store a response, if it can be requested conditionally; others are ignored.

        asker  as of `load`

        Where the store cannot be written, that is said in a line, and the response is not stored.
        """
        if not response.conditions():
            return
        path = self._path(response.url, asker)
        with if_writable(path):
            content = _pack(response, asker)
            write_atomic(path, partial(_write, content), flush=Flush.NOTHING)

    def damaged(self) -> list[Path]:
        """Files that `load` does not take."""
        found = []
        for path in sorted(self.directory.glob(f"[!.]*{STORED}")):
            stored = _unpack(path.read_bytes())
            if stored is None or self._path(stored[0].url, stored[1]) != path:
                found.append(path)
        return found

    def _path(self, url: str, asker: str) -> Path:
        """The file of a response, named by the digest of its key."""
        key = f"{asker}\n{url}" if asker else url
        return self.directory / f"{_sha256(key.encode())}{STORED}"


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """`Response.retry_after_s` for headers with names in lower case."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None


def _pack(response: Response, asker: str) -> bytes:
    """A response, and who asks, as its file has them."""
    headers = {name: text for name, text in response.headers.items() if name != "set-cookie"}
    about = {"url": response.url, "headers": headers, "sha256": _sha256(response.body)}
    if asker:
        about["asker"] = asker
    return canonical_json({"about": about, "sha256": digest_of(about)}) + b"\n" + response.body


def _unpack(content: bytes) -> tuple[Response, str] | None:
    """The response in a file's content, and who asks; None where that is cut or altered."""
    line, _, body = content.partition(b"\n")
    try:
        said = json.loads(line)
        about = said["about"]
        if said["sha256"] != digest_of(about) or about["sha256"] != _sha256(body):
            return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    stored = Response(
        url=about["url"], status=200, headers=about["headers"], body=body, fetched_at=""
    )
    return stored, about.get("asker", "")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _write(data: bytes, path: Path) -> None:
    path.write_bytes(data)
