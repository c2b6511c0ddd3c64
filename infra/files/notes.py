"""Files of a cache: small JSON values, each with its digest. One that is cut or altered counts as
missing, and one that cannot be written is left out."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.errors import reason
from infra.files.atomic import Flush, write_json
from infra.files.digest import digest_of

log = logging.getLogger(__name__)


@contextmanager
def if_writable(path: Path) -> Iterator[None]:
    """A block that writes a file of a cache. Where the operating system refuses, that is said in a
    warning and the block ends, for what is cached can be had again."""
    try:
        yield
    except OSError as error:
        log.warning("%s cannot be written (%s): the run goes on", path, reason(error))


def write_note(path: Path, value: Any) -> None:
    """Write a JSON value atomically, with its digest, which tells whether it is whole: it is not
    flushed. Raises OSError."""
    write_json(path, {"value": value, "sha256": digest_of(value)}, flush=Flush.NOTHING)


def read_note(path: Path) -> Any | None:
    """The value that `write_note` wrote; None where the file is missing, cut or altered."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        return note["value"] if note["sha256"] == digest_of(note["value"]) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
