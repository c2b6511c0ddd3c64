"""Object storage by its S3 interface: whole objects, conditional writes, files up and down.

Two conditions are enough for several processes to share a workspace: an object is created if there
is none of its key (`If-None-Match: *`), or replaced if it is still the one that was read
(`If-Match`). A store that ignores them is refused (`ObjectStore.require_conditions`).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    PreconditionError,
    UnknownConfigurationKeyError,
)
from obstore.store import S3Store

from infra.errors import ConfigError, StageError

SCHEME = "s3"
"""Scheme of an address of object storage."""
RETRIES_S = 60
"""Seconds for which a request that fails is repeated."""
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
"""Environment variables with the address of a store other than Amazon's; plain HTTP is allowed
there, as on a machine's own network."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as it was read."""

    data: bytes
    """Its content."""
    tag: str
    """Its entity tag, which another content does not have."""


class ObjectStore:
    """The objects below one prefix of one bucket, by keys relative to it.

    Picklable. Credentials, region and endpoint are those of the environment, as every S3 client
    reads them: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, or
    the role of the machine. What a method asks of the store raises StageError, one line, where
    that cannot be reached or refuses.
    """

    def __init__(self, uri: str) -> None:
        """
        uri  `s3://BUCKET/PREFIX`

        Raises ConfigError for anything else.
        """
        parts = urlsplit(uri)
        if parts.scheme != SCHEME or not parts.hostname or parts.query or "@" in parts.netloc:
            raise ConfigError(
                f"workspace {uri!r}: give s3://BUCKET/PREFIX. Credentials are read from the "
                "environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)."
            )
        self.uri = uri.rstrip("/")
        self.endpoint = next(filter(None, map(os.environ.get, ENDPOINTS)), "")
        retries: Any = {"max_retries": 5, "retry_timeout": timedelta(seconds=RETRIES_S)}
        try:
            self._store = S3Store.from_url(
                self.uri, retry_config=retries, client_options={"allow_http": True}
            )
        except (BaseError, UnknownConfigurationKeyError, ValueError) as error:
            raise ConfigError(f"workspace {uri!r}: {_first_line(error)}.") from None

    def __reduce__(self) -> tuple[Callable[[str], ObjectStore], tuple[str]]:
        """Pickle it as its address."""
        return ObjectStore, (self.uri,)

    def read(self, key: str) -> Stored | None:
        """An object; None where there is none of this key."""
        with self._asked("read", key):
            try:
                found = obstore.get(self._store, key)
                return Stored(bytes(found.bytes()), str(found.meta["e_tag"]))
            except (NotFoundError, FileNotFoundError) as error:
                self._require_bucket(error)
                return None

    def put(self, key: str, data: bytes) -> None:
        """Write an object, whatever there was."""
        with self._asked("write", key):
            obstore.put(self._store, key, data)

    def put_if_absent(self, key: str, data: bytes) -> str | None:
        """Write an object unless there is one of this key; its tag, or None where there is.

        The test and the write are one step of the store. An object of the same content counts as
        written: the answer to this request may have been lost.
        """
        return self._put_if(key, data, "create")

    def put_if_match(self, key: str, data: bytes, tag: str) -> str | None:
        """Write an object in the place of the one with this tag; its tag, or None where there is
        another one, or none. Otherwise as `put_if_absent`."""
        return self._put_if(key, data, {"e_tag": tag})

    def upload(self, path: Path, key: str) -> None:
        """Write a file's content as an object; a large file in parts, which count together only."""
        with self._asked("write", key):
            obstore.put(self._store, key, path)

    def download(self, key: str, path: Path) -> bool:
        """Write an object into a file; False where there is none of this key."""
        with self._asked("read", key):
            try:
                found = obstore.get(self._store, key)
            except (NotFoundError, FileNotFoundError):
                return False
            with path.open("wb") as file:
                for part in found.stream():
                    file.write(part)
        return True

    def size(self, key: str) -> int | None:
        """Bytes in an object; None where there is none of this key."""
        with self._asked("read", key):
            try:
                return obstore.head(self._store, key)["size"]
            except (NotFoundError, FileNotFoundError):
                return None

    def keys(self, folder: str) -> list[str]:
        """Keys of all objects below a folder, sorted."""
        with self._asked("list", folder):
            parts = obstore.list(self._store, folder)
            return sorted(about["path"] for part in parts for about in part)

    def folders(self) -> list[str]:
        """First parts of the keys that have more than one, sorted."""
        with self._asked("list", ""):
            return sorted(obstore.list_with_delimiter(self._store)["common_prefixes"])

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; that there is none of a key is no error."""
        if keys:
            with self._asked("delete", keys[0]):
                obstore.delete(self._store, keys)

    def require_conditions(self) -> None:
        """Raise StageError for a store that writes although a condition does not hold."""
        key, one, other = f"leases/.{uuid.uuid4().hex}", b"1", b"2"
        try:
            tag = self.put_if_absent(key, one)
            kept = tag and self.put_if_absent(key, other) is None
            kept = kept and self.put_if_match(key, other, f'"{uuid.uuid4().hex}"') is None
            if not kept:
                raise StageError(
                    f"{self.uri}: the store writes although a condition does not hold "
                    "(If-None-Match, If-Match), so that two runs would overwrite each other's "
                    "work. Use one that has conditional writes, or a directory."
                )
        finally:
            self.delete([key])

    def _put_if(self, key: str, data: bytes, mode: Any) -> str | None:
        """Write an object under a condition; None where that does not hold."""
        with self._asked("write", key):
            try:
                return obstore.put(self._store, key, data, mode=mode)["e_tag"]
            except (AlreadyExistsError, PreconditionError):
                there = self.read(key)
                return there.tag if there is not None and there.data == data else None

    def _require_bucket(self, error: Exception) -> None:
        """Raise StageError where it is the bucket that is not there."""
        if "NoSuchBucket" in str(error):
            raise StageError(f"{self.uri}: there is no such bucket. Make it, or give another.")

    @contextmanager
    def _asked(self, verb: str, key: str) -> Iterator[None]:
        """A request, of which an error is one line."""
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            self._require_bucket(error)
            raise StageError(
                f"{self.uri}: cannot {verb} {key or 'its keys'} ({_first_line(error)}). Look at "
                "the address and at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and "
                "AWS_ENDPOINT_URL; what was finished is kept: run the same command again."
            ) from None


def _first_line(error: Exception) -> str:
    """The part of an error of the library that a person needs."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
