"""Files in object storage by the digest of their content: each content is there once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.errors import StageError
from infra.files.atomic import Flush, write_atomic
from infra.storage.integrity import bytes_of
from infra.storage.object_store import ObjectStore

OBJECTS = "objects"
"""Folder of the contents."""
AT_A_TIME = 16
"""Requests that are made at a time."""


@dataclass(frozen=True)
class Contents:
    """The contents that a store has. What is known of one is its `size` and `sha256`, as a record
    has them."""

    store: ObjectStore

    def upload(self, path: Path, known: Mapping[str, Any]) -> None:
        """Keep the content of a file, unless it is there."""
        if self.store.size(_key(known)) != known["size"]:
            self.store.upload(path, _key(known))

    def download(self, path: Path, known: Mapping[str, Any]) -> None:
        """Write a file, whole or not at all. Raises StageError where the store has lost or altered
        its content."""

        def write(temporary: Path) -> None:
            found = self.store.download(_key(known), temporary)
            if not found or bytes_of(temporary) != known:
                raise StageError(
                    f"{self.store.uri}/{_key(known)} is {'altered' if found else 'missing'}, the "
                    f"content of {path}. Restore the object from a backup."
                )

        write_atomic(path, write, flush=Flush.NOTHING)


def each(work: Callable[[Any], object], items: Iterable[Any]) -> None:
    """Call a function with each item, some at a time; raise the first error."""
    if items := [*items]:
        with ThreadPoolExecutor(min(AT_A_TIME, len(items))) as pool:
            for _ in pool.map(work, items):
                pass


def _key(known: Mapping[str, Any]) -> str:
    """The key of a content."""
    return f"{OBJECTS}/{known['sha256'][:2]}/{known['sha256']}"
